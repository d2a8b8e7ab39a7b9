"""``isthmus traverse``: what single latents do, drawn."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out, parse_numbers


def traverse(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Argument(help="rows that say where latents lie; by default those of the run"),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.png", help="where to write")
    ] = Path("traverse.png"),
    latents: Annotated[
        str | None, typer.Option(help="such as 0,3,7 or 0-9; by default the strongest eight")
    ] = None,
    span: Annotated[
        float | None, typer.Option(help="standard deviations to either side; by default 3")
    ] = None,
    steps: Annotated[int, typer.Option(help="pictures of each latent")] = 9,
    row: Annotated[
        int | None, typer.Option(help="hold the other latents at the code of this row")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="of the codes drawn where there are no data")
    ] = 0,
) -> None:
    """Draw what single latents do: each moved over its values, the others held."""
    out.print(
        escape(drawn_traversals(folder, data, output, latents, span, steps, row, seed)),
        soft_wrap=True,
    )


def drawn_traversals(
    folder: Path,
    data: str | None,
    output: Path,
    latents: str | None,
    span: float | None,
    steps: int,
    row: int | None,
    seed: int,
) -> str:
    """Write the picture of traversals; returns a line for the user."""
    from isthmus import pictures, runs
    from isthmus.pictures.run_rows import rows_of_run
    from isthmus.pictures.sheet import check_png

    check_png(output)
    selection = None if latents is None else parse_numbers(latents)
    model = runs.load(folder)
    rows = rows_of_run(model, folder) if data is None else data
    picture = pictures.traverse(
        model, rows, latents=selection, span=span, steps=steps, row=row, seed=seed
    )
    return f"{picture.save(output)}: {picture.about}"
