"""The command ``isthmus label``: its options, and the table it prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isthmus.errors import IsthmusError
from isthmus.interpretation.features.format import features_folder
from isthmus.interpretation.labels.labelling import Labelling, label
from isthmus.interpretation.labels.scoring import SCORERS
from isthmus.interpretation.labels.table import CONTROLS, LABELS, Label

SHOWN = 12
"""Labels that are printed, those with the best scores."""


def run(
    folder: Path,
    method: str = "rules",
    given: Mapping[str, Any] | None = None,
    *,
    judge: str | None = None,
    scorers: str = ",".join(SCORERS),
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
    options = dict(given or {})
    if method in ("endpoint", "local") and "model" not in options:
        raise IsthmusError(f"the method {method!r} needs a model: add model=NAME")
    found = label(
        folder,
        method,
        [name.strip() for name in scorers.split(",") if name.strip()],
        None if latents is None else numbers(latents),
        seed,
        progress,
        judge=judge,
        sample=sample,  # type: ignore[arg-type]  # any other name raises
        examples=examples,
        scored=scored,
        control=control,
        **options,
    )
    return table(found, features_folder(folder))


def numbers(text: str) -> list[int]:
    """``0-2,7`` is 0, 1, 2, 7."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise IsthmusError(f"{text!r} is no list of latents: write numbers such as 0-99,512")
        found += range(int(low), int(high if dash else low) + 1)
    return found


def table(found: Labelling, folder: Path) -> RenderableType:
    """The best labels with their scores, the means with those of shuffled labels, the cost."""
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


def _by_latent(labels: Sequence[Label]) -> dict[int, dict[str, Label]]:
    found: dict[int, dict[str, Label]] = {}
    for one in labels:
        found.setdefault(one.latent, {})[one.metric] = one
    return found


def _worth(scores: Mapping[str, Label]) -> float:
    known = [x.score for x in scores.values() if x.score is not None]
    return sum(known) / len(known) if known else 0.0


def _cell(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _shown(text: str) -> str:
    """Without control characters: labels may quote any text."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
