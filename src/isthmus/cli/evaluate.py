"""``isthmus evaluate``: measure a saved model."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli import completion
from isthmus.cli.common import Folder, out
from isthmus.errors import IsthmusError


def evaluate(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Argument(
            help="by default the test part of the set, or the data of the run",
            autocompletion=completion.data,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="importance samples per example")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="seed of the samples")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the results here")
    ] = None,
) -> None:
    """Evaluate a saved model by the measures that suit its code."""
    from isthmus import runs
    from isthmus.evaluation import with_estimators
    from isthmus.runs import title_of, write_atomically

    model = runs.load(folder)
    if data is None:
        data = (model.config.get("data") or {}).get("spec")
        if data is None:
            raise IsthmusError(f"the data of {folder} were not a file: name some after the folder")
    source = runs.held_out_source(data, model)
    results = runs.evaluate(model, source, samples=samples, seed=seed)
    out.print(f"{escape(title_of(model.config))} on {escape(str(data))}, {len(source):,} rows")
    out.print(with_estimators(results))
    for note in model.config.get("notes", ()):
        out.print(f"note: {escape(note)}", soft_wrap=True)
    if json_file is not None:
        text = json.dumps({name: result.to_dict() for name, result in results.items()}, indent=1)
        write_atomically(json_file, text.encode())
