"""Quality over cost as an SVG picture, with the frontier of what nothing else beats in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.pages.kit import Html, tag

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 16, 46


@dataclass(frozen=True)
class Point:
    """A method: its cost (positive), quality with interval, and whether it is a baseline."""

    name: str
    cost: float
    quality: float
    low: float
    high: float
    baseline: bool


def frontier(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """Those to which none is better at the same or a lower cost, by cost."""
    best: list[Point] = []
    sign = 1.0 if higher_is_better else -1.0
    for point in sorted(points, key=lambda p: (p.cost, -sign * p.quality)):
        if not best or sign * point.quality > sign * best[-1].quality:
            best.append(point)
    return best


def scatter(points: Sequence[Point], cost: str, quality: str, higher_is_better: bool) -> Html:
    """The picture, or a sentence where there is nothing to draw. Cost is on a log scale."""
    finite = [p for p in points if math.isfinite(p.quality)]
    if not finite:
        return tag("p", "Nothing was measured.")
    x = _Axis([math.log10(p.cost) for p in finite], LEFT, WIDTH - RIGHT)
    y = _Axis([v for p in finite for v in (p.low, p.high, p.quality)], HEIGHT - BOTTOM, TOP)
    bottom = HEIGHT - BOTTOM
    parts: list[Html] = []
    for power in range(math.floor(x.low), math.ceil(x.high) + 1):
        for digit in (1,) if x.high - x.low > 2.5 else (1, 2, 5):
            at = power + math.log10(digit)
            if x.low <= at <= x.high:
                parts += _tick(x(at), bottom, f"{10**at:g}")
    for value in y.ticks():
        at = y(value)
        parts.append(_line(LEFT, WIDTH - RIGHT, at, at, "grid"))
        parts.append(_text(LEFT - 8, at + 4, f"{value:.4g}", text_anchor="end"))
    best = frontier(finite, higher_is_better)
    line = " ".join(f"{x(math.log10(p.cost)):.1f},{y(p.quality):.1f}" for p in best)
    parts.append(tag("polyline", points=line, class_="line frontier"))
    labels = _spread([y(p.quality) for p in finite])
    for point, label in zip(finite, labels, strict=True):
        parts += _spot(point, x(math.log10(point.cost)), y, label)
    arrow = "higher" if higher_is_better else "lower"
    middle = (TOP + bottom) / 2
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, f"{cost}, lower is better",
                       text_anchor="middle"))  # fmt: skip
    parts.append(_text(14, middle, f"{quality}, {arrow} is better", text_anchor="middle",
                       transform=f"rotate(-90 14 {middle:.1f})"))  # fmt: skip
    return tag("svg", parts, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH,
               height=HEIGHT, role="img")  # fmt: skip


def _spot(point: Point, at: float, y: "_Axis", label: float) -> list[Html]:
    """A method with its interval, its name at the height ``label``, and a line to that."""
    kind, up = " baseline" if point.baseline else "", y(point.quality)
    title = tag("title", f"{point.name}: {point.quality:.4g}")
    return [
        _line(at, at, y(point.low), y(point.high), f"line{kind}"),
        tag("circle", title, cx=f"{at:.1f}", cy=f"{up:.1f}", r=5, class_=f"spot{kind}"),
        _line(at + 6, WIDTH - RIGHT + 8, up, label, "grid"),
        _text(WIDTH - RIGHT + 12, label + 4, point.name, class_=f"name{kind}"),
    ]


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> Html:
    ends = {"x1": x1, "x2": x2, "y1": y1, "y2": y2}
    return tag("line", class_=kind, **{name: f"{value:.1f}" for name, value in ends.items()})


def _text(x: float, y: float, text: str, **more: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **more)


class _Axis:
    """A linear map of values onto pixels, with a margin."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        finite = [v for v in values if math.isfinite(v)]
        low, high = min(finite), max(finite)
        margin = 0.08 * (high - low) or 0.1 * max(abs(low), 0.1)
        self.low, self.high, self.start, self.stop = low - margin, high + margin, start, stop

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 3))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 7)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def _tick(at: float, bottom: float, text: str) -> list[Html]:
    return [
        _line(at, at, TOP, bottom, "grid"),
        _text(at, bottom + 18, text, text_anchor="middle"),
    ]


def _spread(heights: Sequence[float], least: float = 16.0) -> list[float]:
    """The heights moved apart so that labels do not overlap, their order kept."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = [0.0] * len(heights)
    above = -math.inf
    for i in order:
        placed[i] = above = max(heights[i], above + least)
    over = max(0.0, above - (HEIGHT - BOTTOM))
    return [max(TOP + least * order.index(i), h - over) for i, h in enumerate(placed)]
