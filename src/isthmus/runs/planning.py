"""From what was asked for to a model and a plan: sizes, held-out rows, length."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus import notices
from isthmus.anatomy import Autoencoder, Source
from isthmus.data import preparation as data_preparation
from isthmus.data.preparation import DataPreparation
from isthmus.recipes import Recipe
from isthmus.recipes.sizes import ramped, sized
from isthmus.runs.building import build, fitting_batch
from isthmus.runs.data import check_fit, parts
from isthmus.tables import PrepareOptions
from isthmus.training import TrainingOptions
from isthmus.training.device import resolve_device
from isthmus.training.plan import Plan, is_auto, planned, silent, watching

Options = tuple[dict[str, Any], TrainingOptions]
"""Those of the model and of its training."""


@dataclass
class Rows:
    """The data, the rows to train on and those held out, as they were prepared."""

    source: Source
    train: Source
    held: Source | None
    preparation: DataPreparation | None


@dataclass
class Planned:
    """An untrained model and all that was decided.

    ``plan`` is None for a model that is fitted in closed form.
    """

    model: Autoencoder
    options: dict[str, Any]
    training: TrainingOptions
    plan: Plan | None
    rows: Rows


def sized_options(
    recipe: Recipe, asked: Mapping[str, Any], source: Source, *, batch: int | None = None
) -> Options:
    """Model and training options for these rows: sizes that nobody stated follow the data.

    ``batch`` is the batch that several runs share, where it was chosen for them.
    """
    return recipe.parse(sized(recipe, asked, source, batch=batch))


def fit_planned(
    recipe: Recipe,
    asked: Mapping[str, Any],
    source: Source,
    own: Autoencoder | None = None,
    validation_data: Any = None,
    table: PrepareOptions | None = None,
    begun: Options | None = None,
) -> Planned:
    """Part and prepare the rows, build the model and fix the length of a run.

    ``asked`` are the flat options that were given, ``own`` an autoencoder that is there, ``table``
    what is asked of the preparation, and ``begun`` the options of a model that goes on.
    """
    names = set(asked) if begun is None else {*asked, "steps"}
    training = recipe.parse(asked)[1] if begun is None else begun[1]
    resolve_device(training.device)  # before anything is said of what will be done on it
    training = watching(training, names, len(source), validation_data is not None)
    by_default = training.validation > 0 and "validation" not in names and begun is None
    with notices.tried() as sentences:
        plan = _planned(recipe, asked, names, source, own, validation_data, table, begun, training)
    if not (by_default and silent(plan.model)):
        for sentence in sentences:
            notices.say(sentence)
    else:
        # Nothing is learnt from rows that are held out of a run that they cannot end.
        training = training.model_copy(update={"validation": 0.0})
        plan = _planned(recipe, asked, names, source, own, validation_data, table, begun, training)
    return with_length(recipe, names, plan, own)


def _planned(
    recipe: Recipe,
    user_options: Mapping[str, Any],
    names: Collection[str],
    source: Source,
    own_model: Autoencoder | None,
    validation_data: Any,
    table: PrepareOptions | None,
    base_options: Options | None,
    training: TrainingOptions,
) -> Planned:
    train, held = parts(source, training, validation_data)
    rows = Rows(
        *data_preparation.prepared(source, train, held, table or PrepareOptions(), own_model)
    )
    with notices.tried() as sentences:
        options = (
            sized_options(recipe, user_options, rows.source)
            if base_options is None
            else base_options
        )
    plan = built(recipe, names, options, training.validation, rows, own_model)
    for sentence in (
        sentences if plan.model.solver is None else ()
    ):  # which has no batches and no rate
        notices.say(sentence)
    return plan


def built(
    recipe: Recipe,
    given: Collection[str],
    options: Options,
    share: float,
    rows: Rows,
    own: Autoencoder | None = None,
) -> Planned:
    """The model for rows of which ``share`` is held out, without a plan as yet."""
    model_options, training = options
    training = training.model_copy(update={"validation": share})
    batch_size = training.batch_size
    training = fitting_batch(training, len(rows.train), explicit="batch_size" in given)
    if own is not None:
        check_fit(own, rows.train, rows.held)
    model = build(recipe, rows.source, model_options, training.seed, own)
    check_fit(model, rows.train, rows.held)
    if training.batch_size != batch_size and model.solver is None:
        notices.say(
            f"{recipe.name}: the {len(rows.train):,} rows are fewer than a batch of "
            f"{batch_size:,}, and make one; give batch_size yourself"
        )
    return Planned(model, model_options, training, None, rows)


def with_length(
    recipe: Recipe,
    given: Collection[str],
    found: Planned,
    own: Autoencoder | None = None,
    parallel: int = 1,
) -> Planned:
    """The same with its plan, and with ramps that shrink to it; said in one line.

    ``parallel`` is how many runs share the ``minutes``.
    """
    rows, training, options = found.rows, found.training, found.options
    if found.model.solver is not None:
        return found
    auto = is_auto(training, given)
    held_rows = 0 if rows.held is None else len(rows.held)
    training, plan = planned(found.model, rows.train, training, given, held_rows, parallel=parallel)
    model = found.model
    shrunk = ramped(recipe, options, given, 1.0 if plan.length == "stated" else plan.shrunk)
    if shrunk != options:
        options = shrunk
        model = build(recipe, rows.source, options, training.seed, own)
    if auto:
        longer = plan.published is not None and plan.published > plan.steps
        page = f"; the page's {plan.published:,}: length=published" if longer else ""
        notices.say(f"{recipe.name} trains {plan}{page}; steps=N for another length")
    elif plan.seconds_per_step is not None:
        notices.say(f"{recipe.name} trains {plan.steps:,} steps, {plan.bound}")
    return Planned(model, options, training, plan, rows)
