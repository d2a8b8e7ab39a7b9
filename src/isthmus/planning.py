"""From what was asked for to a model and a plan: sizes, held-out rows, length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus import notices, runs
from isthmus.anatomy import Autoencoder, Source
from isthmus.recipes import Recipe
from isthmus.recipes.sizes import ramped, sized
from isthmus.training import TrainingOptions
from isthmus.training.plan import Plan, is_auto, planned, watching


@dataclass
class Planned:
    """An untrained model, the rows it trains on and is watched on, and all that was decided.

    ``plan`` is None for a model that is fitted in closed form.
    """

    model: Autoencoder
    options: dict[str, Any]
    training: TrainingOptions
    train: Source
    held: Source | None
    plan: Plan | None


def parsed(
    recipe: Recipe, asked: Mapping[str, Any], source: Source, *, batch: int | None = None
) -> tuple[dict[str, Any], TrainingOptions]:
    """Model and training options for these rows: sizes that nobody stated follow the data.

    ``batch`` is the batch that several runs share, where it was chosen for them.
    """
    return recipe.parse(sized(recipe, asked, source, batch=batch))


def share_of(
    recipe: Recipe,
    asked: Mapping[str, Any],
    options: dict[str, Any],
    training: TrainingOptions,
    source: Source,
    own: Autoencoder | None,
) -> float:
    """The share of the rows that a run of its own would hold out."""
    model = runs.build(recipe, source, options, training.seed, own)
    return watching(model, training, asked, len(source), False).validation


def prepared(
    recipe: Recipe,
    asked: Mapping[str, Any],
    options: dict[str, Any],
    training: TrainingOptions,
    source: Source,
    own: Autoencoder | None,
    validation_data: Any = None,
    *,
    share: float | None = None,
    parallel: int = 1,
) -> Planned:
    """Build the model, part the rows and fix the length, of a run of which ``asked`` was given.

    ``options`` and ``training`` are as :func:`parsed` returned them; ``share`` is the held-out
    share that several runs have in common, and ``parallel`` how many of them share the ``minutes``.
    """
    if own is not None:
        runs.check_fit(own, source)
    model = runs.build(recipe, source, options, training.seed, own)
    auto = is_auto(training, asked)
    if auto and "validation" not in asked and share is not None:
        training = training.model_copy(update={"validation": share})
    else:
        training = watching(model, training, asked, len(source), validation_data is not None)
    train, held = runs.parts(source, training, validation_data)
    wanted = training.batch_size
    training = runs.fitting_batch(training, len(train), explicit="batch_size" in asked)
    if training.batch_size != wanted and model.solver is None:
        notices.say(
            f"{recipe.name}: the {len(train):,} rows are fewer than a batch of {wanted:,}, and make "
            "one; give batch_size yourself"
        )
    runs.check_fit(model, train, held)
    if model.solver is not None:
        return Planned(model, options, training, train, held, None)
    training, plan = planned(
        model, train, training, asked, 0 if held is None else len(held), parallel=parallel
    )
    shrunk = ramped(recipe, options, asked, 1.0 if plan.length == "stated" else plan.shrunk)
    if shrunk != options:
        options = shrunk
        model = runs.build(recipe, source, options, training.seed, own)
    if auto:
        page = f"; the page's {plan.published:,}: length=published" if plan.published else ""
        notices.say(f"{recipe.name} trains {plan}{page}; steps=N for another length")
    elif plan.seconds_per_step is not None:
        notices.say(f"{recipe.name} trains {plan.steps:,} steps, {plan.bound}")
    return Planned(model, options, training, train, held, plan)
