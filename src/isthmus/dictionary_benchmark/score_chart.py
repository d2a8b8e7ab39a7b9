"""Every main measure of every dictionary as a dot with its interval: one picture, as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.pages.kit import Html, tag

ROW, LEFT, COLUMN, GAP, TOP, BOTTOM = 20, 130, 104, 18, 44, 26
ACROSS = 5
"""Measures beside one another; further ones stand below."""

_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #4b5563; } .name { fill: #111827; }
.baseline { fill: #6b7280; } .line { stroke: #0b6e99; stroke-width: 2; }
.line.baseline { stroke: #9ca3af; } .spot { fill: #0b6e99; } .spot.baseline { fill: #9ca3af; }
.grid { stroke: #e5e7eb; }
"""
"""Of the picture outside a page, whose own style has these classes."""


@dataclass(frozen=True)
class Scored:
    """A value with its ends; NaN where nothing was measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ChartColumn:
    """A measure: its title, its direction in words, and one value a row."""

    title: str
    direction: str
    values: Sequence[Scored]


def score_chart(
    names: Sequence[str], quiet: Sequence[bool], columns: Sequence[ChartColumn]
) -> Html:
    """The picture; ``quiet`` says which rows are controls. A sentence where there is nothing."""
    drawn = [c for c in columns if any(math.isfinite(v.value) for v in c.values)]
    if not drawn:
        return tag("p", "Nothing was measured.")
    height = TOP + ROW * len(names) + BOTTOM
    parts: list[Html] = []
    for start in range(0, len(drawn), ACROSS):
        top = start // ACROSS * height
        for place, name in enumerate(names):
            kind = "name baseline" if quiet[place] else "name"
            parts.append(_text(LEFT - 10, top + TOP + ROW * (place + 0.5) + 4, name, kind, "end"))
        for number, column in enumerate(drawn[start : start + ACROSS]):
            parts += _column(column, LEFT + number * (COLUMN + GAP), top, quiet)
    blocks = -(-len(drawn) // ACROSS)
    width = LEFT + min(ACROSS, len(drawn)) * (COLUMN + GAP)
    return tag("svg", parts, class_="chart", viewBox=f"0 0 {width} {blocks * height}",
               width=width, height=blocks * height, role="img",
               xmlns="http://www.w3.org/2000/svg")  # fmt: skip


def standalone(picture: Html) -> str:
    """The picture as a file of its own, with its style."""
    head, end, rest = picture.partition(">")
    return f"{head}{end}<style>{_STYLE}</style>{rest}\n"


def _column(column: ChartColumn, left: float, top: float, quiet: Sequence[bool]) -> list[Html]:
    ends = [e for v in column.values for e in (v.value, v.low, v.high) if math.isfinite(e)]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.05 * max(abs(low), 0.1)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return left + COLUMN * (value - low) / (high - low)

    first, last = top + TOP, top + TOP + ROW * len(column.values)
    parts = [
        _text(left, top + 16, column.title, "name", "start"),
        _text(left, top + 30, column.direction, "", "start"),
        _line(left, left, first, last, "grid"),
        _line(left + COLUMN, left + COLUMN, first, last, "grid"),
        _text(left, last + 14, f"{low:.3g}", "", "start"),
        _text(left + COLUMN, last + 14, f"{high:.3g}", "", "end"),
    ]
    for place, one in enumerate(column.values):
        if not math.isfinite(one.value):
            continue
        y, kind = first + ROW * (place + 0.5), " baseline" if quiet[place] else ""
        if math.isfinite(one.low) and math.isfinite(one.high):
            parts.append(_line(x(one.low), x(one.high), y, y, f"line{kind}"))
        title = tag("title", f"{one.value:.4g}")
        parts.append(
            tag("circle", title, cx=f"{x(one.value):.1f}", cy=f"{y:.1f}", r=4, class_=f"spot{kind}")
        )
    return parts


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> Html:
    ends = {"x1": x1, "x2": x2, "y1": y1, "y2": y2}
    return tag("line", class_=kind, **{name: f"{value:.1f}" for name, value in ends.items()})


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind or None, text_anchor=anchor)
