"""``isthmus publish``: a run's model with its card, in a folder or on the hub."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out


def publish(
    folder: Folder,
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE", help="a new folder, or hf:owner/repository/path@branch of the hub"
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="isthmus, saelens, sparsify or dictionary_learning"
        ),
    ] = "isthmus",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="rows to measure the model on, for the card"),
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="of the weights, for the card")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="where the repository does not exist yet")
    ] = False,
) -> None:
    """Write a model and its card into a folder, or upload them to the Hugging Face hub.

    The card says what the model is, what was measured on --data, and how to load it.
    """
    from isthmus import runs
    from isthmus.formats import push_to_hub, save_pretrained
    from isthmus.formats.location import HUB

    model = runs.load(folder)
    measures = None if data is None else runs.evaluate(model, data)
    about = {} if license is None else {"license": license}
    if not where.startswith(HUB):
        save_pretrained(model, Path(where), format=format, measures=measures, about=about)
        out.print(f"{escape(where)}: read it with isthmus.from_pretrained")
        return
    name, _, revision = where.removeprefix(HUB).partition("@")
    parts = [part for part in name.split("/") if part]
    place = push_to_hub(
        model, "/".join(parts[:2]), path="/".join(parts[2:]), format=format, measures=measures,
        about=about, private=private or None, revision=revision or None,
    )  # fmt: skip
    out.print(f"isthmus.from_pretrained({escape(place)!r})")
