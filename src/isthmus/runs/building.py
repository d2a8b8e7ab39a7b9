"""The model of a run: built for its data, or again from what its folder says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Signal, Source
from isthmus.data import options as data_options
from isthmus.data import preparation as data_preparation
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.options import COUNTS
from isthmus.recipes.origin import reason
from isthmus.recipes.scaling import modes_of, rescale, resolved, scale_own, scaler_of
from isthmus.training import TrainingOptions
from isthmus.training.seeding import seeded

_GAUSSIAN = ("auto", "gaussian", "learned-gaussian")
"""Likelihoods of vectors whose standard deviation is ``sigma``, or begins there."""

UNKNOWN_ROWS = 256
"""Images whose values are looked at where their range is not known."""


def build(
    recipe: Recipe,
    source: Source,
    options: dict[str, Any],
    seed: int,
    own: Autoencoder | None = None,
) -> Autoencoder:
    """The untrained model, initialised from ``seed`` alone; ``own`` is one that is there.

    What ``scaling=auto`` becomes for these data is written into ``options``.
    """
    options["scaling"] = resolved_scaling(recipe, source, options)
    if own is not None:
        if own.signal.kind == "graph":  # the class of its rows is known from the data alone
            own.signal = source.signal
        if own.prepared:
            return own
        scale_own(own, options["scaling"], source.signal)
        return own
    with seeded(torch.device("cpu"), seed, 0):
        return recipe.build(source.signal, options)


def resolved_scaling(recipe: Recipe, source: Source, options: Mapping[str, Any]) -> Any:
    """What the option ``scaling`` is for these data (:func:`isthmus.recipes.scaling.resolved`).

    Rows are looked at only where they are arrays, which can be read at once.
    """
    rows, table = None, data_preparation.names_of(source)
    by_feature = table or (reads_features(recipe) and data_options.is_array(source))
    if options["scaling"] == "auto" and recipe.scaling in ("global", "norm") and by_feature:
        rows = data_options.spread_rows(source)
    counts = str(options.get("likelihood")) in COUNTS
    signal = source.signal
    if options["scaling"] == "auto" and signal.kind == "image" and signal.low is None:
        few = source.rows(torch.arange(0, len(source), -(-len(source) // UNKNOWN_ROWS)))
        signal = signal.bounded(*(float(v) for v in torch.aminmax(few)))
    return resolved(
        options["scaling"],
        signal,
        recipe.scaling,
        rows,
        counts=counts,
        table=table,
        fixed=_fixed_deviation(recipe, options),
    )


def _fixed_deviation(recipe: Recipe, options: Mapping[str, Any]) -> bool | dict[str, bool]:
    """Whether an error is weighed against a divergence by a deviation of about 1 not chosen.

    Where likelihoods are given by name, for each that is named. A page that names none has a
    Gaussian's, and one that may do without a divergence says so by ``variational``.
    """
    diverges = options.get("variational", recipe.family == "variational")
    if not diverges or options.get("sigma", 1.0) != 1.0:
        return False
    likelihood = options.get("likelihood", "gaussian")
    if isinstance(likelihood, Mapping):
        return {name: one in _GAUSSIAN for name, one in likelihood.items()}
    return likelihood in _GAUSSIAN


def reads_features(recipe: Recipe) -> bool:
    """Whether a recipe reads rows of features, in which direction is all that matters."""
    return recipe.scaling in ("global", "norm") and not reads_series(recipe)


def reads_series(recipe: Recipe) -> bool:
    """Whether a recipe reads rows of steps and nothing else."""
    return "series" in recipe.kinds and "vector" not in recipe.kinds


def fitting_batch(training: TrainingOptions, rows: int, *, explicit: bool) -> TrainingOptions:
    """The options with all rows as one batch, where they are fewer than a batch by default."""
    if explicit or rows >= training.batch_size:
        return training
    return training.model_copy(update={"batch_size": rows, "accumulate": 1})


def rebuilt(
    config: Mapping[str, Any],
    folder: Path,
    model: Autoencoder | None,
    modules: Mapping[str, nn.Module],
    recipe: RecipeLike | None = None,
) -> Autoencoder:
    """The untrained model that a checkpoint's configuration describes.

    ``model`` is that model already, ``recipe`` what builds it, where the configuration names
    nothing that can be imported.
    """
    passed = model is not None
    if model is None and recipe is None and config["recipe"] is None:
        raise IsthmusError(
            f"{folder} was not built by a recipe: pass the untrained autoencoder as model"
        )
    if model is None:
        method = _recorded(config, folder) if recipe is None else as_recipe(recipe)
        options = _with_modules(config["options"], folder, modules)
        model_options, _ = method.parse(options)
        with seeded(torch.device("cpu"), 0):
            model = method.build(Signal.from_dict(config["signal"]), model_options)
    if passed and model.signal.kind == "graph":
        model.signal = Signal.from_dict(config["signal"])
    if "scaling" in config:  # of what is no recipe of this library's
        rescale(model, config["scaling"])
    elif passed and config["recipe"] is not None:
        _scale_recorded(model, config)
    model.preparation = data_preparation.recorded(config)
    return model


def _recorded(config: Mapping[str, Any], folder: Path) -> Recipe:
    """The recipe that the configuration names, imported where it is no name of this library's."""
    name, origin = config["recipe"], config.get("origin") or {}
    remedy = "pass what builds it as recipe=..., or the untrained model as model=..."
    if origin and not origin["importable"]:
        raise IsthmusError(
            f"{folder} was fitted by the function {name}, which is local to where it was written "
            f"and cannot be imported: {remedy}"
        )
    try:
        return as_recipe(name)
    except IsthmusError as problem:
        if not origin:
            raise
        package = " ".join(origin["distribution"] or [])
        having = f"install {package}" if package else "install the package that has it"
        raise IsthmusError(
            f"{folder} was fitted by the recipe {name}, which cannot be imported "
            f"({reason(problem.__cause__ or problem)}): {having}, or {remedy}"
        ) from problem


def _with_modules(
    stored: Mapping[str, Any], folder: Path, modules: Mapping[str, nn.Module]
) -> dict[str, Any]:
    options = dict(stored)
    for name, value in options.items():
        if isinstance(value, dict) and "module" in value:
            if name not in modules:
                raise IsthmusError(
                    f"{folder} was fitted with a {name} of your own ({value['module']}): pass it "
                    f"again as {name}=..."
                )
            options[name] = modules[name]
    return options


def _scale_recorded(model: Autoencoder, config: Mapping[str, Any]) -> None:
    """Scale a model that was passed for a run of one of this library's recipes."""
    recipe = as_recipe(config["recipe"])
    scaling = config["options"].get("scaling", "auto")
    signal = Signal.from_dict(config["signal"])
    rescale(model, modes_of(scaler_of(signal, scaling, recipe.scaling)))
