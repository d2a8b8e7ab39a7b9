"""The picture of all claims: each effect with its interval, beside its null and the paper's.

Units differ, so every row has an axis of its own: the null in the middle, the paper's side to the
right, and the farthest of the interval and the published effect at the edge. Ratios are drawn in
the logarithm.
"""

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from isthmus.reproduction.judging import WORDS

COLOURS = {
    "supported": "#1a7f4b",
    "contradicted": "#b3261e",
    "not resolved": "#8a6d00",
    "not testable here": "#6b7280",
}
ROW, TOP, LEFT, WIDTH, RIGHT = 22, 46, 190, 330, 300


def forest_plot(results: Iterable[Mapping[str, Any]]) -> str:
    """The picture as SVG, one row a claim, sorted by word and name."""
    rows = sorted(results, key=lambda one: (WORDS.index(one["word"]), one["name"]))
    height = TOP + ROW * len(rows) + 14
    total = LEFT + WIDTH + RIGHT
    middle = LEFT + WIDTH / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>Effects here and as published, beside their nulls</title>",
        f'<rect width="{total}" height="{height}" fill="#ffffff"/>',
        f'<text x="{middle}" y="18" text-anchor="middle" fill="#374151">no effect, or the '
        "number asked</text>",
        f'<text x="{LEFT + WIDTH}" y="34" text-anchor="end" fill="#6b7280">the paper\'s side →'
        "</text>",
        f'<line x1="{middle}" y1="{TOP - 8}" x2="{middle}" y2="{height - 10}" stroke="#9ca3af"/>',
        f'<text x="{LEFT + WIDTH + 14}" y="34" fill="#6b7280">here [95 %] · ◇ published</text>',
    ]
    for number, one in enumerate(rows):
        parts.append(_row(one, TOP + ROW * number + ROW / 2, middle))
    return "\n".join([*parts, "</svg>", ""])


def _row(one: Mapping[str, Any], y: float, middle: float) -> str:
    main, colour = one["primary"], COLOURS[one["word"]]
    name = (
        f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end" fill="#111827">'
        f"{escape(one['name'])}</text>"
    )
    ends = [main["value"][key] for key in ("low", "mean", "high")]
    if any(end is None for end in ends):
        text = f"undefined · {one['word']}"
        return f'{name}<text x="{LEFT + WIDTH + 14}" y="{y + 4}" fill="{colour}">{text}</text>'
    target = float(main["rule"].split()[1])
    sign = 1.0 if main["rule"].startswith(">") else -1.0

    def place(value: float) -> float:
        if main["logarithmic"] and value > 0 and target > 0:
            return sign * math.log(value / target)
        return sign * (value - target)

    low, mean, high = (place(end) for end in ends)
    reference = None if main["published"] is None else place(main["published"]["effect"])
    reach = max(abs(low), abs(high), abs(reference or 0.0), 1e-12)

    def x(value: float) -> float:
        return round(middle + value / reach * (WIDTH / 2 - 8), 1)

    marks = [
        name,
        f'<line x1="{x(low)}" y1="{y}" x2="{x(high)}" y2="{y}" stroke="{colour}" '
        'stroke-width="3"/>',
        f'<circle cx="{x(mean)}" cy="{y}" r="4.5" fill="{colour}"/>',
    ]
    if reference is not None:
        p = x(reference)
        marks.append(
            f'<path d="M {p - 5} {y} L {p} {y - 5} L {p + 5} {y} L {p} {y + 5} Z" fill="#ffffff" '
            'stroke="#111827"/>'
        )
    published = "" if main["published"] is None else f" · ◇ {main['published']['effect']:.3g}"
    text = f"{ends[1]:.3g} [{ends[0]:.3g}, {ends[2]:.3g}]{published} · {one['word']}"
    marks.append(f'<text x="{LEFT + WIDTH + 14}" y="{y + 4}" fill="{colour}">{escape(text)}</text>')
    return "".join(marks)
