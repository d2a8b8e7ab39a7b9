"""``isthmus inspect``: what a published dictionary is, without reading its weights."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isthmus.cli.common import out


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="a folder, a file, or hf:owner/repository/path@revision"
        ),
    ],
    format: Annotated[
        str | None, typer.Option("--format", help="whose layout it has, where several would do")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="NAME", help="a setting or tensor that changes nothing"),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="the checksum that one of its files must have")
    ] = None,
) -> None:
    """Say what a published dictionary is and what reading it would fold, from its headers alone.

    Dictionaries of SAELens, dictionary_learning, sparsify, Gemma Scope, Llama Scope, Qwen Scope,
    OpenAI, Goodfire and others are told by the names of their files and the shapes of their
    tensors; isthmus.from_pretrained reads them.
    """
    from isthmus.formats import inspection

    inspected = inspection.inspect(path, format=format, ignore=ignore or (), sha256=sha256)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, value in inspected.lines():
        table.add_row(name, escape(value))
    out.print(table)
