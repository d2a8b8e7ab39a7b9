"""Going on with a fitted model: its weights, scaling and options, on new data or with new options.

Kept are the weights and buffers (so the scaling, thresholds and counters of the parts, too) and,
unless they are given anew, the options of the model and of its training. What a run has of its own
begins afresh: the optimiser's state, the learning rate's schedule and warm-up, schedules of the
objective, the order of the rows, early stopping, averages of the weights, the log. A model of
several stages passes through all of them again.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.registry import validated
from isthmus.recipes.scaling import rescale
from isthmus.runs.record import storable
from isthmus.training import TrainingOptions
from isthmus.training.checkpoint import CONFIG

LENGTHS = ("steps", "epochs", "length", "minutes")
"""Options that say how long a run is: one of them replaces the others."""
Load = Callable[..., Autoencoder]


def fitted(recipe: RecipeLike) -> Autoencoder | None:
    """The model, where an autoencoder was passed that has been fitted or loaded."""
    if not isinstance(recipe, Autoencoder) or recipe.solver is not None:
        return None
    check_trainable(recipe, "the autoencoder")
    return recipe if recipe.prepared else None


def check_trainable(model: Autoencoder, where: str) -> None:
    """An error for weights in whole numbers."""
    if "quantised" in model.config:
        raise IsthmusError(
            f"{where} is quantised, for inference alone: go on with the model that it was made of"
        )


def meant(start: Any, recipe: Recipe, options: dict[str, Any]) -> Any:
    """What to go on with; of a recipe that has an option ``start`` all that names no run is that.

    It is put among ``options`` then, and None comes back.
    """
    if start == "":
        raise IsthmusError(
            "start is empty: name the run's folder to go on with, or leave start= out"
        )
    if start is None or "start" not in recipe.model_options.model_fields:
        return start
    if isinstance(start, (Autoencoder, Path)):
        return start
    if isinstance(start, str) and (Path(start) / CONFIG).exists():
        return start
    options["start"] = start
    return None


def started(
    recipe: RecipeLike, start: str | Path | Autoencoder, options: Mapping[str, Any], load: Load
) -> tuple[Recipe, Autoencoder, dict[str, Any], TrainingOptions]:
    """The model to go on with, a copy of what ``start`` holds, and both kinds of options.

    ``start`` is a run's folder or a fitted model, and ``recipe`` the one that built it.
    """
    if isinstance(recipe, Autoencoder):
        raise IsthmusError(
            "an autoencoder and start= are two models: pass the fitted autoencoder alone, or the "
            "recipe's name with start="
        )
    method = as_recipe(recipe)
    if isinstance(start, Autoencoder):
        model, where = start, "the model passed as start"
        if not start.prepared:
            raise IsthmusError(f"{where} was never fitted: pass it alone, in the recipe's place")
    elif not isinstance(start, (str, Path)):
        raise IsthmusError(f"start={start!r} is none: pass the folder of a run or a fitted model")
    else:
        modules = {n: v for n, v in options.items() if isinstance(v, nn.Module)}
        extra = {} if method.builtin else {"recipe": method}
        model, where = load(start, **extra, **modules), str(start)
    check_trainable(model, where)
    if model.solver is not None:
        raise IsthmusError(
            f"{where} was fitted in closed form, from all rows at once: there is nothing to go on "
            "with, so leave start out"
        )
    name = model.config.get("recipe")
    if name not in (method.name if method.builtin else method.source, method.name):
        raise IsthmusError(
            f"{where} holds {name or 'an autoencoder of your own parts'}, and {method.name} was "
            f"asked for: write {name or 'the fitted model'} in its place"
        )
    model_options, training = _split(method, model, options)
    recorded = _recorded(method, model, options)
    changed = _changed(method, recorded, model_options)
    if not changed:
        model = copy.deepcopy(model) if isinstance(start, Autoencoder) else model
        return method, model, dict(model.config["options"]), training
    parsed, _ = method.parse({**recorded, **changed})
    successor = method.build(model.signal, parsed)
    if "scaling" in model.config and "scaling" not in changed:
        rescale(successor, model.config["scaling"])
    try:
        successor.load_state_dict(model.state_dict())
    except RuntimeError:
        names = " and ".join(f"{n}={v}" for n, v in changed.items())
        raise IsthmusError(
            f"the weights of {where} do not fit a model with {names}: leave that out, or fit "
            "afresh without start"
        ) from None
    successor.prepared, successor.preparation = set(model.prepared), model.preparation
    successor.config.update(origin(model))
    return method, successor, parsed, training


def origin(model: Autoencoder | None) -> dict[str, Any]:
    """What a model's settings say of the file that it was read from, which training keeps."""
    return {} if model is None else {n: v for n, v in model.config.items() if n == "published"}


def continued(
    model: Autoencoder, options: Mapping[str, Any]
) -> tuple[Recipe, dict[str, Any], TrainingOptions]:
    """Of a fitted model that is trained on in place: its recipe, and both kinds of options."""
    name = model.config.get("recipe")
    recipe = as_recipe(model) if name is None else _recipe_of(model)
    model_options, training = _split(recipe, model, recipe.spelt(options))
    recorded = model.config.get("options", {}) if name is not None else {"scaling": "auto"}
    changed = _changed(recipe, _recorded(recipe, model, options), model_options)
    if changed:
        names = " and ".join(changed)
        way = f'; isthmus.fit("{name}", X, start=model, ...) trains a copy' if name else ""
        raise IsthmusError(
            f"{names} cannot be changed in a model that is fitted already: leave it out{way}"
        )
    return recipe, dict(recorded), training


def _recipe_of(model: Autoencoder) -> Recipe:
    """The model's own recipe; where that cannot be imported here, the model stands for itself."""
    try:
        return as_recipe(model.config["recipe"])
    except IsthmusError:
        return as_recipe(model)


def _split(
    recipe: Recipe, model: Autoencoder, options: Mapping[str, Any]
) -> tuple[dict[str, Any], TrainingOptions]:
    """The model's options as given, and those of training: the run's own, but for what is given."""
    training_names = TrainingOptions.model_fields
    model_options = {n: v for n, v in options.items() if n not in training_names}
    training = {n: v for n, v in options.items() if n in training_names}
    before = dict(model.config.get("training") or {})
    # Whatever is wrong with an option is said as it is for any fit.
    usual = recipe.parse(options)[1]
    if not before:
        return model_options, usual
    if any(name in training for name in LENGTHS):
        for name in LENGTHS:
            before.pop(name, None)
        length = {n: getattr(usual, n) for n in LENGTHS if n in training_names}
        before.update({n: v for n, v in length.items() if n in training})
        if "epochs" not in training and "epochs" in length:
            before["epochs"] = None
    base = {n: v for n, v in before.items() if n in training_names}
    return model_options, validated(TrainingOptions, {**base, **training})


def _recorded(recipe: Recipe, model: Autoencoder, options: Mapping[str, Any]) -> dict[str, Any]:
    """The model's options as recorded, modules of the user's own as they are in the model."""
    values: dict[str, Any] = {}
    for name, value in (model.config.get("options") or {}).items():
        if name not in recipe.model_options.model_fields:
            continue
        if isinstance(value, dict) and "module" in value:
            module = options.get(name, getattr(model, name, None))
            if module is None:
                continue
            value = module
        values[name] = value
    return values


def _changed(
    recipe: Recipe, recorded: Mapping[str, Any], model_options: Mapping[str, Any]
) -> dict[str, Any]:
    """Those of the options given that differ from the recorded ones."""
    if not model_options:
        return {}
    before = storable(recipe.parse(recorded)[0])
    after = storable(recipe.parse({**recorded, **model_options})[0])
    return {n: v for n, v in model_options.items() if after[n] != before[n]}
