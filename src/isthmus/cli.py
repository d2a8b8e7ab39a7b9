"""The command line."""

import contextlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isthmus import answering, exporting, looking
from isthmus.errors import IsthmusError

app = typer.Typer(
    help="Any autoencoder from the same few parts: train it on your data, compare, look inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# highlight off: colouring numbers in prose helps nobody.
out = Console(highlight=False)

OptionList = Annotated[
    list[str] | None, typer.Argument(metavar="[option=value]...", show_default=False)
]
GivenList = Annotated[
    list[str] | None,
    typer.Option(
        "--given", metavar="NAME=COLUMN", help="give a column of the data to the model as NAME"
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]


@app.command("recipes")
def recipes_command(
    word: Annotated[str | None, typer.Argument(help="only those that mention this word")] = None,
) -> None:
    """List the recipes."""
    import warnings

    from isthmus.recipes import broken_recipes, list_recipes

    broken = broken_recipes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, as a sentence
        found = list_recipes(word)
    if not found:
        raise IsthmusError(f"no recipe mentions {word!r}: isthmus recipes lists them all")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "family", "idea"):
        table.add_column(column, no_wrap=column != "idea")
    for name, recipe in found.items():
        table.add_row(escape(name), escape(recipe.family), escape(recipe.idea))
    out.print(table)
    for sentence in broken.values():
        out.print(escape(sentence))


@app.command()
def doctor(
    build: Annotated[bool, typer.Option("--build", help="compile the native kernels now")] = False,
) -> None:
    """Say which kernels serve on this machine, and why."""
    from isthmus.doctor import build_kernels, findings

    if build:
        build_kernels()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in findings().items():
        table.add_row(f"[bold]{name}[/]", escape(text))
    out.print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="a recipe, or package.module:function")],
) -> None:
    """Show a recipe's page: idea, formula, reference, options with their defaults."""
    from isthmus.recipes import as_recipe, option_table
    from isthmus.recipes.sizes import lengths
    from isthmus.training import TrainingOptions

    recipe = as_recipe(name)
    number = f" · catalogue {recipe.catalogue}" if recipe.catalogue else ""
    out.print(f"[bold]{escape(recipe.name)}[/]  {escape(recipe.family)}{number}\n")
    for paragraph in recipe.doc.split("\n\n") if recipe.doc else ():
        out.print(escape(" ".join(paragraph.split())) + "\n")
    for title, text in (
        ("formula", recipe.formula),
        ("paper", recipe.paper or "no paper"),
        ("claim", recipe.claim),
        ("length", lengths(recipe)),
        ("from", "" if recipe.builtin else recipe.where),
    ):
        if text:
            out.print(f"[bold]{title}[/]  {escape(text)}\n")
    for title, rows in (
        ("options of this recipe", option_table(recipe.model_options, {})),
        ("options of every run", option_table(TrainingOptions, recipe.defaults)),
    ):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("name", "default", "description", "type"):
            table.add_column(column, no_wrap=column == "name")
        for row in rows:
            table.add_row(*(escape(row[c]) for c in ("name", "default", "description", "type")))
        out.print(table)
        out.print()


@app.command()
def fit(
    recipe: Annotated[
        str,
        typer.Argument(help="a recipe, package.module:function, or a .toml that names all this"),
    ],
    data: Annotated[
        str | None, typer.Argument(help="a name, a file or a folder", show_default=False)
    ] = None,
    options: OptionList = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="where to save the run")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a run that is already there")] = False,
    given: GivenList = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
) -> None:
    """Fit a recipe to data and save it.

    A recipe of your own is written package.module:function; the current folder is looked in, last.
    Options are the recipe's and the trainer's, as NAME=VALUE: latent_dim=32 epochs=5 lr=1e-3
    (isthmus show RECIPE lists them). Without steps= or epochs= a run ends when nothing is gained
    any more; length=published is the recipe's page, minutes=5 a budget. start=RUN trains on from
    the weights of a run. kind=, axis=, size= and mode= say how data are read (docs/data.md),
    prepare.quantiles=true and its like how a table is (docs/tables.md).
    Several arrays of an archive, or parts of a table, make a collection: two.npz:image,text or
    'table.csv:left=a,b;right=c'. What a model asks for beside the examples is a column of the data:
    label=kind where the recipe asks for a label, --given NAME=COLUMN for any.
    A .toml file holds the same: recipe, data, output, and any options.
    """
    from isthmus import api

    pairs = [*(options or [])]
    settings: dict[str, Any] = {}
    if recipe.endswith(".toml"):
        settings = _read_toml(Path(recipe))
        if data is not None and "=" in data and "data" in settings:
            pairs, data = [data, *pairs], None
        recipe = _taken(settings, "recipe", recipe)
        data = data or _taken(settings, "data", recipe)
        output = output or Path(_taken(settings, "output", recipe))
    if data is None:
        raise IsthmusError("no data given: name a set, a file or a folder after the recipe")
    if output is None:
        raise IsthmusError("no place to save given: add -o DIR")
    settings.update(parse_options(pairs))
    settings.pop("data", None), settings.pop("output", None)
    settings["given"] = {**settings.get("given", {}), **_given(given)}
    with _interruptible():
        model = api.fit(
            recipe, data, out=output, overwrite=overwrite, progress=not quiet, **settings
        )
    last = {k: v for k, v in model.history[-1].items() if isinstance(v, float)}
    out.print("  ".join(f"{k} {v:.5g}" for k, v in last.items()))
    out.print(f"saved in {escape(str(output))}; next: isthmus evaluate {escape(str(output))}")


@app.command("fit-many")
def fit_many_command(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="the variants")],
    data: Annotated[
        str | None, typer.Argument(help="a name, a file or a folder", show_default=False)
    ] = None,
    options: OptionList = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="where to save the runs, by name"),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace runs that are already there")] = False,
    given: GivenList = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
) -> None:
    """Fit several models while the data are read once.

    The .toml file has a table for each, \\[variants.NAME], or [\\[variants]] to have them named by
    what differs, with recipe = "topk" and options; what stands above the tables, and NAME=VALUE
    here, holds for all: data = "x.npy", output = "runs", batch_size = 1024.
    """
    from isthmus import many

    pairs = [*(options or [])]
    settings = _read_toml(sweep, "name the .toml file that lists the variants")
    if data is not None and "=" in data and "data" in settings:
        pairs, data = [data, *pairs], None
    data = data or _taken(settings, "data", str(sweep))
    output = output or Path(_taken(settings, "output", str(sweep)))
    settings.update(parse_options(pairs))
    settings.pop("data", None), settings.pop("output", None)
    settings["given"] = {**settings.get("given", {}), **_given(given)}
    variants = _variants(settings.pop("variants", None), sweep)
    with _interruptible():
        models = many.fit_many(
            variants, data, out=output, overwrite=overwrite, progress=not quiet, **settings
        )
    for name, model in models.items():
        last = {k: v for k, v in model.history[-1].items() if isinstance(v, float)}
        out.print(f"{escape(name)}  " + "  ".join(f"{k} {v:.5g}" for k, v in last.items()))
    out.print(f"saved in {escape(str(output))}; next: isthmus evaluate {escape(str(output))}/NAME")


@app.command()
def resume(
    folder: Folder,
    data: Annotated[
        str | None, typer.Argument(help="by default the data of the run", show_default=False)
    ] = None,
    options: OptionList = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
) -> None:
    """Go on with an interrupted run, or the runs of fit-many, exactly where it was saved.

    steps=N or epochs=N make a run longer, a finished one too, to so many in all.
    """
    from isthmus import api, many
    from isthmus.training.many import read_manifest

    pairs = [*(options or [])]
    if data is not None and "=" in data and not Path(data.partition(":")[0]).exists():
        pairs, data = [data, *pairs], None
    longer = parse_options(pairs)
    with _interruptible():
        if read_manifest(folder) is None:
            api.resume(folder, data, progress=not quiet, **longer)
        elif longer:
            raise IsthmusError(
                f"{folder} holds several runs of one pass: make each longer by its own folder"
            )
        else:
            many.resume_many(folder, data, progress=not quiet)
    out.print(f"finished: {escape(str(folder))}")


@app.command()
def evaluate(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Argument(help="by default the test part of the set, or the data of the run"),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="importance samples per example")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="seed of the samples")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the results here")
    ] = None,
) -> None:
    """Evaluate a saved model by the measures that suit its code."""
    import json

    from isthmus import api
    from isthmus.evaluation import with_estimators
    from isthmus.runs import title_of, write_atomically

    model = api.load(folder)
    if data is None:
        data = (model.config.get("data") or {}).get("spec")
        if data is None:
            raise IsthmusError(f"the data of {folder} were not a file: name some after the folder")
    source = api.held_out_source(data, model)
    results = api.evaluate(model, source, samples=samples, seed=seed)
    out.print(f"{escape(title_of(model.config))} on {escape(str(data))}, {len(source):,} rows")
    out.print(with_estimators(results))
    for note in model.config.get("notes", ()):
        out.print(f"note: {escape(note)}", soft_wrap=True)
    if json_file is not None:
        text = json.dumps({name: result.to_dict() for name, result in results.items()}, indent=1)
        write_atomically(json_file, text.encode())


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="studies", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="all of this family")] = None,
    everything: Annotated[bool, typer.Option("--all", help="all there are")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="how many; by default each study's own number")
    ] = None,
    budget: Annotated[float, typer.Option(help="scales the work; verdicts count at 1")] = 1.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes")] = None,
    pilot: Annotated[bool, typer.Option(help="run seed 0, which counts for nothing")] = False,
    again: Annotated[bool, typer.Option(help="run what is there already, too")] = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="where results are kept")
    ] = Path("reproductions"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
) -> None:
    """Check published claims: run the experiments of studies and give the verdicts.

    Without a name, list the studies and what is known of each.
    """
    from isthmus import reproduction
    from isthmus.reproduction.show import listed, shown
    from isthmus.studies import studies
    from isthmus.training.progress import ProgressBar

    chosen = [*studies(family)] if everything or family else [*(names or [])]
    if not chosen:
        out.print(listed(output))
        return
    with _interruptible(), ProgressBar("trials", 1, "trials", not quiet) as bar:
        outcomes = reproduction.reproduce(
            chosen, seeds=seeds, budget=budget, jobs=jobs, folder=output, pilot=pilot,
            again=again, report=lambda what, done, total: bar.draw(done, done, what, total=total),
        )  # fmt: skip
    for outcome in outcomes.values():
        out.print(shown(outcome))


@app.command()
def compare(
    data: Annotated[str, typer.Argument(help="a name, a file or a folder")],
    options: OptionList = None,
    recipes: Annotated[
        str, typer.Option(help="names or package.module:function, by comma")
    ] = "plain,vae,topk",
    task: Annotated[
        str, typer.Option(help="reconstruct, cluster, anomaly, probe, density or compress")
    ] = "reconstruct",
    seeds: Annotated[int, typer.Option(min=1, help="splits and initialisations")] = 3,
    labels: Annotated[
        str | None, typer.Option(help="a column of the table, or a file with one label a row")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="for the page and the tables")
    ] = Path("comparison"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="no progress")] = False,
) -> None:
    """Compare recipes on your data: same split, same budget, baselines beside them.

    Options of the comparison (steps=, batch_size=, latents=, width=, clusters=) and of single
    recipes (vae.sigma=0.3) follow as NAME=VALUE. Fits are kept; the same command goes on.
    """
    from isthmus.comparison import cli

    given = parse_options([*(options or [])])
    with _interruptible():
        out.print(cli.run(data, given, recipes.split(","), task, seeds, labels, output, not quiet))


@app.command("data")
def data_command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[fetch|show NAME...]", show_default=False)
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="folder to fetch into, by default the cache")
    ] = None,
) -> None:
    """List the data sets that have a name; fetch public ones, or show their sources.

    isthmus data fetch mnist brings a set from where it is published, checked and with its licence;
    it is found by its name from then on. isthmus data show mnist tells what a set is.
    """
    from isthmus.data import listing

    answer = listing.answer(words or [], to)
    out.print(answer, soft_wrap=isinstance(answer, str))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends a run with what to do next; the command line library would end it silently."""
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"\nisthmus: {stop or 'stopped'}", file=sys.stderr)
        raise typer.Exit(130) from None


def _given(pairs: list[str] | None) -> dict[str, str]:
    """``["label=kind"]`` as names and columns."""
    found = {}
    for pair in pairs or []:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise IsthmusError(f"--given {pair!r} names no column: write NAME=COLUMN")
        found[name] = column
    return found


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """``["k=16", "hidden=512,256"]`` as values; anything TOML reads, lists without brackets too."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise IsthmusError(f"{pair!r} is no option: write NAME=VALUE, without spaces")
        parsed[name.replace("-", "_")] = parse_value(text)
    return parsed


def parse_value(text: str) -> Any:
    """One option value: ``none``, a number, a truth value, a list, or else the text itself."""
    if text.lower() == "none":
        return None
    if text == "()":
        return ()
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        try:
            return tomllib.loads(f"v = {attempt}")["v"]
        except tomllib.TOMLDecodeError:
            continue
    return text


def _read_toml(path: Path, remedy: str = "name a recipe or a .toml file") -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise IsthmusError(f"{path} does not exist: {remedy}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise IsthmusError(f"{path} is no readable TOML: {problem}") from None
    options = settings.pop("options", {})
    return {k: None if v == "none" else v for k, v in {**settings, **options}.items()}


def _variants(asked: Any, path: Path) -> Any:
    """The variants of a sweep, with none for "none"."""

    def plain(table: Any) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise IsthmusError(f"a variant of {path} is no table: write [variants.NAME]")
        return {k: None if v == "none" else v for k, v in table.items()}

    if isinstance(asked, dict):
        return {name: plain(table) for name, table in asked.items()}
    if isinstance(asked, list):
        return [plain(table) for table in asked]
    raise IsthmusError(f"{path} has no variants: add tables [variants.NAME]")


def _taken(settings: dict[str, Any], name: str, where: str) -> str:
    if name not in settings:
        raise IsthmusError(f'{where} does not say {name}: add {name} = "..."')
    return str(settings.pop(name))


answering.add_to(app, out, lambda given: parse_options(given), lambda: _interruptible())
exporting.add_to(app, out)
looking.add_to(app, out, lambda given: parse_options(given), lambda: _interruptible())


def main() -> None:
    """Run the command line: what the user can mend is one sentence and exit code 2."""
    # As ``python -m`` does, so that a recipe in a file at hand can be named; but last, so that no
    # file there hides a package.
    if not sys.flags.safe_path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        app()
    except IsthmusError as problem:
        print(f"isthmus: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"\nisthmus: {stop or 'stopped'}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
