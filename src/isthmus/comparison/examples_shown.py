"""What each method makes of the same rows, side by side: images, curves, worst rows of a table."""

import numpy as np

from isthmus.comparison.comparison_results import Comparison
from isthmus.comparison.examples import Examples, Worst
from isthmus.comparison.ranking_table import number
from isthmus.pages.kit import Html, card, details, picture, table, tag
from isthmus.pictures.panels import in_colour

METHODS = 8
"""Methods that are shown, the best first."""
DRIVERS = 3
"""Columns of a row that are named: those that are rebuilt worst."""
CURVES = 4
CELL = 56
"""Pixels that an image is wide at least, where it is small."""


def examples_card(found: Comparison) -> Html | None:
    """Reconstructions of the same rows by each method; None where there is nothing to show."""
    examples = found.examples
    if examples.kind == "image":
        return _images(found, examples)
    if examples.kind in ("series", "vector"):
        return _curves(found, examples)
    if examples.kind == "table":
        return _worst_rows(found, examples)
    return None


def _shown(comparison: Comparison, names: object) -> list[str]:
    by_method = names if isinstance(names, dict) else {}
    return [name for name in comparison.ranking if name in by_method][:METHODS]


def _named(comparison: Comparison, name: str) -> Html:
    first = comparison.measures[0]
    about = f"{first.replace('_', ' ')} {number(comparison.estimate(name, first).mean)}"
    return tag("div", tag("b", name), tag("span", about), class_="name")


def _images(comparison: Comparison, examples: Examples) -> Html | None:
    methods = _shown(comparison, examples.rebuilt)
    if not methods:
        return None
    whole = examples.x
    low, high = min(0.0, float(whole.min())), max(1.0, float(whole.max()))
    if low < 0.0 or high > 1.0:
        low, high = float(whole.min()), float(whole.max())
    rows: list[Html] = [tag("div", tag("b", "input"), class_="name"),
                        _strip(whole, low, high, "test rows")]  # fmt: skip
    for name in methods:
        rows += [_named(comparison, name),
                 _strip(examples.rebuilt[name], low, high,
                        f"the same, rebuilt by {name}")]  # fmt: skip
    return card(
        "What each makes of the same rows",
        tag("p", f"Test rows {_listed(examples.rows)} of the first seed, and their "
            "reconstructions.", class_="quiet"),
        tag("div", rows, class_="methods"),
    )  # fmt: skip


def _strip(images: np.ndarray, low: float, high: float, about: str) -> Html:
    """Images in one row, with a line of white between them."""
    colours = (in_colour(images, low, high) * 255).round().astype(np.uint8)
    n, height, width, _ = colours.shape
    times = max(1, round(CELL / max(height, width)))
    large = colours.repeat(times, axis=1).repeat(times, axis=2)
    apart = np.full((n, height * times, 4, 3), 255, np.uint8)
    joined = np.concatenate([large, apart], 2).transpose(1, 0, 2, 3).reshape(height * times, -1, 3)
    return picture(joined[:, :-4], about)


def _curves(comparison: Comparison, examples: Examples) -> Html | None:
    methods = _shown(comparison, examples.rebuilt)
    if not methods:
        return None
    rows: list[Html] = []
    for name in methods:
        rows += [_named(comparison, name), _overlaid(examples.x, examples.rebuilt[name], name)]
    return card(
        "What each makes of the same rows",
        tag("p", f"Test rows {_listed(examples.rows[:CURVES])} of the first seed in grey, and "
            "their reconstructions.", class_="quiet"),
        tag("div", rows, class_="methods"),
    )  # fmt: skip


def _overlaid(true: np.ndarray, recon: np.ndarray, name: str) -> Html:
    """Small curves beside one another: what was there, and what was rebuilt; the first channel."""
    width, height, gap = 220, 60, 14
    first = [rows[:CURVES].reshape(len(rows[:CURVES]), rows.shape[1], -1)[..., 0]
             for rows in (true, recon)]  # fmt: skip
    low = min(float(part.min()) for part in first)
    high = max(float(part.max()) for part in first)
    parts = []
    for k in range(len(first[0])):
        for rows, kind in zip(first, ("line true", "line"), strict=True):
            x = k * (width + gap) + np.linspace(0, width, rows.shape[1])
            y = height - (rows[k] - low) / max(high - low, 1e-12) * height
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            parts.append(tag("polyline", points=points, class_=kind))
    whole = len(first[0]) * (width + gap) - gap
    return tag("svg", tag("title", f"rebuilt by {name}"), parts, class_="chart overlaid",
               viewBox=f"-2 -2 {whole + 4} {height + 4}", width=whole, height=height)  # fmt: skip


def _worst_rows(comparison: Comparison, examples: Examples) -> Html | None:
    methods = _shown(comparison, examples.worst)
    if not methods:
        return None
    tables = [_worst_table(examples.worst[name], examples.columns) for name in methods]
    rest = [details(f"by {name}", one) for name, one in zip(methods[1:], tables[1:], strict=True)]
    return card(
        f"The rows that {methods[0]} rebuilds worst",
        tag("p", "Test rows of the first seed with the columns that speak most against them, in "
            "standard deviations of the training rows: what is there, and what was rebuilt.",
            class_="quiet"),
        tables[0], *rest,
    )  # fmt: skip


def _worst_table(worst: Worst, columns: tuple[str, ...]) -> Html:
    rows = []
    for place, row in enumerate(worst.rows.tolist()):
        gap = np.abs(worst.x[place] - worst.rebuilt[place])
        order = np.argsort(-gap, kind="stable")[:DRIVERS]
        cells = [
            f"{columns[k]}: {_two(worst.x[place][k])}, rebuilt {_two(worst.rebuilt[place][k])}"
            for k in order
        ]
        cells += [""] * (DRIVERS - len(cells))
        rows.append([f"{row:,}", number(float(worst.errors[place])), *cells])
    heads = ["row", "error", "first column", "second", "third"]
    return table(heads, rows, numbers={1})


def _two(value: float) -> str:
    """Two digits behind the point, without a zero below zero."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def _listed(rows: np.ndarray) -> str:
    return ", ".join(f"{row:,}" for row in rows.tolist())
