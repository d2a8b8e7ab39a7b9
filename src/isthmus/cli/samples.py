"""``isthmus samples``: new examples, drawn from a model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, out
from isthmus.errors import IsthmusError


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


def drawn_samples(folder: Path, number: int, output: Path, seed: int) -> str:
    """Write samples as a picture or as data; returns a line for the user."""
    from isthmus import pictures, runs
    from isthmus.cli.decode import EXAMPLES, examples_written
    from isthmus.pictures.run_rows import rows_of_run
    from isthmus.pictures.sampling import check_samples
    from isthmus.pictures.sheet import need_matplotlib

    if output.suffix not in (".png", *EXAMPLES):
        raise IsthmusError(
            f"{output} should end in .png, .csv, .npz or .npy: samples are written in these forms"
        )
    if output.suffix == ".png":
        need_matplotlib()
    model = runs.load(folder)
    check_samples(model, number)
    if output.suffix != ".png":
        summary = examples_written(model, model.sample(number, seed=seed), output)
        return f"{output}: {summary}, drawn from the prior with seed {seed}"
    picture = pictures.samples(model, number, seed=seed, against=rows_of_run(model, folder))
    return f"{picture.save(output)}: {picture.about}"
