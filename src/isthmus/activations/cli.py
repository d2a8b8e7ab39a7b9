"""``isthmus harvest``: activations of a model to a folder, from the command line."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from isthmus.activations.harvest import harvest, text_tokens
from isthmus.activations.opening import open_module
from isthmus.activations.spec import TOKENS
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
    batch: int = 32,
    keep_special: bool = False,
    progress: bool = True,
) -> Table:
    """Harvest, and say what is in the store.

    ``at`` are points, each entry one or several by comma. ``data`` are rows for a module that is
    no language model; otherwise ``text`` is read, of which ``tokens`` are taken (None for all).
    """
    points = [point for entry in at for point in entry.split(",") if point]
    if data is not None and text is not None:
        raise IsthmusError("both a text and data were given: choose one of --text and --data")
    if data is not None:
        store = harvest(
            open_module(model), as_source(data), points, output, dtype=dtype, batch=batch,
            text=data, name=model, progress=progress,
        )  # fmt: skip
        return summary(store)
    host = open_model(model)
    named = text or default_text()
    rows = text_tokens(host, named, tokens, context)
    store = harvest(
        host, rows, points, output, dtype=dtype, batch=batch, skip_special=not keep_special,
        text=named, progress=progress,
    )  # fmt: skip
    return summary(store)


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
