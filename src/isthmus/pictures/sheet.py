"""A picture: panels above one another on a sheet, drawn without a window and without pyplot."""

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.runs import write_atomically

WIDTH = 8.0
"""Inches that a sheet is wide; fewer where its panels need fewer."""
DPI = 100
TITLE_LETTERS = 11
"""Letters of a title that surely fit into an inch; a longer one has several lines."""
INK, MUTED, RULE = "#1f2933", "#6b7785", "#d9dfe6"
COLOURS = ("#0b6e99", "#d9730d", "#448361", "#ad1a72", "#9065b0", "#946b2d", "#64748b", "#c4554d")
"""Lines and points, in this order; the first is that of the model."""


@dataclass(frozen=True)
class Panel:
    """A part of a picture.

    ``draw`` is called with a matplotlib ``SubFigure`` that is ``height`` inches high, beside its
    title, and as wide as the sheet; ``width`` is how many inches it needs.
    """

    title: str
    height: float
    draw: Callable[[Any], None]
    width: float = WIDTH


@dataclass(frozen=True)
class Picture:
    """Panels above one another; ``about`` says in one line what is drawn, and of what.

    Notebooks show it. :meth:`save` writes a PNG whose bytes depend on the picture alone.
    """

    panels: tuple[Panel, ...]
    about: str
    title: str = ""

    def figure(self, dpi: int = DPI) -> Any:
        """A ``matplotlib.figure.Figure``; a :class:`MissingExtra` without matplotlib."""
        need_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        heights = [panel.height + (0.34 if panel.title else 0.06) for panel in self.panels]
        width = max(panel.width for panel in self.panels)
        title = textwrap.wrap(self.title, int(TITLE_LETTERS * width))
        top = 0.34 + 0.2 * (len(title) - 1) if title else 0.0
        layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.03, wspace=0.02, hspace=0.02)
        figure = Figure((width, sum(heights) + top), dpi=dpi, layout=layout)
        FigureCanvasAgg(figure)
        figure.set_facecolor("white")
        if title:
            figure.suptitle("\n".join(title), fontsize=11, color=INK)
        for part, panel in zip(_parts(figure, heights), self.panels, strict=True):
            if panel.title:
                part.suptitle(panel.title, fontsize=9, color=INK, x=0.012, ha="left")
            panel.draw(part)
        return figure

    def png(self, dpi: int = DPI) -> bytes:
        """The picture as PNG, the same bytes for the same panels."""
        buffer = io.BytesIO()
        self.figure(dpi).savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()

    def save(self, path: str | Path, dpi: int = DPI) -> Path:
        """Write the PNG whole or not at all; the name ends in ``.png``."""
        path = Path(path)
        check_png(path)
        write_atomically(path, self.png(dpi))
        return path

    def _repr_png_(self) -> bytes:
        return self.png()


def need_matplotlib() -> None:
    """A :class:`MissingExtra` where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("matplotlib", "viz", "drawing a picture") from None


def check_png(path: Path) -> None:
    """An error for a name of another form, and without matplotlib: before anything is computed."""
    if path.suffix.lower() != ".png":
        raise IsthmusError(f"{path} should end in .png: pictures are written in that form")
    need_matplotlib()


def _parts(figure: Any, heights: list[float]) -> list[Any]:
    if len(heights) == 1:
        return [figure.subfigures(1, 1)]
    return [*figure.subfigures(len(heights), 1, height_ratios=heights)]


def plain(axes: Any) -> Any:
    """Axes with thin lines below and to the left only, and small figures."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set(color=RULE, linewidth=0.8)
    axes.tick_params(labelsize=7, colors=MUTED, length=2, width=0.6)
    return axes
