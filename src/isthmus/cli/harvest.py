"""``isthmus harvest``: activations of a model to a folder, from the command line."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from isthmus.activations.axes import Axis
from isthmus.activations.harvest import harvest, text_tokens
from isthmus.activations.modules import open_module
from isthmus.activations.spec import TOKENS, absolute, norm_named
from isthmus.activations.store import Store
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.language import default_text, open_model


def run(
    model: str,
    at: list[str],
    output: Path,
    *,
    text: str | None = None,
    data: str | None = None,
    tokens: int | None = TOKENS,
    context: int | None = None,
    dtype: str = "float16",
    host_dtype: str | None = None,
    device: str | None = None,
    axis: Sequence[str] = (),
    max_norm: str | None = None,
    batch: int = 32,
    keep_special: bool = False,
    progress: bool = True,
) -> Table:
    """Harvest, and say what is in the store.

    ``at`` are points, each entry one or several by comma; none are a language model's blocks.
    ``dtype`` is how activations are stored; ``host_dtype`` and ``device`` are the model's. ``axis``
    are numbers or ``POINT=NUMBER``, ``max_norm`` a number, ``none`` or ``auto``. ``data`` are rows
    for a module that is no language model; otherwise ``text`` is read, of which ``tokens`` are
    taken (None for all).
    """
    points = [point for entry in at for point in entry.split(",") if point]
    if data is not None and text is not None:
        raise IsthmusError("both a text and data were given: choose one of --text and --data")
    if data is not None:
        if not points:
            raise IsthmusError(
                "no point of the model was named: pass --at with the path of a module, as in "
                "--at 'layers.*', or '.' for the model itself"
            )
        module = open_module(model, dtype=host_dtype, device=device)
        store = harvest(
            module, as_source(data), points, output, dtype=dtype, batch=batch,
            text=absolute(data), name=absolute(model), axis=_axes(axis),
            max_norm=None if max_norm is None else norm_named(max_norm), progress=progress,
        )  # fmt: skip
        return summary(store)
    if axis:
        raise IsthmusError(
            "the axes of a language model's activations are found from its tokens: leave out --axis"
        )
    host = open_model(model, dtype=host_dtype, device=device)
    named = text or default_text()
    rows = text_tokens(host, named, tokens, context)
    store = harvest(
        host, rows, points or [host.layers], output, dtype=dtype, batch=batch,
        skip_special=not keep_special, text=absolute(named), max_norm=norm_named(max_norm),
        progress=progress,
    )  # fmt: skip
    return summary(store)


def _axes(given: Sequence[str]) -> Axis:
    """``-1`` for all points, or ``POINT=1`` for each."""
    named: dict[str, int] = {}
    plain: int | None = None
    for one in given:
        point, equals, number = one.rpartition("=")
        try:
            value = int(number)
        except ValueError:
            raise IsthmusError(
                f"--axis {one!r} is no axis: write a number, or POINT=NUMBER as in layers.1=-1"
            ) from None
        if equals:
            named[point] = value
        elif plain is not None:
            raise IsthmusError("--axis names two axes for all points: name the points")
        else:
            plain = value
    if named and plain is not None:
        raise IsthmusError("--axis names an axis for all points and for single ones: choose one")
    return named or plain


def summary(store: Store) -> Table:
    """What a store holds, point by point."""
    facts = store.provenance
    size = sum(path.stat().st_size for path in store.path.rglob("*.npy"))
    table = Table(
        title=escape(repr(store)), title_justify="left", title_style="", box=None, pad_edge=False
    )
    for column in ("point", "width", "mean norm", "norm of the mean"):
        table.add_column(column, justify="left" if column == "point" else "right")
    for point, one in facts.points.items():
        mean = float(store.mean(point).norm())
        table.add_row(escape(point), str(one.width), f"{one.mean_norm:.4g}", f"{mean:.4g}")
    first = next(iter(facts.points))
    table.caption = (
        f"{size / 1e6:,.0f} MB in {escape(str(store.path))}; train on it as "
        f"{escape(f'store:{store.path}@{first}')}"
    )
    table.caption_justify, table.caption_style = "left", ""
    return table
