"""Models on disk: load and check one, save one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.networks import quantised
from isthmus.recipes import RecipeLike
from isthmus.runs.building import rebuilt
from isthmus.runs.data import DataLike, check_fit, kind_of, opened
from isthmus.runs.folder import fresh_folder
from isthmus.runs.stored_runs import in_storage
from isthmus.storage import on_this_machine
from isthmus.training import Checkpoint, read_checkpoint, write_checkpoint
from isthmus.training.device import resolve_device
from isthmus.training.reference import ROWS, examples, reference_triples, verify
from isthmus.training.session import session


@in_storage("path")
def load(
    path: str | Path,
    model: Autoencoder | None = None,
    *,
    recipe: RecipeLike | None = None,
    device: str = "cpu",
    **modules: nn.Module,
) -> Autoencoder:
    """Load a saved model and check that it reproduces its stored reference triples.

    ``modules`` are the modules of your own that the model was built with (``encoder=...``);
    ``model`` is the untrained autoencoder, where it was not built by a recipe; ``recipe`` is the
    function that built it, where that cannot be imported by the name in the checkpoint. Nothing is
    ever imported out of the folder. Raises :class:`IsthmusError` for a damaged, foreign or wrongly
    loading checkpoint.
    """
    folder = Path(path)
    checkpoint = read_checkpoint(folder)
    return _restored(checkpoint, folder, model, modules, recipe).to(resolve_device(device))


@session
def save(
    model: Autoencoder,
    path: str | Path,
    X: DataLike | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
) -> None:
    """Save a fitted model without training state.

    ``X`` gives the rows of the reference triples, with ``given`` and ``mask`` as in :func:`fit`; a
    model that :func:`fit` returned or :func:`load` read remembers its own.
    """
    rows = model.reference_rows
    if X is None and (given is not None or mask is not None):
        raise IsthmusError("given and mask are those of X: pass the rows as X, too")
    if X is not None:
        source, _ = opened(X, given, mask, model.config, kind=kind_of(model))
        check_fit(model, source)
        rows = source.batch(torch.arange(min(ROWS, len(source))))
    if rows is None:
        raise IsthmusError("a few rows of data are needed to save this model: pass them as X")
    config = model.config or {
        "recipe": None,
        "options": {},
        "training": {},
        "signal": model.signal.to_dict(),
        "data": None,
    }
    weights = {n: t.clone() for n, t in model.state_dict().items()}
    folder = fresh_folder(on_this_machine(path), overwrite=False)
    write_checkpoint(folder, Checkpoint(config, weights, reference_triples(model, rows)))


def _restored(
    checkpoint: Checkpoint,
    folder: Path,
    model: Autoencoder | None,
    modules: Mapping[str, nn.Module],
    recipe: RecipeLike | None,
) -> Autoencoder:
    restored = rebuilt(checkpoint.config, folder, model, modules, recipe)
    if "quantised" in checkpoint.config:
        restored = quantised(restored, checkpoint.config["quantised"])
    kinds = {w.dtype for w in checkpoint.weights.values() if w.is_floating_point()}
    if kinds & {torch.float16, torch.bfloat16}:  # as it was saved, so that it computes the same
        restored.to(next(iter(kinds & {torch.float16, torch.bfloat16})))
    try:
        restored.load_state_dict(checkpoint.weights)
    except RuntimeError:
        package = " ".join((checkpoint.config.get("origin") or {}).get("distribution") or ())
        raise IsthmusError(
            f"the weights in {folder} do not fit the model that its config.json describes: use "
            f"the version of {package or 'isthmus'} that wrote it"
        ) from None
    restored.eval()
    restored.config = checkpoint.config
    restored.stage = checkpoint.progress.get("stage", max(0, len(restored.stages) - 1))
    restored.prepared = set(range(max(1, restored.stage + 1)))
    restored.reference_rows = examples(checkpoint.reference, restored.signal)
    verify(restored, checkpoint.reference, str(folder))
    return restored
