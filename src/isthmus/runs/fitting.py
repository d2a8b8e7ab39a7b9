"""What users call: fit, load, save, resume, evaluate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from isthmus.anatomy import Autoencoder, Source
from isthmus.data import preparation as data_preparation
from isthmus.errors import IsthmusError
from isthmus.recipes import RecipeLike, as_recipe
from isthmus.runs import planning
from isthmus.runs import warm_start as starting
from isthmus.runs.data import DataLike, asked_of, check_given, opened, whole, within_norm
from isthmus.runs.launching import Ranks, by_ranks
from isthmus.runs.loading import load
from isthmus.runs.record import config_of, described
from isthmus.runs.stored_runs import in_storage
from isthmus.runs.team import check_alone, folder_for, run_of
from isthmus.training import (
    Batches,
    Callback,
    Checkpoint,
    TrainingOptions,
    write_checkpoint,
)
from isthmus.training.device import resolve_device
from isthmus.training.diagnostics import check_plan
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, reference_triples
from isthmus.training.run import PREPARE_ROWS
from isthmus.training.scores import keep_training_scores
from isthmus.training.seeding import seeded
from isthmus.training.session import session


@in_storage("out", new=True)
@by_ranks
@session
def fit(
    recipe: RecipeLike,
    X: DataLike,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    out: str | Path | None = None,
    validation_data: DataLike | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    overwrite: bool = False,
    prepare: Mapping[str, Any] | None = None,
    start: str | Path | Autoencoder | None = None,
    ranks: Ranks = None,
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
    (:mod:`isthmus.runs.warm_start`). :func:`resume` goes on with a run itself.
    How the data are read is found from their shape, and said where that is not certain
    (:mod:`isthmus.anatomy.axes`); ``kind="image"``, ``axis=1`` (that of features or channels),
    ``size=32`` and ``mode="rgb"`` (of pictures) settle it, and the run reads other data in the same
    way. Rows of huge norm are left out where a dictionary is fitted, unless ``max_norm=None``
    (:func:`isthmus.data.options.within_norm`).

    ``options`` are the recipe's and the trainer's in one flat space: ``latent_dim``, ``k``,
    ``steps``, ``epochs``, ``batch_size``, ``lr``, ``seed``, ``device``, ``precision``, ... An
    ``Autoencoder`` has those of the trainer and ``scaling``. Sizes that are not given follow the
    data (:mod:`isthmus.recipes.sizes`), and without ``steps`` or ``epochs`` the run ends when
    nothing is gained any more on held-out rows (:mod:`isthmus.training.plan`);
    ``length="published"`` is the recipe's page instead, ``minutes`` a budget of time. What was
    chosen is said, and recorded in the run. With ``out`` the run is saved there as it goes and can
    be resumed.

    ``ranks`` is how many processes hold a sparse dictionary together, each its latents, or
    ``"auto"``: those that ``torchrun`` started (``docs/many-ranks.md``).

    Whatever is read, scaled, filled, dropped or chosen on your behalf is said in one line each, and
    listed in ``model.config["notes"]`` and in the run.

    Raises :class:`IsthmusError` for anything about the data or options that cannot work.
    """
    own_model = recipe if isinstance(recipe, Autoencoder) else None
    method = as_recipe(recipe)
    options = method.spelt(options)
    prepare_options = data_preparation.asked(prepare, options)
    # A label may be named like an option: label=kind.
    own_given = {name: options.pop(name) for name in method.given if name in options}
    how = asked_of(options, method)
    start = starting.meant(start, method, options)
    base_options: Any = None  # the options of a model that goes on
    if start is not None:
        method, own_model, *base_options = starting.started(recipe, start, options, load)
    elif (base := starting.fitted(recipe)) is not None:
        method, *base_options = starting.continued(base, options)
    else:
        method.parse(options)  # a mistake is said before any data are read
    if own_given:
        given = {**own_given, **(given or {})}
    source, columns = opened(X, given, mask, kind=how.reading)
    check_given(method, source)
    folder = folder_for(out, overwrite)
    if len(source) < 2:
        raise IsthmusError("the data have 1 row: nothing can be learnt from fewer than 2")
    every = source
    source, left_out = within_norm(source, how, method)
    ready = planning.fit_planned(
        method, options, source, own_model, validation_data, prepare_options, base_options
    )
    model, training = ready.model, ready.training
    every = whole(every, ready.rows.source, ready.rows.preparation)
    read_from = starting.origin(model)
    model.config = config_of(
        method,
        model,
        ready.options,
        training,
        described(X, every, columns, how.reading, left_out),
        own_validation=validation_data is not None,
        plan=ready.plan,
    )
    model.config.update(read_from)
    data_preparation.attached(model, ready.rows.preparation)
    if start is not None:
        model.config["start"] = "a fitted model" if isinstance(start, Autoencoder) else str(start)
    check_alone(model)
    if model.solver is not None:
        return _solve(model, ready.rows.train, training, folder, method.name, progress)
    trainer = run_of(
        model,
        ready.rows.train,
        training,
        validation=ready.rows.held,
        folder=folder,
        config=model.config,
        callbacks=callbacks,
        progress=progress,
        title=method.name,
    )
    if not {*starting.LENGTHS} & {*options}:
        check_plan(trainer)
    return trainer.run()


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
    seeding = seeded(device, training.seed, 3)
    with seeding, ProgressBar(title, 1, "rows", progress) as bar:
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
        state = {"step": 1, "total": 1, "finished": True}
        triples = reference_triples(model, sample)
        log = json.dumps(model.history[0]) + "\n"
        checkpoint = Checkpoint(model.config, weights, triples, progress=state)
        write_checkpoint(folder, checkpoint, log=log)
    return model
