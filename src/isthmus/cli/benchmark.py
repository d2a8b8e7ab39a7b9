"""``isthmus benchmark``: dictionaries of one language model, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isthmus.cli.common import Quiet, interruptible, out
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.dictionary_benchmark import BenchmarkResult


def benchmark(
    dictionaries: Annotated[
        list[str], typer.Argument(metavar="RUN ...", help="runs, or published dictionaries")
    ],
    host: Annotated[
        str | None, typer.Option(help="the language model, where they do not say it")
    ] = None,
    at: Annotated[str | None, typer.Option(help="the point in it, such as layers.1")] = None,
    tasks: Annotated[str | None, typer.Option(help="by comma; all by default")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="draws, the same for all")] = 3,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a table of texts and labels of your own")
    ] = None,
    text_column: Annotated[str, typer.Option(help="of FILE")] = "text",
    labels: Annotated[str, typer.Option(help="columns of FILE, by comma")] = "label",
    text: Annotated[
        str | None, typer.Option(help="running text: a file, a folder, held-out, masc, samples")
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="of running text, for each seed")] = 4096,
    texts: Annotated[int, typer.Option(min=2, help="labelled texts of each class")] = 100,
    latents: Annotated[int, typer.Option(min=2, help="that are explained in words")] = 40,
    explainer: Annotated[
        str, typer.Option(help="of latents: rules, endpoint:MODEL or local:MODEL")
    ] = "rules",
    controls: Annotated[
        bool, typer.Option(help="a random dictionary, PCA and neurons beside them")
    ] = True,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="the page")] = Path(
        "benchmark"
    ),
    quiet: Quiet = False,
) -> None:
    """Measure dictionaries on a language model: one table and one picture, with intervals.

    Tasks: core, sparse_probing, scr, tpp, absorption, mdl, ravel, unlearning, autointerp. All have
    the same texts and draws. What the host does not know is not measured, and said. Results are
    kept; the same command goes on.
    """
    with interruptible():
        out.print(
            run(
                dictionaries, output, host=host, at=at, tasks=tasks, seeds=seeds, data=data,
                text_column=text_column, labels=labels, controls=controls, progress=not quiet,
                text=text, tokens=tokens, texts=texts, latents=latents, explainer=explainer,
            )
        )  # fmt: skip


def run(
    dictionaries: Sequence[str],
    output: Path,
    *,
    host: str | None = None,
    at: str | None = None,
    tasks: str | None = None,
    seeds: int = 3,
    data: Path | None = None,
    text_column: str = "text",
    labels: str = "label",
    controls: bool = True,
    progress: bool = True,
    explainer: str = "rules",
    **settings: Any,
) -> RenderableType:
    """Measure, write the page, the picture and the table, and return what is printed.

    ``settings`` are those of :class:`~isthmus.dictionary_benchmark.BenchmarkSettings`.
    """
    from isthmus.dictionary_benchmark import BenchmarkSettings, UserData
    from isthmus.dictionary_benchmark import benchmark as measured
    from isthmus.dictionary_benchmark.benchmark_figures import as_csv
    from isthmus.dictionary_benchmark.benchmark_page import benchmark_page, picture
    from isthmus.dictionary_benchmark.benchmark_runs import RESULTS
    from isthmus.dictionary_benchmark.score_chart import standalone
    from isthmus.runs import write_atomically
    from isthmus.training.checkpoint import CONFIG

    if output.exists() and not output.is_dir():
        raise IsthmusError(f"{output} is a file: name a folder for the results")
    if (output / CONFIG).exists() or (
        (output / "index.html").exists() and not (output / RESULTS).is_dir()
    ):
        raise IsthmusError(
            f"{output} holds something else than results of a benchmark: name another folder"
        )
    method, colon, model = explainer.partition(":")
    if bool(colon and model) != (method in ("endpoint", "local")):
        raise IsthmusError(
            f"{explainer!r} is no explainer: write rules, endpoint:MODEL or local:MODEL"
        )
    columns = tuple(name.strip() for name in labels.split(",") if name.strip())
    result = measured(
        dictionaries,
        None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()],
        host=host, at=at, out=output, seeds=seeds,
        data=None if data is None else UserData(data, text_column, columns),
        settings=BenchmarkSettings(
            **settings, explainer=method, explainer_options={"model": model} if model else {}
        ),
        with_controls=controls,
        progress=progress,
    )  # fmt: skip
    if not result.main():
        reasons = {reason for one in result.tasks for reason in result.notes(one.name)}
        raise IsthmusError(f"nothing could be measured: {'; '.join(sorted(reasons))}")
    write_atomically(output / "index.html", benchmark_page(result).encode())
    write_atomically(output / "results.csv", as_csv(result).encode())
    write_atomically(output / "picture.svg", standalone(picture(result)).encode())
    return table(result, output)


def table(found: "BenchmarkResult", output: Path) -> RenderableType:
    """Main measures by dictionary; the page has the others and all intervals."""
    from isthmus.dictionary_benchmark.benchmark_page import heading, number

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("measure")
    for row in found.rows:
        grid.add_column(Text(row.name, "dim" if row.control else ""), justify="right")
    for task, about in found.main():
        cells = [Text(f"{heading(task, about)} {about.arrow}")]
        for row in found.rows:
            result = found.figure(task, about.name, row.name)
            cells.append(
                Text("-" if result is None else number(result.value), "dim" if row.control else "")
            )
        grid.add_row(*cells)
    notes = [
        Text(f"  {task.name}: {note}", "dim")
        for task in found.tasks
        for note in found.notes(task.name)
    ]
    draws = "1 seed" if found.seeds == 1 else f"{found.seeds} seeds"
    host = Text(f"{found.host}, {draws}; ↑ higher is better, ↓ lower is better")
    return Group(host, grid, *notes, Text(f"written to {output / 'index.html'}"))
