"""Quality over cost as an SVG picture, with the frontier of what nothing else beats in both."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 16, 46
COLOUR, GREY = "#0b6e99", "#9aa5b1"


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


def scatter(points: Sequence[Point], cost: str, quality: str, higher_is_better: bool) -> str:
    """The picture, or a sentence where there is nothing to draw. Cost is on a log scale."""
    shown = [p for p in points if math.isfinite(p.quality)]
    if not shown:
        return "<p>Nothing was measured.</p>"
    x = _Axis([math.log10(p.cost) for p in shown], LEFT, WIDTH - RIGHT)
    y = _Axis([v for p in shown for v in (p.low, p.high, p.quality)], HEIGHT - BOTTOM, TOP)
    parts = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} role=img font-size=12>"]
    bottom = HEIGHT - BOTTOM
    for power in range(math.floor(x.low), math.ceil(x.high) + 1):
        for digit in (1,) if x.high - x.low > 2.5 else (1, 2, 5):
            tick = power + math.log10(digit)
            if x.low <= tick <= x.high:
                parts.append(_tick(x(tick), bottom, f"{10**tick:g}"))
    for value in y.ticks():
        parts.append(
            f"<line x1={LEFT} x2={WIDTH - RIGHT} y1={y(value):.1f} y2={y(value):.1f} "
            f"stroke='#eceff3'/><text x={LEFT - 8} y={y(value) + 4:.1f} text-anchor=end "
            f"fill='#52606d'>{value:.4g}</text>"
        )
    line = " ".join(
        f"{x(math.log10(p.cost)):.1f},{y(p.quality):.1f}" for p in frontier(shown, higher_is_better)
    )
    parts.append(
        f"<polyline points='{line}' fill=none stroke='{COLOUR}' stroke-dasharray='4 3' "
        "opacity=.6></polyline>"
    )
    labels = _spread([y(p.quality) for p in shown])
    for point, label in zip(shown, labels, strict=True):
        at, up = x(math.log10(point.cost)), y(point.quality)
        colour = GREY if point.baseline else COLOUR
        parts.append(
            f"<line x1={at:.1f} x2={at:.1f} y1={y(point.low):.1f} y2={y(point.high):.1f} "
            f"stroke='{colour}'/><circle cx={at:.1f} cy={up:.1f} r=5 fill='{colour}'>"
            f"<title>{html.escape(point.name)}: {point.quality:.4g}</title></circle>"
            f"<line x1={at + 6:.1f} x2={WIDTH - RIGHT + 8} y1={up:.1f} y2={label:.1f} "
            f"stroke='#d9dfe6'/><text x={WIDTH - RIGHT + 12} y={label + 4:.1f} fill='{colour}'>"
            f"{html.escape(point.name)}</text>"
        )
    arrow = "higher" if higher_is_better else "lower"
    middle = (TOP + bottom) / 2
    parts.append(
        f"<text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 8} text-anchor=middle fill='#52606d'>"
        f"{html.escape(cost)}, lower is better</text>"
        f"<text transform='rotate(-90 14 {middle})' x=14 y={middle} text-anchor=middle "
        f"fill='#52606d'>{html.escape(quality)}, {arrow} is better</text></svg>"
    )
    return "".join(parts)


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


def _tick(at: float, bottom: float, text: str) -> str:
    return (
        f"<line x1={at:.1f} x2={at:.1f} y1={TOP} y2={bottom} stroke='#f3f5f7'/>"
        f"<text x={at:.1f} y={bottom + 18} text-anchor=middle fill='#52606d'>{text}</text>"
    )


def _spread(heights: Sequence[float], least: float = 16.0) -> list[float]:
    """The heights moved apart so that labels do not overlap, their order kept."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = [0.0] * len(heights)
    above = -math.inf
    for i in order:
        placed[i] = above = max(heights[i], above + least)
    over = max(0.0, above - (HEIGHT - BOTTOM))
    return [max(TOP + least * order.index(i), h - over) for i, h in enumerate(placed)]
