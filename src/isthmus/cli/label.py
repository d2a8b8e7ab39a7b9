"""``isthmus label``: what latents fire on, in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isthmus.cli.common import Options, Quiet, interruptible, out, parse_numbers, parse_options
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.interpretation.labels.labelling import Labelling
    from isthmus.interpretation.labels.table import Label

SCORED = "detection,fuzzing"
"""The scores that are asked for by default: all that there are."""

SHOWN = 12
"""Labels that are printed, those with the best scores."""


def label(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run, or its features")],
    options: Options = None,
    method: Annotated[str, typer.Option(help="rules, endpoint or local")] = "rules",
    judge: Annotated[str | None, typer.Option(help="by default the method's own")] = None,
    scorers: Annotated[str, typer.Option(help="by comma; empty: none")] = SCORED,
    latents: Annotated[str | None, typer.Option(help="such as 0-99,512")] = None,
    sample: Annotated[str, typer.Option(help="examples by deciles, or top ones")] = "deciles",
    examples: Annotated[int, typer.Option(min=2, help="for the explainer")] = 40,
    scored: Annotated[int, typer.Option(min=2, help="for the judge")] = 50,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 0,
    quiet: Quiet = False,
) -> None:
    """Say in words what latents fire on, and score the words on examples kept apart.

    Rules need no other model; endpoint (any OpenAI-compatible one: model=, base_url=) and local
    (a transformers model: model=) do. Answers are kept, so the same command goes on.
    """
    with interruptible():
        out.print(
            run(
                folder, method, parse_options(options), judge=judge, scorers=scorers,
                latents=latents, sample=sample, examples=examples, scored=scored, seed=seed,
                progress=not quiet,
            )
        )  # fmt: skip


def run(
    folder: Path,
    method: str = "rules",
    given: Mapping[str, Any] | None = None,
    *,
    judge: str | None = None,
    scorers: str = SCORED,
    latents: str | None = None,
    sample: str = "deciles",
    examples: int = 40,
    scored: int = 50,
    control: bool | None = None,
    seed: int = 0,
    progress: bool = True,
) -> RenderableType:
    """Label and score the latents of a run or a features folder; returns what is printed.

    ``given`` are the options of the methods ``endpoint`` and ``local`` (``model=...``,
    ``base_url=...``); ``scorers`` and ``latents`` are lists with commas, the latter with ranges:
    ``0-99,512``. ``scorers=""`` only explains.
    """
    from isthmus.interpretation.features.format import features_folder
    from isthmus.interpretation.labels.labelling import label as labelled

    options = dict(given or {})
    if method in ("endpoint", "local") and "model" not in options:
        raise IsthmusError(f"the method {method!r} needs a model: add model=NAME")
    labels = labelled(
        folder,
        method,
        [name.strip() for name in scorers.split(",") if name.strip()],
        None if latents is None else parse_numbers(latents),
        seed,
        progress,
        judge=judge,
        sample=sample,  # type: ignore[arg-type]  # any other name raises
        examples=examples,
        scored=scored,
        control=control,
        **options,
    )
    return table(labels, features_folder(folder))


def table(found: "Labelling", folder: Path) -> RenderableType:
    """The best labels with their scores, the means with those of shuffled labels, the cost."""
    from isthmus.interpretation.labels.scoring import SCORERS
    from isthmus.interpretation.labels.table import CONTROLS, LABELS

    latents = _by_latent(found.labels)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("latent", justify="right")
    metrics = [name for name in SCORERS if any(x.metric == name for x in found.labels)]
    for name in metrics:
        grid.add_column(name, justify="right")
    grid.add_column("label", overflow="fold")
    for latent, scores in sorted(latents.items(), key=lambda item: -_worth(item[1]))[:SHOWN]:
        cells = [_cell(scores[name].score if name in scores else None) for name in metrics]
        text = next(iter(scores.values())).label
        grid.add_row(str(latent), *cells, Text(_shown(text) or "no label"))
    notes = [Text(f"  {result}") for result in found.summary().values()]
    if found.spend is not None:
        notes.append(Text(f"  {found.spend}"))
    files = [LABELS, *([CONTROLS] if found.controls else [])]
    where = ", ".join(str(folder / name) for name in files)
    return Group(grid, *notes, Text(f"{len(latents)} latents; written to {where}"))


def _by_latent(labels: Sequence["Label"]) -> dict[int, dict[str, "Label"]]:
    groups: dict[int, dict[str, Label]] = {}
    for one in labels:
        groups.setdefault(one.latent, {})[one.metric] = one
    return groups


def _worth(scores: Mapping[str, "Label"]) -> float:
    values = [x.score for x in scores.values() if x.score is not None]
    return sum(values) / len(values) if values else 0.0


def _cell(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _shown(text: str) -> str:
    """Without control characters: labels may quote any text."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
