"""Commands that draw a model: samples, traverse, plot."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from isthmus.errors import IsthmusError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]


def add_to(app: typer.Typer, out: Console) -> None:
    """Register the commands; what they need is imported when they run."""

    @app.command()
    def samples(
        folder: Folder,
        number: Annotated[int, typer.Option("-n", "--number", min=1, help="how many")] = 64,
        output: Annotated[
            Path,
            typer.Option(
                "-o", "--output", metavar="FILE", help="a picture (.png), or .csv, .npy, .npz"
            ),
        ] = Path("samples.png"),
        seed: Annotated[int, typer.Option(min=0, help="of what is drawn")] = 0,
    ) -> None:
        """Draw new examples from a model's prior, as a picture or as data.

        Of a table the picture has each column's histogram, beside that of the run's data where
        these are there; a .csv has the rows. Models without a prior cannot sample.
        """
        out.print(escape(drawn_samples(folder, number, output, seed)), soft_wrap=True)

    @app.command()
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

    @app.command()
    def plot(
        folder: Folder,
        data: Annotated[
            str | None, typer.Argument(help="rows to look at; by default those of the run")
        ] = None,
        output: Annotated[
            Path, typer.Option("-o", "--output", metavar="FILE.png", help="where to write")
        ] = Path("plot.png"),
    ) -> None:
        """Draw a run: learning curves, reconstructions, and its codes.

        Codes are drawn in the plane; of a dictionary how often and how many latents fire, and of
        images the strongest atoms.
        """
        from isthmus import pictures

        _png(output)
        picture = pictures.plot(folder, data)
        out.print(escape(f"{picture.save(output)}: {picture.about}"), soft_wrap=True)


def drawn_samples(folder: Path, number: int, output: Path, seed: int) -> str:
    """Write samples as a picture or as data; returns a line for the user."""
    from isthmus import api, pictures
    from isthmus.exporting import EXAMPLES, examples_written
    from isthmus.pictures.sampling import check_samples

    if output.suffix not in (".png", *EXAMPLES):
        raise IsthmusError(
            f"{output} should end in .png, .csv, .npz or .npy: samples are written in these forms"
        )
    if output.suffix == ".png":
        pictures.sheet.need_matplotlib()
    model = api.load(folder)
    check_samples(model, number)
    if output.suffix != ".png":
        found = examples_written(model, model.sample(number, seed=seed), output)
        return f"{output}: {found}, drawn from the prior with seed {seed}"
    picture = pictures.samples(model, number, seed=seed, against=_rows(model, folder))
    return f"{picture.save(output)}: {picture.about}"


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
    from isthmus import api, pictures

    _png(output)
    chosen = None if latents is None else _numbers(latents)
    model = api.load(folder)
    rows = _rows(model, folder) if data is None else data
    picture = pictures.traverse(
        model, rows, latents=chosen, span=span, steps=steps, row=row, seed=seed
    )
    return f"{picture.save(output)}: {picture.about}"


def _rows(model: Any, folder: Path) -> Any:
    """The rows that the run names, where they are there; that they are not is said."""
    from isthmus.activations.spec import relocated
    from isthmus.notices import say
    from isthmus.pictures.examples import opened

    spec = (model.config.get("data") or {}).get("spec")
    if spec is None:
        return None
    try:
        return opened(model, relocated(spec, folder))
    except IsthmusError as problem:
        say(f"the data of {folder} are not looked at: {problem}")
        return None


def _png(output: Path) -> None:
    """An error for another form, and without matplotlib, before anything is computed."""
    from isthmus.pictures.sheet import need_matplotlib

    if output.suffix.lower() != ".png":
        raise IsthmusError(f"{output} should end in .png: pictures are written in that form")
    need_matplotlib()


def _numbers(text: str) -> list[int]:
    """``"0,3,7-9"`` as numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise IsthmusError(f"--latents {text!r} are no numbers: write them as 0,3,7 or 0-9")
        found += range(int(first), int(last or first) + 1)
    return found
