"""The run of a model by this process alone, or as one of several ranks."""

import hashlib
import json
from pathlib import Path
from typing import Any

from isthmus.anatomy import Autoencoder, LinearDecoder, Source
from isthmus.data import options as data_options
from isthmus.errors import IsthmusError
from isthmus.ranks import Team, team
from isthmus.runs.folder import fresh_folder
from isthmus.training import Checkpoint, Run, TrainingOptions
from isthmus.training.checkpoint import versions
from isthmus.training.data_parallel import DataParallelRun
from isthmus.training.device import resolve_device
from isthmus.training.lock import claim
from isthmus.training.sharded_run import ShardedRun


def folder_for(out: str | Path | None, overwrite: bool) -> Path | None:
    """The folder of a new run, which of several ranks the first one holds."""
    if out is None:
        return None
    ranks = team()
    return (
        Path(out) if ranks is not None and not ranks.first else fresh_folder(Path(out), overwrite)
    )


def claim_for(folder: Path) -> None:
    """Hold the folder of a run that goes on, of several ranks by the first one."""
    ranks = team()
    if ranks is None or ranks.first:
        claim(folder)


def run_of(
    model: Autoencoder,
    source: Source,
    training: TrainingOptions,
    *,
    checkpoint: Checkpoint | None = None,
    **about: Any,
) -> Run:
    """The run, from the start or from ``checkpoint``.

    Several ranks first agree on what they are about to do, and are then connected. A sparse
    dictionary is cut by latents; of any other model each rank has the whole, and a part of every
    batch.
    """
    ranks = team()
    if ranks is None:
        run = Run(model, source, training, **about)
    else:
        run = _ranked(ranks, model, source, training, **about)
        if about.get("folder") is not None:
            ranks.log_in(about["folder"])
        step = 0 if checkpoint is None else checkpoint.progress["step"]
        ranks.agree(_facts(run, step))
        ranks.connect(resolve_device(training.device))
    if checkpoint is not None:
        run.restore(checkpoint)
    return run


def check_alone(model: Autoencoder) -> None:
    """An error where several ranks would fit a model in closed form, each all of it."""
    if model.solver is not None and team() is not None:
        raise IsthmusError("this model is fitted in closed form, by one process: leave out ranks=")


def _ranked(
    ranks: Team, model: Autoencoder, source: Source, training: TrainingOptions, **about: Any
) -> Run:
    if not isinstance(model.decoder, LinearDecoder):
        return DataParallelRun(model, source, training, team=ranks, **about)
    split = not data_options.is_array(source) and not source.given_names
    return ShardedRun(model, source, training, team=ranks, split_rows=split, **about)


def _facts(run: Run, step: int) -> dict[str, str]:
    """What all ranks must have in common."""
    config, software = run.config, versions()
    plan = {name: config.get(name) for name in ("recipe", "options", "training", "signal")}
    return {
        "version of isthmus": software["isthmus"],
        "version of PyTorch": software["torch"],
        "fingerprint of the data": str((config.get("data") or {}).get("fingerprint")),
        "number of rows": str(len(run.source)),
        "configuration": _digest([plan, run.total]),
        "step to begin with": str(step),
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
