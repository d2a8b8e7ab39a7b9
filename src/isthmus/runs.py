"""How a run's pieces come together: data, options, model, folder, and what is noted of them."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus import data, notices
from isthmus.activations.spec import relocated
from isthmus.anatomy import Asked, Autoencoder, Reading, Signal, Source, tree
from isthmus.anatomy.opening import register
from isthmus.anatomy.spread import reads_positions
from isthmus.data import asked, preparing
from isthmus.data.giving import Columns, given_source, has_columns
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.options import COUNTS
from isthmus.recipes.origin import distribution, reason
from isthmus.recipes.registry import module_options
from isthmus.recipes.scaling import modes_of, rescale, resolved, scale_own, scaler_of
from isthmus.training import TrainingOptions
from isthmus.training.checkpoint import CONFIG, METRICS
from isthmus.training.journal import located
from isthmus.training.lock import claim
from isthmus.training.plan import Plan
from isthmus.training.reference import stored
from isthmus.training.seeds import seeded

FINGERPRINT_ROWS = 4096
UNKNOWN_ROWS = 256
"""Images whose values are looked at where their range is not known."""
Data = Any
"""Anything ``isthmus.data.as_source`` takes: an array, a tensor, a name, a file, a folder, ..."""


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
    rows, table = None, preparing.names_of(source)
    read = table or (reads_features(recipe) and asked.is_array(source))
    if options["scaling"] == "auto" and recipe.scaling in ("global", "norm") and read:
        rows = asked.spread_rows(source)
    counts = str(options.get("likelihood")) in COUNTS
    signal = source.signal
    if options["scaling"] == "auto" and signal.kind == "image" and signal.low is None:
        few = source.rows(torch.arange(0, len(source), -(-len(source) // UNKNOWN_ROWS)))
        signal = signal.bounded(*(float(v) for v in torch.aminmax(few)))
    return resolved(options["scaling"], signal, recipe.scaling, rows, counts=counts, table=table)


def reads_features(recipe: Recipe) -> bool:
    """Whether a recipe reads rows of features, in which direction is all that matters."""
    return recipe.scaling in ("global", "norm")


def asked_of(options: dict[str, Any], recipe: Recipe | None = None) -> asked.Asked:
    """What options say of the data, taken out of them, for a recipe whose own names win."""
    own = {} if recipe is None else recipe.model_options.model_fields
    found = asked.Asked.taken(options, own)
    return found if recipe is None else found.of_features(_takes_positions(recipe))


def _takes_positions(recipe: Recipe) -> bool:
    """Whether a recipe, or the autoencoder that it stands for, takes every position as a row."""
    return reads_features(recipe) if recipe.model is None else reads_positions(recipe.model)


def within_norm(
    source: Source, found: asked.Asked, recipe: Recipe
) -> tuple[Source, dict[str, Any] | None]:
    """The rows to fit to, and what was left out (:func:`isthmus.data.asked.within_norm`)."""
    auto = found.reading.features and reads_features(recipe)
    return asked.within_norm(source, found.max_norm, auto=auto)


def whole(every: Source, source: Source, preparation: Any) -> Source:
    """All rows of the data, prepared as those in ``source`` are that a model is fitted to."""
    if len(every) == len(source):
        return source
    return every if preparation is None else preparation.source(every)


def opened(
    X: Data,
    given: Mapping[str, Any] | None,
    mask: Any,
    config: Mapping[str, Any] | None = None,
    *,
    kind: Asked = None,
) -> tuple[Source, Columns]:
    """The data with what is given for each row.

    With the ``config`` of a run the columns that it was given are taken again where the data have
    them and nothing else is given, their words numbered as they were.
    """
    about = (config or {}).get("data") or {}
    known = Columns.from_dict(about.get("given", {}))
    if about.get("reading"):
        kind = Reading.from_dict(about["reading"])
    if data.is_name(X) and (given is not None or mask is not None):
        X = data.load(X).train
    recorded = {n: c for n, c in known.column.items() if given is None or n not in given}
    if recorded and has_columns(X, list(recorded.values())):
        given = {**recorded, **({} if given is None else given)}
    with notices.unless((config or {}).get("notes", ())):
        source, columns = given_source(X, given, mask, kind=kind, known=known)
    preparation = preparing.recorded(config)
    return source if preparation is None else preparation.source(source), columns


def kind_of(model: Autoencoder | None) -> Asked:
    """How a model reads data that do not say it themselves: token ids, images, positions."""
    if model is None:
        return None
    how = Reading.as_fitted(model.signal)
    return replace(how, features=True) if reads_positions(model) else how


@register
def opened_for(model: Autoencoder, name: str | Path) -> Source:
    """The rows of a name or path, read as those that a model was fitted to."""
    return opened(name, None, None, model.config, kind=kind_of(model))[0]


def parts(
    source: Source,
    training: TrainingOptions,
    validation_data: Data | None,
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


def _held(source: Source, validation_data: Data, config: Mapping[str, Any] | None = None) -> Source:
    """The user's own validation rows; an error where they lack what is given for training."""
    # A table that has text has no signal before its preparation is learnt.
    how = None if preparing.has_tables(source) else Reading.as_fitted(source.signal)
    held = data.as_source(validation_data, how)
    preparation = preparing.recorded(config)
    held = held if preparation is None else preparation.source(held)
    for name in source.given_names:
        if name not in held.given_names:
            raise IsthmusError(
                f"the training rows are given {name!r} and the validation rows are not: pass "
                "validation_data as isthmus.data.given_source(X, given={...})[0]"
            )
    return held


def fitting_batch(training: TrainingOptions, rows: int, *, explicit: bool) -> TrainingOptions:
    """The options with all rows as one batch, where they are fewer than a batch by default."""
    if explicit or rows >= training.batch_size:
        return training
    return training.model_copy(update={"batch_size": rows, "accumulate": 1})


def fresh_folder(folder: Path, overwrite: bool) -> Path:
    """The folder of a new run, held for this process to the end of the session.

    An error where it cannot be, holds a run to be kept, or another process writes a run there.
    """
    if folder.exists() and not folder.is_dir():
        raise IsthmusError(f"{folder} is a file: choose a folder for the run")
    claim(folder)  # before the look: another run may begin here at this moment
    taken = located(folder, CONFIG).exists() or (folder / METRICS).exists()
    if taken and not overwrite:
        raise IsthmusError(
            f"{folder} already holds a run: choose another folder, pass overwrite, or go on with "
            f"isthmus resume {folder}"
        )
    return folder


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
        chosen = _recorded(config, folder) if recipe is None else as_recipe(recipe)
        options = _with_modules(config["options"], folder, modules)
        model_options, _ = chosen.parse(options)
        with seeded(torch.device("cpu"), 0):
            model = chosen.build(Signal.from_dict(config["signal"]), model_options)
    if passed and model.signal.kind == "graph":
        model.signal = Signal.from_dict(config["signal"])
    if "scaling" in config:  # of what is no recipe of this library's
        rescale(model, config["scaling"])
    elif passed and config["recipe"] is not None:
        _scale_recorded(model, config)
    model.preparation = preparing.recorded(config)
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
    chosen = as_recipe(config["recipe"])
    asked = config["options"].get("scaling", "auto")
    signal = Signal.from_dict(config["signal"])
    rescale(model, modes_of(scaler_of(signal, asked, chosen.scaling)))


def title_of(config: Mapping[str, Any]) -> str:
    """What to call a run: its recipe's name."""
    origin = config.get("origin") or {}
    return str(origin.get("name") or config.get("recipe") or "an autoencoder of your own")


def storable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for ``config.json``; a module of the user's own is stored as its class name."""
    own = module_options(options)
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if name in own or callable(value):
            kind = type(value) if name in own else value
            plain[name] = {"module": f"{kind.__module__}.{getattr(kind, '__qualname__', kind)}"}
        else:
            plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


def described(
    X: Data,
    source: Source,
    columns: Columns | None = None,
    reading: Reading | None = None,
    left_out: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Where the data came from, and a fingerprint of up to 4096 rows spread over them.

    ``reading`` is what was said of how to read them, so that they are read in the same way again.
    A source that knows its own fingerprint is asked for that instead of for rows.
    """
    spec = source.spec
    if spec is None and isinstance(X, (str, Path)):
        spec = os.path.abspath(X) if Path(X).exists() and not data.is_name(X) else str(X)
    signal = _in_order(source.signal.to_dict())
    digest = hashlib.sha256(json.dumps([len(source), signal]).encode())
    own = source.fingerprint()
    if own is None:
        spread = torch.arange(0, len(source), max(1, len(source) // FINGERPRINT_ROWS))
        for name, tensor in sorted(stored(source.batch(spread)).items()):
            if name != "input":  # of runs made before, which had one array, the name is no part
                digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
    else:
        digest.update(own.encode())
    about: dict[str, Any] = {"spec": spec, "rows": len(source), "fingerprint": digest.hexdigest()}
    how = {} if reading is None else reading.to_dict()
    if not any(part.axis for part in (source.signal, *source.signal.parts.values())):
        how.pop("features", None)
    if how:
        about["reading"] = how
    if left_out:
        about["max_norm"] = dict(left_out)
    return {**about, "given": columns.to_dict()} if columns and columns.column else about


def _in_order(signal: dict[str, Any]) -> dict[str, Any]:
    """A signal as a dictionary, its parts by their names: their order says nothing of the data.

    Nor does the layout of raw rows, which came to be noted later.
    """
    signal = {name: value for name, value in signal.items() if name not in ("flat", "axis")}
    if "parts" not in signal:
        return signal
    parts = {name: _in_order(part) for name, part in sorted(signal["parts"].items())}
    return {**signal, "parts": parts}


def config_of(
    recipe: Recipe,
    model: Autoencoder,
    options: Mapping[str, Any],
    training: TrainingOptions,
    about: Mapping[str, Any],
    *,
    own_validation: bool,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """What ``config.json`` says of a run on the data ``about``, as :func:`described` them.

    A recipe that is not of this library is named as ``package.module:function``; ``origin`` has
    its short name, its distribution and whether it can be imported, and ``scaling`` what was done
    to the data. The recipe of an autoencoder that was passed is None. ``threads`` is how many
    worked on it, with which a resumed run goes on, since others round otherwise. ``notes`` is what
    was said on the user's behalf, and grows by what is yet to be said in the same call.
    """
    return {
        "recipe": recipe.name if recipe.builtin else recipe.source or None,
        **_foreign(recipe, model),
        "options": storable(options),
        "training": training.model_dump(mode="json"),
        "signal": model.signal.to_dict(),
        "data": dict(about),
        "own_validation": own_validation,
        "threads": torch.get_num_threads(),
        **({} if plan is None else {"plan": plan.to_dict()}),
        "notes": notices.heard(),
    }


def _foreign(recipe: Recipe, model: Autoencoder) -> dict[str, Any]:
    if recipe.builtin:
        return {}
    if not recipe.source:
        return {"scaling": modes_of(model.scaler)}
    package = distribution(recipe.source.partition(":")[0])
    return {
        "origin": {
            "name": recipe.name,
            "distribution": None if package is None else list(package),
            "importable": recipe.importable,
        },
        "scaling": modes_of(model.scaler),
    }


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
        own, theirs = model.signal, source.signal
        if own.accepts(theirs):
            if own.kind == "tokens" and (theirs.high or 0) > (own.high or 0):
                raise IsthmusError(
                    f"the data have the token {theirs.high:g}, and the model reads 0 to "
                    f"{own.high:g}: pass rows of the same vocabulary"
                )
            continue
        if own.kind == theirs.kind == "collection":
            names = dict.fromkeys(theirs.parts, 0), dict.fromkeys(own.parts, 0)
            tree.same_names(*names, "the data", "the model")
        if own.kind != "collection" and theirs.kind == own.kind:
            raise IsthmusError(
                f"the data are rows of shape {theirs.shape}, and the model reads {own.shape}: pass "
                "rows that fit"
            )
        raise IsthmusError(f"the data are {theirs}, and the model reads {own}: pass rows that fit")


def reopened(
    config: Mapping[str, Any],
    folder: Path,
    X: Data | None,
    validation_data: Data | None,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
) -> Source:
    """The data that the run in ``folder`` began with; an error for others."""
    if X is None:
        X = (config["data"] or {}).get("spec")
        if X is None:
            raise IsthmusError(f"the data of {folder} were not a file: pass them again as X")
        X = relocated(X, folder)
    source, _ = opened(X, given, mask, config)
    if described(X, source)["fingerprint"] != config["data"]["fingerprint"]:
        raise IsthmusError(f"these are not the data that {folder} was fitted to: pass the same")
    if config.get("own_validation") and validation_data is None:
        raise IsthmusError(f"{folder} used its own validation data: pass them as validation_data")
    return asked.again(source, config["data"].get("max_norm"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise IsthmusError(f"cannot write {path}: {problem.strerror or problem}") from None
