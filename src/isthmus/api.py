"""What users call: fit, load, save, resume, evaluate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import isthmus.activations  # noqa: F401  (lets names that begin with lm: and store: be data)
from isthmus import data, evaluation, notices, planning, runs, starting
from isthmus.anatomy import Autoencoder, Source
from isthmus.data import preparing
from isthmus.errors import IsthmusError
from isthmus.recipes import RecipeLike, as_recipe
from isthmus.recipes.registry import validated
from isthmus.runs import Data
from isthmus.training import (
    Batches,
    Callback,
    Checkpoint,
    Trainer,
    TrainingOptions,
    read_checkpoint,
    write_checkpoint,
)
from isthmus.training.checkpoint import read_config
from isthmus.training.extending import check_longer
from isthmus.training.findings import check_plan
from isthmus.training.lock import claim
from isthmus.training.machine import resolve_device
from isthmus.training.many import read_manifest
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, examples, reference_triples, verify
from isthmus.training.run import PREPARE_ROWS
from isthmus.training.scores import keep_training_scores
from isthmus.training.seeds import seeded
from isthmus.training.session import session


@session
def fit(
    recipe: RecipeLike,
    X: Data,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    out: str | Path | None = None,
    validation_data: Data | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    overwrite: bool = False,
    prepare: Mapping[str, Any] | None = None,
    start: str | Path | Autoencoder | None = None,
    **options: Any,
) -> Autoencoder:
    """Fit a recipe, or an autoencoder of your own parts, to data.

    ``recipe`` is a name, ``"package.module:function"``, a function ``(signal, *, option: type =
    default, ...) -> Autoencoder``, or an ``Autoencoder``, which is trained in place. The run says
    where a function came from, so that :func:`load` finds it again wherever it can be imported.

    ``X`` may be one array, a collection ``{"image": A, "text": B}``, a list of rows of different
    lengths or of texts, a name, a file, ... (:func:`isthmus.data.as_source`). ``given`` holds what
    a model asks for beside the examples, one entry a row: ``{"label": y}``, or the name of a column
    of the data, which is then no part of the examples. ``mask`` is True where something was
    observed (:class:`isthmus.anatomy.Batch`), of a collection by name.

    A table (a CSV or Parquet file, a frame, ...) is read by the names of its columns: how is learnt
    on the training rows and saved with the model (:mod:`isthmus.tables`). ``prepare`` has options
    of that: ``{"quantiles": True, "rare": 0.01, "levels": 30, "text": ["zip"]}``.

    A model that has been fitted or loaded keeps its weights: ``fit(model, X)`` trains it on in
    place, and ``start``, a run's folder or a fitted model of the same recipe, is trained on as a
    copy. Its scaling stays, and so do the options of its run, unless they are given anew; the
    optimiser, schedules, early stopping, the order of the rows and the log begin afresh
    (:mod:`isthmus.starting`). :func:`resume` goes on with a run itself.
    How the data are read is found from their shape, and said where that is not certain
    (:mod:`isthmus.anatomy.reading`); ``kind="image"``, ``axis=1`` (that of features or channels),
    ``size=32`` and ``mode="rgb"`` (of pictures) settle it, and the run reads other data in the same
    way. Rows of huge norm are left out where a dictionary is fitted, unless ``max_norm=None``
    (:func:`isthmus.data.asked.within_norm`).

    ``options`` are the recipe's and the trainer's in one flat space: ``latent_dim``, ``k``,
    ``steps``, ``epochs``, ``batch_size``, ``lr``, ``seed``, ``device``, ``precision``, ... An
    ``Autoencoder`` has those of the trainer and ``scaling``. Sizes that are not given follow the
    data (:mod:`isthmus.recipes.sizes`), and without ``steps`` or ``epochs`` the run ends when
    nothing is gained any more on held-out rows (:mod:`isthmus.training.plan`);
    ``length="published"`` is the recipe's page instead, ``minutes`` a budget of time. What was
    chosen is said, and recorded in the run. With ``out`` the run is saved there as it goes and can
    be resumed.

    Whatever is read, scaled, filled, dropped or chosen on your behalf is said in one line each, and
    listed in ``model.config["notes"]`` and in the run.

    Raises :class:`IsthmusError` for anything about the data or options that cannot work.
    """
    own = recipe if isinstance(recipe, Autoencoder) else None
    chosen = as_recipe(recipe)
    asked = preparing.asked(prepare, options)
    # A label may be named like an option: label=kind.
    own_given = {name: options.pop(name) for name in chosen.given if name in options}
    how = runs.asked_of(options, chosen)
    start = starting.meant(start, chosen, options)
    begun: Any = None  # the options of a model that goes on
    if start is not None:
        chosen, own, *begun = starting.started(recipe, start, options, load)
    elif (fitted := starting.fitted(recipe)) is not None:
        chosen, *begun = starting.continued(fitted, options)
    else:
        chosen.parse(options)  # a mistake is said before any data are read
    if own_given:
        given = {**own_given, **(given or {})}
    source, columns = runs.opened(X, given, mask, kind=how.reading)
    runs.check_given(chosen, source)
    folder = None if out is None else runs.fresh_folder(Path(out), overwrite)
    if len(source) < 2:
        raise IsthmusError("the data have 1 row: nothing can be learnt from fewer than 2")
    every = source
    source, left_out = runs.within_norm(source, how, chosen)
    ready = planning.fit_planned(chosen, options, source, own, validation_data, asked, begun)
    model, training = ready.model, ready.training
    every = runs.whole(every, ready.rows.source, ready.rows.preparation)
    model.config = runs.config_of(
        chosen,
        model,
        ready.options,
        training,
        runs.described(X, every, columns, how.reading, left_out),
        own_validation=validation_data is not None,
        plan=ready.plan,
    )
    preparing.attached(model, ready.rows.preparation)
    if start is not None:
        model.config["start"] = "a fitted model" if isinstance(start, Autoencoder) else str(start)
    if model.solver is not None:
        return _solve(model, ready.rows.train, training, folder, chosen.name, progress)
    trainer = Trainer(
        model,
        ready.rows.train,
        training,
        validation=ready.rows.held,
        folder=folder,
        config=model.config,
        callbacks=callbacks,
        progress=progress,
        title=chosen.name,
    )
    if not {*starting.LENGTHS} & {*options}:
        check_plan(trainer)
    return trainer.run()


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
    X: Data | None = None,
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
        source, _ = runs.opened(X, given, mask, model.config, kind=runs.kind_of(model))
        runs.check_fit(model, source)
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
    folder = runs.fresh_folder(Path(path), overwrite=False)
    write_checkpoint(folder, Checkpoint(config, weights, reference_triples(model, rows)))


@session
def resume(
    path: str | Path,
    X: Data | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    model: Autoencoder | None = None,
    recipe: RecipeLike | None = None,
    validation_data: Data | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    steps: int | None = None,
    epochs: float | None = None,
    **modules: Any,
) -> Autoencoder:
    """Go on with a run from its last checkpoint, to the same weights as if it had never stopped.

    ``steps`` or ``epochs`` make the run longer, a finished one too, to so many in all: it ends with
    the same bits as a run of that length from the start. Where its learning rate or a weight is a
    schedule over the whole run that cannot be, and is an error (``fit`` with ``start`` trains on
    from the weights); parts that read the length go on as in the longer run, which is said. The
    look at the held-out rows after the former last step counts for early stopping.

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
    claim(folder)
    checkpoint = read_checkpoint(folder, state=True)
    config = checkpoint.config
    config["notes"] = notices.heard(config.get("notes", ()))
    source = runs.reopened(config, folder, X, validation_data, given, mask)
    recorded = dict(config["training"])
    if longer:
        recorded.update({"steps": None, "epochs": None, **longer})
    training = validated(TrainingOptions, recorded)
    train, held = runs.parts(source, training, validation_data, config)
    rebuilt = runs.rebuilt(config, folder, model, modules, recipe)
    rebuilt.config = config
    trainer = Trainer(
        rebuilt,
        train,
        training,
        validation=held,
        folder=folder,
        config=config,
        callbacks=callbacks,
        progress=progress,
        title=runs.title_of(config),
    )
    trainer.restore(checkpoint)
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
    before, done = checkpoint.progress["total"], checkpoint.progress["step"]
    if checkpoint.progress["finished"] and done < before:
        raise IsthmusError(
            f"{where} ended by itself at step {done} of {before}, as nothing was gained any more: "
            f"fit the same recipe with start={where} to train on from its weights"
        )
    check_longer(trainer, before, done, where)
    trainer.stopped = False
    trainer.config["training"] = training.model_dump(mode="json")


def evaluate(
    model: Autoencoder,
    X: Data,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    samples: int = 64,
    seed: int = 0,
    batch_size: int = 1024,
) -> dict[str, evaluation.Result]:
    """The measures that suit the model's code, each a :class:`~isthmus.evaluation.Result`.

    For the name of a set with a test part, that part is evaluated. ``samples`` importance samples
    bound the log-likelihood where there is one. ``given`` and ``mask`` are as in :func:`fit`;
    columns that were given by name are taken again.
    """
    source = held_out_source(X, model, given=given, mask=mask)
    return evaluation.evaluate(model, source, samples=samples, seed=seed, batch_size=batch_size)


def held_out_source(
    X: Data,
    model: Autoencoder | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
) -> Source:
    """The held-out part of a named set that has one; otherwise the data themselves.

    What the ``model`` was given from columns is taken from the same columns.
    """
    if data.is_name(X):
        X = data.load(X)
    if isinstance(X, data.Data):
        X = X.train if X.test is None else X.test
    config = None if model is None else model.config
    source, _ = runs.opened(X, given, mask, config, kind=runs.kind_of(model))
    return source


# --- how the pieces come together ------------------------------------------------------------


def _solve(
    model: Autoencoder,
    source: Source,
    training: TrainingOptions,
    folder: Path | None,
    title: str,
    progress: Show,
) -> Autoencoder:
    """Fit by the model's own solver, and save."""
    assert model.solver is not None
    sample = source.batch(torch.arange(min(ROWS, len(source))))
    device = resolve_device(training.device)
    model.to(device)
    drawn = seeded(device, training.seed, 3)
    with drawn, ProgressBar(title, 1, "rows", progress) as bar:
        with torch.no_grad():
            sample_ = Batches(source, 1, training.order_seed).sample(PREPARE_ROWS).to(device)
            model.prepare(sample_, rows=len(source), source=source)

        def report(done: int, total: int, what: str) -> None:
            if bar.due or done == total:
                bar.draw(done, done, what, total=total)

        figures = model.solver.fit(model, source, report)
    model.eval()
    model.history, model.reference_rows = [{"step": 1, **figures}], sample
    keep_training_scores(model, source, model.config, sample)
    if folder is not None:
        weights = {n: t.clone() for n, t in model.state_dict().items()}
        done = {"step": 1, "total": 1, "finished": True}
        triples = reference_triples(model, sample)
        log = json.dumps(model.history[0]) + "\n"
        checkpoint = Checkpoint(model.config, weights, triples, progress=done)
        write_checkpoint(folder, checkpoint, log=log)
    return model


def _restored(
    checkpoint: Checkpoint,
    folder: Path,
    model: Autoencoder | None,
    modules: Mapping[str, nn.Module],
    recipe: RecipeLike | None,
) -> Autoencoder:
    rebuilt = runs.rebuilt(checkpoint.config, folder, model, modules, recipe)
    kinds = {w.dtype for w in checkpoint.weights.values() if w.is_floating_point()}
    if kinds & {torch.float16, torch.bfloat16}:  # as it was saved, so that it computes the same
        rebuilt.to(next(iter(kinds & {torch.float16, torch.bfloat16})))
    try:
        rebuilt.load_state_dict(checkpoint.weights)
    except RuntimeError:
        package = " ".join((checkpoint.config.get("origin") or {}).get("distribution") or ())
        raise IsthmusError(
            f"the weights in {folder} do not fit the model that its config.json describes: use "
            f"the version of {package or 'isthmus'} that wrote it"
        ) from None
    rebuilt.eval()
    rebuilt.config = checkpoint.config
    rebuilt.stage = checkpoint.progress.get("stage", max(0, len(rebuilt.stages) - 1))
    rebuilt.prepared = set(range(max(1, rebuilt.stage + 1)))
    rebuilt.reference_rows = examples(checkpoint.reference, rebuilt.signal)
    verify(rebuilt, checkpoint.reference, str(folder))
    return rebuilt
