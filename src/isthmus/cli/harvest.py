"""``isthmus harvest``: activations of a model to a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isthmus.cli.common import Quiet, interruptible, out
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.activations.axes import Axis
    from isthmus.activations.store import Store


def harvest(
    model: Annotated[
        str,
        typer.Argument(
            help="resident, resident-circuits, a folder or name for transformers, module:factory"
        ),
    ] = "resident",
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="module paths, wildcards allowed: layers.*, layers.1.mlp:in, lstm:0, "
            "layers.1:gradient (of the next token's loss); by default a language model's blocks"
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="a file, a folder, gutenberg12, masc, samples")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="rows, for a module that is no language model")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="at most so many; by default 200,000")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="all tokens of the text")] = False,
    context: Annotated[int | None, typer.Option(min=2, help="tokens of one row")] = None,
    dtype: Annotated[
        str, typer.Option(help="as which they are stored: float32, float16, bfloat16 or int8")
    ] = "float16",
    host_dtype: Annotated[
        str | None,
        typer.Option(help="what the model computes in: float32, bf16, half, auto (as stored)"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="where it computes: cpu, cuda, gpu, auto")
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="of the features: -1, 1, or POINT=1; by default found out"),
    ] = None,
    max_norm: Annotated[
        str | None,
        typer.Option(
            help="leave out tokens of more than so many times the median norm; none keeps all;"
            " by default 10 for language models"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="rows of a forward pass")] = 32,
    keep_special: Annotated[bool, typer.Option(help="keep tokens that are no text")] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="make this part of the store, where several processes share the work; by default "
            "that of the rank under torchrun",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="DIR", help="the store; also s3://bucket/name")
    ] = "activations",
    quiet: Quiet = False,
) -> None:
    """Store the activations of a model: a language model on text, any module on data.

    Special tokens and padding are left out, and tokens whose norm is far beyond all others
    (attention sinks). A killed harvest goes on by the same command, and more text can be added
    to the same store: what is there already is not added again. Byte images go through the
    image processor that lies beside a vision model.
    """
    with interruptible():
        summary = run(
            model, at or [], output, text=text, data=data, tokens=tokens, every=every,
            context=context, dtype=dtype, host_dtype=host_dtype, device=device, axis=axis or [],
            max_norm=max_norm, batch=batch, keep_special=keep_special, part=part,
            progress=not quiet,
        )  # fmt: skip
    out.print(summary)


def run(
    model: str,
    at: list[str],
    output: str | Path,
    *,
    text: str | None = None,
    data: str | None = None,
    tokens: int | None = None,
    every: bool = False,
    context: int | None = None,
    dtype: str = "float16",
    host_dtype: str | None = None,
    device: str | None = None,
    axis: Sequence[str] = (),
    max_norm: str | None = None,
    batch: int = 32,
    keep_special: bool = False,
    part: str | None = None,
    progress: bool = True,
) -> Table:
    """Harvest, and say what is in the store.

    ``at`` are points, each entry one or several by comma; none are a language model's blocks.
    ``dtype`` is how activations are stored; ``host_dtype`` and ``device`` are the model's. ``axis``
    are numbers or ``POINT=NUMBER``, ``max_norm`` a number, ``none`` or ``auto``. ``data`` are rows
    for a module that is no language model; otherwise ``text`` is read, of which ``tokens`` are
    taken (by default 200,000), or ``every`` one.
    """
    from isthmus.activations.harvest import harvest, text_tokens
    from isthmus.activations.modules import open_module
    from isthmus.activations.parts import device_of_rank, part_named, part_of_rank
    from isthmus.activations.spec import TOKENS, absolute, norm_named
    from isthmus.data import as_source
    from isthmus.language import default_text, open_model

    points = [point for entry in at for point in entry.split(",") if point]
    share, device = part_named(part) or part_of_rank(), device_of_rank(device)
    progress = progress and (part is not None or share is None or share.number == 1)
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
            max_norm=None if max_norm is None else norm_named(max_norm), part=share,
            progress=progress,
        )  # fmt: skip
        return summary(store)
    if axis:
        raise IsthmusError(
            "the axes of a language model's activations are found from its tokens: leave out --axis"
        )
    host = open_model(model, dtype=host_dtype, device=device)
    source = text or default_text()
    rows = text_tokens(host, source, None if every else tokens or TOKENS, context)
    store = harvest(
        host, rows, points or [host.layers], output, dtype=dtype, batch=batch,
        skip_special=not keep_special, text=absolute(source), max_norm=norm_named(max_norm),
        part=share, progress=progress,
    )  # fmt: skip
    return summary(store)


def _axes(words: Sequence[str]) -> "Axis":
    """``-1`` for all points, or ``POINT=1`` for each."""
    by_point: dict[str, int] = {}
    plain: int | None = None
    for one in words:
        point, equals, number = one.rpartition("=")
        try:
            value = int(number)
        except ValueError:
            raise IsthmusError(
                f"--axis {one!r} is no axis: write a number, or POINT=NUMBER as in layers.1=-1"
            ) from None
        if equals:
            by_point[point] = value
        elif plain is not None:
            raise IsthmusError("--axis names two axes for all points: name the points")
        else:
            plain = value
    if by_point and plain is not None:
        raise IsthmusError("--axis names an axis for all points and for single ones: choose one")
    return by_point or plain


def summary(store: "Store") -> Table:
    """What a store holds, point by point."""
    facts = store.provenance
    stored = f"in {store.path}"
    if store.remote is None:
        size = sum(path.stat().st_size for path in Path(store.path).rglob("*.npy"))
        stored = f"{size / 1e6:,.0f} MB {stored}"
    table = Table(
        title=escape(repr(store)), title_justify="left", title_style="", box=None, pad_edge=False
    )
    for column in ("point", "width", "mean norm", "norm of the mean"):
        table.add_column(column, justify="left" if column == "point" else "right")
    for point, one in facts.points.items():
        mean = float(store.mean(point).norm())
        table.add_row(escape(point), str(one.width), f"{one.mean_norm:.4g}", f"{mean:.4g}")
    first = next(iter(facts.points))
    table.caption = f"{escape(stored)}; train on it as {escape(f'store:{store.path}@{first}')}"
    if facts.part is not None:
        which = f"part {facts.part.number} of {facts.part.of}"
        table.caption = f"{which}: {escape(stored)}; the part that ends last puts them together"
    table.caption_justify, table.caption_style = "left", ""
    return table
