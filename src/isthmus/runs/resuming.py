"""Going on with a run from its last checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from isthmus import notices
from isthmus.anatomy import Autoencoder, Source
from isthmus.data import options as data_options
from isthmus.errors import IsthmusError
from isthmus.ranks import team
from isthmus.recipes import RecipeLike
from isthmus.recipes.registry import validated
from isthmus.runs.building import rebuilt
from isthmus.runs.data import DataLike, opened, parts
from isthmus.runs.launching import Ranks, by_ranks
from isthmus.runs.loading import load
from isthmus.runs.record import described, title_of
from isthmus.runs.stored_runs import in_storage
from isthmus.runs.team import claim_for, run_of
from isthmus.training import Callback, Checkpoint, Trainer, TrainingOptions, read_checkpoint
from isthmus.training.checkpoint import read_config
from isthmus.training.extension import check_longer
from isthmus.training.many import read_manifest
from isthmus.training.progress import Show
from isthmus.training.session import session


@in_storage("path")
@by_ranks
@session
def resume(
    path: str | Path,
    X: DataLike | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    model: Autoencoder | None = None,
    recipe: RecipeLike | None = None,
    validation_data: DataLike | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    steps: int | None = None,
    epochs: float | None = None,
    ranks: Ranks = None,
    **modules: Any,
) -> Autoencoder:
    """Go on with a run from its last checkpoint, to the same weights as if it had never stopped.

    ``steps`` or ``epochs`` make the run longer, a finished one too, to so many in all: it ends with
    the same bits as a run of that length from the start. Where its learning rate or a weight is a
    schedule over the whole run that cannot be, and is an error (``fit`` with ``start`` trains on
    from the weights); parts that read the length go on as in the longer run, which is said. The
    look at the held-out rows after the former last step counts for early stopping.

    ``ranks`` is as in ``fit``, and need not be as many as before: a run of four processes goes on
    with two or with one, to the same weights but for the rounding.

    ``X`` is needed where the data were not a name or a file, and so are ``given`` and ``mask``
    where they were arrays; other data than the run began with are an :class:`IsthmusError`.
    ``model``, ``recipe`` and ``modules`` are as in :func:`load`.
    """
    folder = Path(path)
    if read_manifest(folder) is not None:
        raise IsthmusError(
            f"{folder} holds several runs of one pass: go on with them by resume_many"
        )
    longer = _length(steps, epochs)
    config = read_config(folder)
    _only_modules(config, modules)
    finished = config["progress"].get("finished")
    if not longer and (finished or finished is None):
        return load(folder, model, recipe=recipe, device="cpu", **modules)
    claim_for(folder)
    checkpoint = read_checkpoint(folder, state=True, parts=team() is not None)
    config = checkpoint.config
    config["notes"] = notices.heard(config.get("notes", ()))
    source = reopened(config, folder, X, validation_data, given, mask)
    recorded = dict(config["training"])
    if longer:
        recorded.update({"steps": None, "epochs": None, **longer})
    training = validated(TrainingOptions, recorded)
    train, held = parts(source, training, validation_data, config)
    restored = rebuilt(config, folder, model, modules, recipe)
    restored.config = config
    trainer = run_of(
        restored,
        train,
        training,
        checkpoint=checkpoint,
        validation=held,
        folder=folder,
        config=config,
        callbacks=callbacks,
        progress=progress,
        title=title_of(config),
    )
    if longer:
        _extend(trainer, checkpoint, training, str(folder))
    return trainer.run()


def _length(steps: int | None, epochs: float | None) -> dict[str, Any]:
    """The new length of a run, where one is asked for."""
    if steps is not None and epochs is not None:
        raise IsthmusError("steps and epochs are two lengths: pass one of them")
    return {n: v for n, v in {"steps": steps, "epochs": epochs}.items() if v is not None}


def _only_modules(config: Mapping[str, Any], modules: Mapping[str, Any]) -> None:
    """An error for an option that is none of resume's: nothing that is asked for is ignored."""
    for name, value in modules.items():
        if not isinstance(value, nn.Module):
            raise IsthmusError(
                f"resume goes on exactly as the run began, and takes no {name}={value!r} (only "
                f"steps or epochs, to make it longer): fit with start= trains on with other options"
            )
        recorded = config["options"].get(name)
        if config["recipe"] and not (isinstance(recorded, dict) and "module" in recorded):
            raise IsthmusError(f"the run was not fitted with a {name} of your own: leave it out")


def _extend(
    trainer: Trainer, checkpoint: Checkpoint, training: TrainingOptions, where: str
) -> None:
    """Make a restored run longer; it is then one of that length, in its record too."""
    before, step = checkpoint.progress["total"], checkpoint.progress["step"]
    if checkpoint.progress["finished"] and step < before:
        raise IsthmusError(
            f"{where} ended by itself at step {step} of {before}, as nothing was gained any more: "
            f"fit the same recipe with start={where} to train on from its weights"
        )
    check_longer(trainer, before, step, where)
    trainer.stopped = False
    trainer.config["training"] = training.model_dump(mode="json")


def reopened(
    config: Mapping[str, Any],
    folder: Path,
    X: DataLike | None,
    validation_data: DataLike | None,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
) -> Source:
    """The data that the run in ``folder`` began with; an error for others."""
    if X is None:
        X = (config["data"] or {}).get("spec")
        if X is None:
            raise IsthmusError(f"the data of {folder} were not a file: pass them again as X")
        from isthmus.activations.spec import relocated

        X = relocated(X, folder)
    source, _ = opened(X, given, mask, config)
    if described(X, source)["fingerprint"] != config["data"]["fingerprint"]:
        raise IsthmusError(f"these are not the data that {folder} was fitted to: pass the same")
    if config.get("own_validation") and validation_data is None:
        raise IsthmusError(f"{folder} used its own validation data: pass them as validation_data")
    return data_options.again(source, config["data"].get("max_norm"))
