"""The data of a run: opened, checked against what reads them, divided, found again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus import data, notices
from isthmus.anatomy import Asked, Autoencoder, Reading, Source, tree
from isthmus.anatomy.opening import register
from isthmus.anatomy.spread import reads_positions
from isthmus.data import options as data_options
from isthmus.data import preparation as data_preparation
from isthmus.data.files import as_chosen
from isthmus.data.given import Columns, given_source, has_columns
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe
from isthmus.runs.building import reads_features, reads_series
from isthmus.training import TrainingOptions

DataLike = Any
"""Anything ``isthmus.data.as_source`` takes: an array, a tensor, a name, a file, a folder, ..."""


def asked_of(options: dict[str, Any], recipe: Recipe | None = None) -> data_options.DataOptions:
    """What options say of the data, taken out of them, for a recipe whose own names win."""
    fields = {} if recipe is None else recipe.model_options.model_fields
    how = data_options.DataOptions.taken(options, fields)
    if recipe is None:
        return how
    if reads_series(recipe) and recipe.model is None:
        return replace(how, reading=how.reading.or_kind("series"))
    return how.of_features(_takes_positions(recipe))


def _takes_positions(recipe: Recipe) -> bool:
    """Whether a recipe, or the autoencoder that it stands for, takes every position as a row."""
    return reads_features(recipe) if recipe.model is None else reads_positions(recipe.model)


def within_norm(
    source: Source, found: data_options.DataOptions, recipe: Recipe
) -> tuple[Source, dict[str, Any] | None]:
    """The rows to fit to, and what was left out (:func:`isthmus.data.options.within_norm`)."""
    auto = found.reading.features and reads_features(recipe)
    return data_options.within_norm(source, found.max_norm, auto=auto)


def whole(every: Source, source: Source, preparation: Any) -> Source:
    """All rows of the data, prepared as those in ``source`` are that a model is fitted to."""
    if len(every) == len(source):
        return source
    return every if preparation is None else preparation.source(every)


def opened(
    X: DataLike,
    given: Mapping[str, Any] | None,
    mask: Any,
    config: Mapping[str, Any] | None = None,
    *,
    kind: Asked = None,
) -> tuple[Source, Columns]:
    """The data with what is given for each row.

    With the ``config`` of a run the columns that it was given are taken again where the data have
    them and nothing else is given, their words numbered as they were; of an archive that says no
    member those are taken that the run was fitted to.
    """
    about = (config or {}).get("data") or {}
    known = Columns.from_dict(about.get("given", {}))
    if about.get("reading"):
        kind = Reading.from_dict(about["reading"])
    if isinstance(X, (str, Path)) and not data.is_name(X):
        X = as_chosen(X, about.get("spec"))
    if data.is_name(X) and (given is not None or mask is not None):
        X = data.load(X).train
    recorded = {n: c for n, c in known.column.items() if given is None or n not in given}
    if recorded and has_columns(X, list(recorded.values())):
        given = {**recorded, **({} if given is None else given)}
    with notices.unless((config or {}).get("notes", ())):
        source, columns = given_source(X, given, mask, kind=kind, known=known)
    preparation = data_preparation.recorded(config)
    return source if preparation is None else preparation.source(source), columns


def kind_of(model: Autoencoder | None) -> Asked:
    """How a model reads data that do not say it themselves: token ids, images, positions."""
    if model is None:
        return None
    how = Reading.as_fitted(model.signal)
    return replace(how, features=True) if reads_positions(model) else how


@register
def opened_for(model: Autoencoder, name: Any) -> Source:
    """The rows of a name, a path or a sparse matrix, read as those that a model was fitted to."""
    return opened(name, None, None, model.config, kind=kind_of(model))[0]


def parts(
    source: Source,
    training: TrainingOptions,
    validation_data: DataLike | None,
    config: Mapping[str, Any] | None = None,
) -> tuple[Source, Source | None]:
    """The rows to train on, and those for validation where there are any.

    With the ``config`` of a run the user's own validation rows are prepared as it says.
    """
    if validation_data is not None:
        return source, _held(source, validation_data, config)
    if training.validation > 0:
        return data.split(source, training.validation, training.order_seed)
    if training.patience is not None:
        raise IsthmusError("patience needs something to watch: set validation=0.1")
    return source, None


def check_given(recipe: Recipe, source: Source) -> None:
    """An error where a recipe asks for something that the data do not give."""
    for name in recipe.given:
        if name not in source.given_names:
            raise IsthmusError(
                f"the recipe {recipe.name!r} asks for the {name} of each row: pass "
                f'given={{"{name}": ...}}, or {name}=COLUMN of the data'
            )


def check_fit(model: Autoencoder, *sources: Source | None) -> None:
    """An error for rows of another shape than the model reads."""
    for source in sources:
        if source is None:
            continue
        signal, theirs = model.signal, source.signal
        if signal.accepts(theirs):
            if signal.kind == "tokens" and (theirs.high or 0) > (signal.high or 0):
                raise IsthmusError(
                    f"the data have the token {theirs.high:g}, and the model reads 0 to "
                    f"{signal.high:g}: pass rows of the same vocabulary"
                )
            continue
        if signal.kind == theirs.kind == "collection":
            names = dict.fromkeys(theirs.parts, 0), dict.fromkeys(signal.parts, 0)
            tree.same_names(*names, "the data", "the model")
        if signal.kind != "collection" and theirs.kind == signal.kind:
            raise IsthmusError(
                f"the data are rows of shape {theirs.shape}, and the model reads {signal.shape}: "
                "pass rows that fit"
            )
        raise IsthmusError(
            f"the data are {theirs}, and the model reads {signal}: pass rows that fit"
        )


def _held(
    source: Source, validation_data: DataLike, config: Mapping[str, Any] | None = None
) -> Source:
    """The user's own validation rows; an error where they lack what is given for training."""
    # A table that has text has no signal before its preparation is learnt.
    how = None if data_preparation.has_tables(source) else Reading.as_fitted(source.signal)
    held = data.as_source(validation_data, how)
    preparation = data_preparation.recorded(config)
    held = held if preparation is None else preparation.source(held)
    for name in source.given_names:
        if name not in held.given_names:
            raise IsthmusError(
                f"the training rows are given {name!r} and the validation rows are not: pass "
                "validation_data as isthmus.data.given_source(X, given={...})[0]"
            )
    return held
