"""Several models from one pass over the data: fit_many, resume_many."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from isthmus import notices
from isthmus.anatomy import Autoencoder, Source
from isthmus.data import preparation as data_preparation
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe, RecipeLike, as_recipe
from isthmus.recipes.registry import validated
from isthmus.runs import planning
from isthmus.runs.building import reads_features, rebuilt
from isthmus.runs.data import DataLike, asked_of, check_given, opened, parts, whole, within_norm
from isthmus.runs.folder import fresh_folder
from isthmus.runs.loading import load
from isthmus.runs.record import config_of, described
from isthmus.runs.resuming import reopened
from isthmus.storage import on_this_machine
from isthmus.training import Callback, Together, Trainer, TrainingOptions
from isthmus.training.checkpoint import read_checkpoint, read_config
from isthmus.training.lock import claim
from isthmus.training.many import VariantsFailed, read_manifest
from isthmus.training.plan import watching
from isthmus.training.progress import Show
from isthmus.training.session import session

Variant = RecipeLike | tuple[RecipeLike, Mapping[str, Any]] | Mapping[str, Any]
"""A recipe (its name, a function, an ``Autoencoder``, ...), a recipe with options, or options of
which one is ``recipe``."""


@dataclass
class _Planned:
    """One variant: what was asked for, and both kinds of options, validated."""

    recipe: Recipe
    asked: dict[str, Any]
    options: dict[str, Any]
    training: TrainingOptions
    own: Autoencoder | None


@session
def fit_many(
    variants: Sequence[Variant] | Mapping[str, Variant],
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
    **shared: Any,
) -> dict[str, Autoencoder]:
    """Fit several recipes, widths, sparsities, seeds, ... while the data are read once.

    Every batch is read once and given to all models that still train. The rest is each one's own:
    steps, optimiser, schedule, early stopping, log and checkpoints, so that each ends with the
    same bits as :func:`isthmus.fit` with its options and the same ``data_seed``. The models come
    back by name, in the order of ``variants``.

    ``variants`` is a list, or a mapping from names of your choice, of recipes, pairs
    ``("topk", {"k": 32})`` or options with the recipe among them, ``{"recipe": "topk", "k": 32}``.
    A recipe is whatever :func:`isthmus.fit` takes; an ``Autoencoder`` is trained in place, and so
    stands in one variant.
    In a list a variant's name says in what it differs from the others of its recipe:
    ``topk-k32-seed1``. ``shared`` are options (also ``recipe``) of all variants that do not say
    otherwise. ``batch_size``, ``validation`` and ``data_seed`` must be the same for all;
    ``data_seed`` is by default the shared ``seed``, or 0, and a variant's own ``seed`` is that of
    its initialisation and its own draws.

    ``given``, ``mask`` and ``prepare``, and how the data are read (``kind``, ``axis``, ``size``,
    ``mode``, ``max_norm``), are as in :func:`isthmus.fit`, the same for all.

    With ``out`` each variant has its run in the folder ``out/<name>``, as :func:`isthmus.fit`
    writes it, and :func:`resume_many` goes on with all; without ``save_every`` each is saved every
    so many minutes as there are variants. ``callbacks`` hear of every variant: ``trainer.title``
    is its name.

    A variant that fails, by a loss that is not finite say, leaves and the others go on; at the end
    :class:`~isthmus.training.VariantsFailed` names it, with the other models in its ``models``.
    Raises :class:`IsthmusError` for anything that cannot work, before anything is trained. Recipes
    in closed form read the data in passes of their own and are refused.
    """
    prepare_options = data_preparation.asked(prepare, shared)
    how = asked_of(shared)
    planned = _planned(variants, shared)
    recipes = [one.recipe for one in planned.values()]
    how = how.of_features(all(reads_features(recipe) for recipe in recipes))
    folder = None if out is None else _parent(on_this_machine(out), list(planned), overwrite)
    source, columns = opened(X, given, mask, kind=how.reading)
    for one in planned.values():
        check_given(one.recipe, source)
    if len(source) < 2:
        raise IsthmusError("the data have 1 row: nothing can be learnt from fewer than 2")
    every = source
    source, left_out = within_norm(source, how, recipes[0])
    share = _watch(planned, len(source), validation_data is not None)
    train, held = _shared_parts(planned, source, validation_data)
    rows = planning.Rows(*data_preparation.prepared(source, train, held, prepare_options))
    every = whole(every, rows.source, rows.preparation)
    source, train, held = rows.source, rows.train, rows.held
    _size(planned, source)
    about = described(X, every, columns, how.reading, left_out)
    trainers: dict[str, Trainer] = {}
    plans = {
        name: planning.built(
            one.recipe, one.asked, (one.options, one.training), share, rows, one.own
        )
        for name, one in planned.items()
    }
    for name, plan in plans.items():
        planned[name].training = plan.training
    _same(planned, "batch_size")
    for name, one in planned.items():
        if plans[name].model.solver is not None:
            raise IsthmusError(
                f"the variant {name!r} is fitted in closed form, in passes of its own: "
                f'fit it by itself with isthmus.fit("{one.recipe.name}", ...)'
            )
        ready = planning.with_length(one.recipe, one.asked, plans[name], one.own, len(planned))
        model = ready.model
        model.config = config_of(
            one.recipe,
            model,
            ready.options,
            ready.training,
            about,
            own_validation=validation_data is not None,
            plan=ready.plan,
        )
        data_preparation.attached(model, rows.preparation)
        trainers[name] = Trainer(
            model,
            train,
            ready.training,
            validation=held,
            folder=None if folder is None else folder / name,
            config=model.config,
            callbacks=callbacks,
            title=name,
        )
    _no_common_weights(trainers)
    return Together(trainers, folder=folder, progress=progress).run()


@session
def resume_many(
    path: str | Path,
    X: DataLike | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    validation_data: DataLike | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    modules: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Autoencoder]:
    """Go on with the runs that :func:`fit_many` left in ``path``, to the same weights as if they
    had never stopped.

    The data are again read once; variants that were saved at a later step wait for the others.
    Those that had finished or stopped early are only loaded. ``X`` is needed where the data were
    not a name or a file, and ``modules`` (by variant, then by option) where a variant was given
    modules of your own; ``{"mine": {"model": untrained}}`` or ``{"mine": {"recipe": function}}``
    is what :func:`isthmus.load` needs where a variant's recipe cannot be imported. Raises
    :class:`IsthmusError` for other data than the runs began with.
    """
    folder = on_this_machine(path)
    names = read_manifest(folder)
    if names is None:
        raise IsthmusError(
            f"{folder} holds no runs of fit_many that began: resume a single run, or fit again"
        )
    own_modules = modules or {}
    configs = {name: read_config(folder / name) for name in names}
    unfinished = [name for name in names if not configs[name]["progress"].get("finished")]
    models = {
        n: load(folder / n, device="cpu", **own_modules.get(n, {}))
        for n in names
        if n not in unfinished
    }
    if not unfinished:
        return models
    for place in (folder, *(folder / name for name in unfinished)):
        claim(place)
    first = configs[unfinished[0]]
    source = reopened(first, folder / unfinished[0], X, validation_data, given, mask)
    training = validated(TrainingOptions, first["training"])
    train, held = parts(source, training, validation_data, first)
    trainers: dict[str, Trainer] = {}
    for name in unfinished:
        checkpoint = read_checkpoint(folder / name, state=True)
        config = checkpoint.config
        config["notes"] = notices.heard(config.get("notes", ()))
        if config["data"]["fingerprint"] != first["data"]["fingerprint"]:
            raise IsthmusError(
                f"{folder / name} was fitted to other data than {unfinished[0]!r}: resume it by "
                "itself"
            )
        given = dict(own_modules.get(name, {}))
        model = given.pop("model", None)
        model = rebuilt(config, folder / name, model, given, given.pop("recipe", None))
        model.config = config
        trainers[name] = Trainer(
            model,
            train,
            validated(TrainingOptions, config["training"]),
            validation=held,
            folder=folder / name,
            config=config,
            callbacks=callbacks,
            title=name,
        )
        trainers[name].restore(checkpoint)
    try:
        models.update(Together(trainers, folder=folder, progress=progress).run())
    except VariantsFailed as problem:
        raise VariantsFailed(problem.failed, {**models, **problem.models}, folder) from problem
    return {name: models[name] for name in names}


# --- what was asked for ----------------------------------------------------------------------


def _planned(
    variants: Sequence[Variant] | Mapping[str, Variant], shared: Mapping[str, Any]
) -> dict[str, _Planned]:
    """Every variant by name, with the shared options and one order of the rows."""
    if isinstance(variants, (str, Autoencoder)) or callable(variants) or not variants:
        raise IsthmusError("fit_many needs several variants: pass a list of recipes with options")
    if isinstance(variants, Mapping):
        names = list(variants)
        all_options = [_options(variant, shared) for variant in variants.values()]
        for name in names:
            _check_name(name)
    else:
        all_options = [_options(variant, shared) for variant in variants]
        names = _names(all_options)
    for i, name in enumerate(names):
        # Compared without case, as some file systems do.
        if name.casefold() in {other.casefold() for other in names[:i]}:
            raise IsthmusError(
                f"two variants would both be called {name!r}: name them yourself, in a dictionary"
            )
    order = shared.get("data_seed")
    order = shared.get("seed", 0) if order is None else order
    planned = {}
    for name, options in zip(names, all_options, strict=True):
        if options.get("data_seed") is None:
            options["data_seed"] = order
        asked_for = options.pop("recipe")
        recipe, model = as_recipe(asked_for), None
        model_options, training = recipe.parse(options)
        if isinstance(asked_for, Autoencoder):
            model = asked_for
        planned[name] = _Planned(recipe, options, model_options, training, model)
    return planned


def _options(variant: Variant, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A variant as options, the recipe among them."""
    if _is_recipe(variant):
        settings: dict[str, Any] = {"recipe": variant}
    elif isinstance(variant, Mapping):
        settings = dict(variant)
    elif (
        isinstance(variant, Sequence)
        and len(variant) == 2
        and _is_recipe(variant[0])
        and isinstance(variant[1], Mapping)
    ):
        settings = {"recipe": variant[0], **variant[1]}
    else:
        raise IsthmusError(
            f'the variant {variant!r} is none: pass ("topk", {{"k": 32}}) or {{"recipe": "topk", '
            '"k": 32}'
        )
    value: Any = settings.get("recipe", shared.get("recipe"))
    if not _is_recipe(value):
        raise IsthmusError('a variant names no recipe: add "recipe" to its options')
    recipe = as_recipe(value)
    settings = recipe.spelt(settings)
    options = {**recipe.spelt(shared), **settings}
    if "epochs" in settings and "steps" not in settings:
        options.pop("steps", None)  # a variant's own length wins over the shared one
    return options


def _is_recipe(value: Any) -> bool:
    return isinstance(value, (str, Recipe)) or callable(value)


def _names(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """``topk-k32-seed1``: the recipe, and the options in which those of one recipe differ."""
    names = []
    recipes = [as_recipe(options["recipe"]).name for options in variants]
    for recipe, options in zip(recipes, variants, strict=True):
        alike = [other for name, other in zip(recipes, variants, strict=True) if name == recipe]
        name = _text(recipe)
        for option, value in options.items():
            if option == "recipe" or all(_text(o.get(option)) == _text(value) for o in alike):
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            name += f"-{option}{'' if number else '-'}{_text(value)}"
        names.append(name)
    return names


def _text(value: Any) -> str:
    """An option's value as it may stand in the name of a folder."""
    if isinstance(value, (list, tuple)):
        return "x".join(map(_text, value))
    if isinstance(value, nn.Module):
        return type(value).__name__
    return re.sub(r"[^\w.+-]+", "-", str(value)).strip("-")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[^\s./\\:][^/\\:]*", name):
        raise IsthmusError(
            f"the variant's name {name!r} cannot be that of a folder: use letters, digits and -"
        )


def _parent(folder: Path, names: Sequence[str], overwrite: bool) -> Path:
    """The folder of the runs; an error where one of them would replace a run to be kept."""
    if folder.exists() and not folder.is_dir():
        raise IsthmusError(f"{folder} is a file: choose a folder for the runs")
    claim(folder)
    if read_manifest(folder) is not None and not overwrite:
        raise IsthmusError(
            f"{folder} already holds runs: choose another folder, pass overwrite, or go on with "
            f"isthmus resume {folder}"
        )
    for name in names:
        fresh_folder(folder / name, overwrite)
    return folder


def _watch(planned: Mapping[str, _Planned], rows: int, has_validation: bool) -> float:
    """The share of the rows that is held out for all; variants that end by themselves ask for it.

    ``has_validation`` says that there are validation rows of the user's.
    """
    for one in planned.values():
        one.training = watching(one.training, one.asked, rows, has_validation)
    return next(iter(planned.values())).training.validation


def _shared_parts(
    planned: Mapping[str, _Planned], source: Source, validation_data: DataLike | None
) -> tuple[Source, Source | None]:
    """The rows that all train on, and those that all are validated on."""
    _same(planned, "data_seed")
    if validation_data is None:
        _same(planned, "validation")
    for one in planned.values():
        if one.training.patience is not None:  # says so where there is nothing to watch
            return parts(source, one.training, validation_data)
    return parts(source, next(iter(planned.values())).training, validation_data)


def _size(planned: Mapping[str, _Planned], source: Source) -> None:
    """Sizes that suit the data; a batch that nobody stated is the smallest of those chosen."""
    batch = None
    for quietly in (True, False):
        with notices.collected(quiet=True) if quietly else contextlib.nullcontext():
            for one in planned.values():
                sizes = planning.sized_options(one.recipe, one.asked, source, batch=batch)
                one.options, one.training = sizes
        free = [
            one.training.batch_size
            for one in planned.values()
            if one.training.length == "auto" and not {"batch_size", "accumulate"} & set(one.asked)
        ]
        batch_sizes = [o.training.batch_size for o in planned.values() if "batch_size" in o.asked]
        batch = min(batch_sizes or free, default=None)


def _same(planned: Mapping[str, _Planned], option: str) -> None:
    """An error where the variants differ in what one pass over the data can have only once."""
    by_value = {getattr(one.training, option): name for name, one in planned.items()}
    if len(by_value) > 1:
        (value, name), (another, other) = list(by_value.items())[:2]
        raise IsthmusError(
            f"the variants differ in {option} ({name!r}: {value}, {other!r}: {another}), and one "
            f"pass over the data has one: pass {option}={value} for all"
        )


def _no_common_weights(trainers: Mapping[str, Trainer]) -> None:
    """An error where a module of the user's own is part of two models."""
    owner: dict[int, str] = {}
    for name, trainer in trainers.items():
        for tensor in (*trainer.model.parameters(), *trainer.model.buffers()):
            if owner.setdefault(id(tensor), name) != name:
                raise IsthmusError(
                    f"the variants {owner[id(tensor)]!r} and {name!r} share a module: pass each "
                    "a copy of its own"
                )
