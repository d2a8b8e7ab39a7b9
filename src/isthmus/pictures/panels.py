"""What panels can hold: images in a mosaic, curves, points, histograms, texts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isthmus.pictures.sheet import COLOURS, INK, MUTED, RULE, WIDTH, Panel, plain

MOST_CELL = 0.62
"""Inches that an image is wide at most."""
LABELS = 0.75
"""Inches left for the labels of rows."""


def in_colour(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """``(n, channels, height, width)`` as RGB in 0..1, ``(n, height, width, 3)``.

    Three channels are red, green and blue; the fourth of four is how much of them covers white.
    Any other number of channels is drawn by their mean, as grey.
    """
    x = np.clip((images.astype(np.float64) - low) / max(high - low, 1e-12), 0.0, 1.0)  # keeps NaN
    if x.shape[1] == 4:
        x = x[:, :3] * x[:, 3:] + 1.0 - x[:, 3:]
    elif x.shape[1] != 3:
        x = np.repeat(x.mean(1, keepdims=True), 3, axis=1)
    return np.moveaxis(x, 1, -1)


def in_red_and_blue(changes: np.ndarray) -> np.ndarray:
    """Changes ``(n, channels, height, width)`` as RGB: more is red, less is blue, nothing white.

    The channels' mean is drawn, each change at its own scale.
    """
    x = changes.astype(np.float64).mean(1)
    x = x / np.maximum(np.abs(x).max(axis=(1, 2), keepdims=True), 1e-12)
    strength = np.sqrt(np.abs(x))[..., None]
    red, blue = np.array([0.70, 0.09, 0.17]), np.array([0.13, 0.40, 0.67])
    return 1.0 - strength * (1.0 - np.where(x[..., None] > 0, red, blue))


def mosaic(
    title: str,
    images: np.ndarray,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    cell: float = MOST_CELL,
) -> Panel:
    """Images ``(rows, columns, height, width, 3)`` in 0..1; those of NaN are left white.

    ``rows`` and ``columns`` are their labels.
    """
    down, across, height, width, _ = images.shape
    margin = LABELS if rows else 0.1
    size = min(cell, (WIDTH - margin - 0.1) / across)
    head = 0.18 if columns else 0.0

    def draw(part: Any) -> None:
        axes = part.subplots()
        joined, step = _joined(images)
        axes.imshow(joined, interpolation="nearest" if step[0] > height else "antialiased")
        axes.tick_params(length=0, labelsize=7, colors=MUTED)
        for spine in axes.spines.values():
            spine.set_visible(False)
        at = (np.arange(down) * step[0] + step[0] / 2, np.arange(across) * step[1] + step[1] / 2)
        axes.set_yticks(at[0] if rows else [], labels=[*rows])
        axes.set_xticks(at[1] if columns else [], labels=[*columns])
        axes.xaxis.tick_top()
        axes.set_anchor("W")

    return Panel(
        title, down * size * height / width + head + 0.04, draw, _fitting(across, size, margin)
    )


def _fitting(across: int, size: float, margin: float) -> float:
    return max(4.0, min(WIDTH, across * size + margin + 0.15))


def _joined(images: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """One array, images enlarged by whole pixels and kept apart, and the pixels of a step."""
    down, across, height, width, _ = images.shape
    times, gap = max(1, round(48 / max(height, width))), 3
    tall, wide = height * times + gap, width * times + gap
    whole = np.ones((down, across, tall, wide, 3))
    large = np.repeat(np.repeat(images, times, axis=2), times, axis=3)
    whole[:, :, : tall - gap, : wide - gap] = np.where(np.isnan(large), 1.0, large)
    joined = whole.transpose(0, 2, 1, 3, 4).reshape(down * tall, across * wide, 3)
    return joined[: down * tall - gap, : across * wide - gap], (tall, wide)


def small_axes(part: Any, number: int, across: int) -> list[Any]:
    """So many small axes on a part, in rows of ``across``; the rest of the last row stays empty."""
    grid = part.subplots(-(-number // across), across, squeeze=False)
    for axes in grid.flat[number:]:
        axes.axis("off")
    return [plain(axes) for axes in grid.flat[:number]]


def curves(
    title: str,
    groups: Mapping[str, np.ndarray],
    across: int = 4,
    names: Sequence[str] = (),
    height: float = 0.85,
) -> Panel:
    """Small multiples of series: ``groups`` are ``(n, steps, channels)`` by name, overlaid.

    With one channel a group has one colour; with several each channel has, and later groups are
    dashed.
    """
    first = next(iter(groups.values()))
    number = len(first)
    across = min(across, number)
    low, high = _limits([*groups.values()])

    def draw(part: Any) -> None:
        for i, axes in enumerate(small_axes(part, number, across)):
            for place, (name, rows) in enumerate(groups.items()):
                for channel in range(rows.shape[2]):
                    colour = COLOURS[channel % 8] if rows.shape[2] > 1 else _colour(place, groups)
                    axes.plot(
                        rows[i, :, channel], linewidth=1.0, color=colour,
                        linestyle="--" if place and rows.shape[2] > 1 else "-",
                        label=name if i == 0 and channel == 0 else None,
                    )  # fmt: skip
            axes.set(ylim=(low, high), xticks=[])
            if i % across:
                axes.set_yticklabels([])
            if names:
                axes.set_title(names[i], fontsize=7, color=MUTED, pad=2)
            if i == 0 and len(groups) > 1:
                axes.legend(fontsize=6, frameon=False, loc="best", labelcolor=MUTED)

    down = -(-number // across)
    return Panel(title, down * (height + (0.14 if names else 0.0)) + 0.1, draw)


def _colour(place: int, groups: Mapping[str, Any]) -> str:
    """The first of several groups is what is compared with: grey."""
    return COLOURS[0] if place or len(groups) == 1 else "#9aa5b1"


def _limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    low = min(float(np.nanmin(a)) for a in arrays)
    high = max(float(np.nanmax(a)) for a in arrays)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def fans(
    title: str,
    fans_: Sequence[np.ndarray],
    names: Sequence[str],
    at: Sequence[np.ndarray],
    across: int = 4,
    legends: Sequence[Sequence[str]] = (),
) -> Panel:
    """Small multiples, one for each latent: curves ``(steps, elements)`` from blue to red.

    With ``legends`` the curves are ``(columns, steps)`` over the latent's values ``at`` instead.
    """
    across = min(across, len(fans_))

    def draw(part: Any) -> None:
        from matplotlib import colormaps

        shades = colormaps["coolwarm"]
        for i, axes in enumerate(small_axes(part, len(fans_), across)):
            rows = fans_[i]
            for k, row in enumerate(rows):
                if legends:
                    axes.plot(at[i], row, color=COLOURS[k % 8], linewidth=1.2, label=legends[i][k])
                else:
                    axes.plot(row, color=shades(k / max(1, len(rows) - 1)), linewidth=1.0)
            if legends:
                axes.legend(fontsize=6, frameon=False, labelcolor=MUTED, loc="best")
            else:
                axes.set_xticks([])
            axes.set_title(names[i], fontsize=7, color=MUTED, pad=2)

    down = -(-len(fans_) // across)
    return Panel(title, down * (1.5 if legends else 1.05) + 0.1, draw)


def lines(title: str, charts: Sequence[Mapping[str, Any]], across: int = 3) -> Panel:
    """Charts ``{"title", "lines": [{"name", "x", "y"}]}`` over training steps."""
    across = min(across, max(1, len(charts)))

    def draw(part: Any) -> None:
        for axes, chart in zip(small_axes(part, len(charts), across), charts, strict=True):
            for place, line in enumerate(chart["lines"]):
                axes.plot(
                    line["x"], line["y"], color=COLOURS[place % 8], linewidth=1.2,
                    label=line["name"],
                )  # fmt: skip
            axes.set_title(chart["title"], fontsize=8, color=INK, pad=3)
            axes.set_xlabel("step", fontsize=7, color=MUTED)
            if len(chart["lines"]) > 1:
                axes.legend(fontsize=6, frameon=False, labelcolor=MUTED)

    return Panel(title, -(-len(charts) // across) * 1.6, draw)


def points(
    title: str,
    xy: np.ndarray,
    axes_names: tuple[str, str],
    labels: np.ndarray | None = None,
    height: float = 3.2,
) -> Panel:
    """Points ``(n, 2)``, coloured by ``labels``: up to 20 classes, else a scale."""

    def draw(part: Any) -> None:
        axes = plain(part.subplots())
        classes = None if labels is None else np.unique(labels)
        if labels is None or classes is None:
            axes.scatter(*xy.T, s=7, color=COLOURS[0], alpha=0.6, linewidths=0)
        elif len(classes) <= 20:
            from matplotlib import colormaps

            shades = colormaps["tab10" if len(classes) <= 10 else "tab20"]
            for place, one in enumerate(classes):
                members = labels == one
                axes.scatter(
                    *xy[members].T,
                    s=8,
                    color=shades(place),
                    alpha=0.75,
                    linewidths=0,
                    label=str(one),
                )
            axes.legend(
                fontsize=7, frameon=False, labelcolor=MUTED, loc="center left",
                bbox_to_anchor=(1.0, 0.5), markerscale=1.8, handletextpad=0.1,
            )  # fmt: skip
        else:
            dots = axes.scatter(*xy.T, s=7, c=labels, cmap="viridis", alpha=0.7, linewidths=0)
            part.colorbar(dots, ax=axes).ax.tick_params(labelsize=7, colors=MUTED)
        axes.set_xlabel(axes_names[0], fontsize=7, color=MUTED)
        axes.set_ylabel(axes_names[1], fontsize=7, color=MUTED)

    return Panel(title, height, draw, 6.0)


def histograms(
    title: str,
    columns: Mapping[str, Mapping[str, np.ndarray]],
    across: int = 4,
) -> Panel:
    """Small multiples, one a column: ``{column: {group: values}}``, numbers or texts."""
    across = min(across, len(columns))

    def draw(part: Any) -> None:
        for place, (axes, (name, groups)) in enumerate(
            zip(small_axes(part, len(columns), across), columns.items(), strict=True)
        ):
            _histogram(axes, groups, legend=place == 0)
            axes.set_title(shortened(name, 26), fontsize=7, color=INK, pad=2)
            axes.set_yticks([])

    return Panel(title, -(-len(columns) // across) * 1.05 + 0.05, draw)


def _histogram(axes: Any, groups: Mapping[str, np.ndarray], *, legend: bool) -> None:
    if any(values.dtype.kind not in "fiub" for values in groups.values()):
        names, counts = np.unique(
            np.concatenate([values.astype(str) for values in groups.values()]), return_counts=True
        )
        classes = names[np.argsort(-counts, kind="stable")[:6]]
        for place, (name, values) in enumerate(groups.items()):
            shares = [(values.astype(str) == one).mean() for one in classes]
            at = np.arange(len(classes)) + 0.8 * place / len(groups)
            colour = _colour(place, groups)
            axes.bar(at, shares, 0.8 / len(groups), color=colour, align="edge", label=name)
        axes.set_xticks(
            np.arange(len(classes)) + 0.4, labels=[shortened(one, 8) for one in classes]
        )
    else:
        finite = {n: v[np.isfinite(v.astype(float))].astype(float) for n, v in groups.items()}
        whole = np.concatenate([*finite.values()])
        low, high = (float(whole.min()), float(whole.max())) if len(whole) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1.0, 25)
        for place, (name, values) in enumerate(finite.items()):
            axes.hist(
                values, edges, weights=np.full(len(values), 1 / max(1, len(values))), label=name,
                color=_colour(place, groups), alpha=0.75, histtype="stepfilled",
            )  # fmt: skip
    if legend and len(groups) > 1:
        axes.legend(fontsize=6, frameon=False, labelcolor=MUTED)


def scatters(
    title: str, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], across: int = 5
) -> Panel:
    """Small multiples of what was rebuilt over what was there, a diagonal through each."""
    across = min(across, len(pairs))

    def draw(part: Any) -> None:
        for axes, (name, (true, recon)) in zip(
            small_axes(part, len(pairs), across), pairs.items(), strict=True
        ):
            low, high = _limits([true, recon])
            axes.plot([low, high], [low, high], color=RULE, linewidth=0.8)
            axes.scatter(true, recon, s=3, color=COLOURS[0], alpha=0.5, linewidths=0)
            axes.set_title(shortened(name, 24), fontsize=7, color=INK, pad=2)
            axes.locator_params(nbins=3)

    return Panel(title, -(-len(pairs) // across) * 1.3, draw)


def bars(
    title: str,
    heights: np.ndarray,
    edges: np.ndarray,
    about: tuple[str, str],
    *,
    log: bool = False,
    note: str = "",
) -> Panel:
    """A histogram that was counted already, ``edges`` one more than ``heights``."""

    def draw(part: Any) -> None:
        axes = plain(part.subplots())
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=COLOURS[0], alpha=0.85,
                 edgecolor="white", linewidth=0.4)  # fmt: skip
        if log:
            axes.set_xscale("log")
        axes.set_xlabel(about[0], fontsize=7, color=MUTED)
        axes.set_ylabel(about[1], fontsize=7, color=MUTED)
        if note:
            axes.set_ylim(0, 1.22 * max(1.0, float(np.max(heights, initial=0.0))))
            axes.text(0.99, 0.97, note, transform=axes.transAxes, fontsize=7, color=INK,
                      ha="right", va="top")  # fmt: skip

    return Panel(title, 1.7, draw)


def texts(title: str, rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> Panel:
    """Rows of texts in columns, each cut to the width of its column."""
    across = max(len(row) for row in rows)
    width = int(104 / across)
    cells = [[_wrapped(cell, width) for cell in row] for row in rows]
    heights = [max(len(cell) for cell in row) for row in cells]
    total = sum(heights) + 0.5 * len(rows) + (1 if heads else 0)

    def draw(part: Any) -> None:
        axes = part.subplots()
        axes.set(xlim=(0, across), ylim=(total, 0))
        axes.axis("off")
        top = 0.0
        for place, head in enumerate(heads):
            axes.text(place, top, head, fontsize=7, color=MUTED, va="top", parse_math=False)
        top += 1.0 if heads else 0.0
        for row, height in zip(cells, heights, strict=True):
            axes.plot([0, across], [top - 0.1] * 2, color=RULE, linewidth=0.5)
            for place, cell in enumerate(row):
                axes.text(
                    place, top + 0.1, "\n".join(cell), fontsize=7, color=INK, va="top",
                    family="monospace", parse_math=False,
                )  # fmt: skip
            top += height + 0.5

    return Panel(title, 0.135 * total + 0.05, draw)


def _wrapped(text: str, width: int) -> list[str]:
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return textwrap.wrap(printable, max(4, width - 1), max_lines=4, placeholder=" …") or [""]


def shortened(text: str, most: int) -> str:
    """A name cut to so many characters; of mathematics matplotlib is told nothing."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")
