"""What users call: fit, load, save, resume, evaluate."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus import data, evaluation
from isthmus.anatomy import Autoencoder, Signal, Source
from isthmus.errors import IsthmusError, unknown
from isthmus.recipes import Recipe, get_recipe
from isthmus.recipes.registry import module_options, validated
from isthmus.training import (
    Batches,
    Callback,
    Checkpoint,
    Trainer,
    TrainingOptions,
    read_checkpoint,
    write_checkpoint,
)
from isthmus.training.checkpoint import CONFIG, METRICS, read_config
from isthmus.training.journal import located
from isthmus.training.progress import ProgressBar, Show
from isthmus.training.reference import ROWS, reference_triples, verify
from isthmus.training.seeds import seed_step
from isthmus.training.trainer import PREPARE_ROWS, resolve_device

FINGERPRINT_ROWS = 4096
Data = Any
"""Anything ``isthmus.data.as_source`` takes: an array, a tensor, a name, a file, a folder, ..."""


def fit(
    recipe: str | Autoencoder,
    X: Data,
    *,
    out: str | Path | None = None,
    validation_data: Data | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    overwrite: bool = False,
    **options: Any,
) -> Autoencoder:
    """Fit a recipe (by name), or an autoencoder of your own parts, to data.

    ``options`` are the recipe's and the trainer's in one flat space: ``latent_dim``, ``k``,
    ``steps``, ``epochs``, ``batch_size``, ``lr``, ``seed``, ``device``, ``precision``, ... Where
    ``batch_size`` is not given and the data have fewer rows than the recipe's default, all rows
    make one batch. With ``out`` the run is saved there as it goes and can be resumed.

    Raises :class:`IsthmusError` for anything about the data or options that cannot work.
    """
    source, given = data.as_source(X), set(options)
    chosen: Recipe | None = None
    if isinstance(recipe, Autoencoder):
        model_options: dict[str, Any] = {}
        training = _training_only(options)
    else:
        chosen = get_recipe(recipe)
        model_options, training = chosen.parse(options)
    folder = None if out is None else _fresh_folder(Path(out), overwrite)
    if len(source) < 2:
        raise IsthmusError("the data have 1 row: nothing can be learnt from fewer than 2")
    train, held = _parts(source, training, validation_data)
    training = _fitting_batch(training, len(train), explicit="batch_size" in given)
    if chosen is None:
        assert isinstance(recipe, Autoencoder)
        model = recipe
    else:
        model = _build(chosen, source, model_options, training.seed)
    for part in (train, held):
        if part is not None and part.signal.shape != model.signal.shape:
            raise IsthmusError(
                f"the data are rows of shape {part.signal.shape}, and the model reads "
                f"{model.signal.shape}: pass rows that fit"
            )
    model.config = {
        "recipe": None if chosen is None else chosen.name,
        "options": _storable(model_options),
        "training": training.model_dump(mode="json"),
        "signal": model.signal.to_dict(),
        "data": _describe(X, source),
        "own_validation": validation_data is not None,
    }
    title = chosen.name if chosen is not None else type(model).__name__
    if model.solver is not None:
        return _solve(model, train, training, folder, title, progress)
    return Trainer(
        model,
        train,
        training,
        validation=held,
        folder=folder,
        config=model.config,
        callbacks=callbacks,
        progress=progress,
        title=title,
    ).run()


def load(
    path: str | Path,
    model: Autoencoder | None = None,
    *,
    device: str = "cpu",
    **modules: nn.Module,
) -> Autoencoder:
    """Load a saved model and check that it reproduces its stored reference triples.

    ``modules`` are the modules of your own that the model was built with (``encoder=...``);
    ``model`` is the untrained autoencoder, where it was not built by a recipe. Raises
    :class:`IsthmusError` for a damaged, foreign or wrongly loading checkpoint.
    """
    folder = Path(path)
    checkpoint = read_checkpoint(folder)
    return _restored(checkpoint, folder, model, modules).to(resolve_device(device))


def save(model: Autoencoder, path: str | Path, X: Data | None = None) -> None:
    """Save a fitted model without training state.

    ``X`` gives the rows of the reference triples; a model that :func:`fit` returned or
    :func:`load` read remembers its own.
    """
    rows = model.reference_rows
    if X is not None:
        source = data.as_source(X)
        rows = source.rows(torch.arange(min(ROWS, len(source))))
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
    folder = _fresh_folder(Path(path), overwrite=False)
    write_checkpoint(folder, Checkpoint(config, weights, reference_triples(model, rows)))


def resume(
    path: str | Path,
    X: Data | None = None,
    *,
    model: Autoencoder | None = None,
    validation_data: Data | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Show = "auto",
    **modules: nn.Module,
) -> Autoencoder:
    """Go on with a run from its last checkpoint, to the same weights as if it had never stopped.

    ``X`` is needed where the data were not a name or a file; other data than the run began with
    are an :class:`IsthmusError`.
    """
    folder = Path(path)
    finished = read_config(folder)["progress"].get("finished")
    if finished or finished is None:
        return load(folder, model, device="cpu", **modules)
    checkpoint = read_checkpoint(folder, state=True)
    config = checkpoint.config
    if X is None:
        X = (config["data"] or {}).get("spec")
        if X is None:
            raise IsthmusError(f"the data of {folder} were not a file: pass them again as X")
    source = data.as_source(X)
    if _describe(X, source)["fingerprint"] != config["data"]["fingerprint"]:
        raise IsthmusError(f"these are not the data that {folder} was fitted to: pass the same")
    if config.get("own_validation") and validation_data is None:
        raise IsthmusError(f"{folder} used its own validation data: pass them as validation_data")
    training = validated(TrainingOptions, config["training"])
    train, held = _parts(source, training, validation_data)
    rebuilt = _rebuilt(config, folder, model, modules)
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
        title=config["recipe"] or "fit",
    )
    trainer.restore(checkpoint)
    return trainer.run()


def evaluate(
    model: Autoencoder, X: Data, *, samples: int = 64, seed: int = 0, batch_size: int = 1024
) -> dict[str, evaluation.Result]:
    """The measures that suit the model's code, each a :class:`~isthmus.evaluation.Result`.

    For the name of a set with a test part, that part is evaluated. ``samples`` importance samples
    bound the log-likelihood where there is one.
    """
    source = test_source(X)
    return evaluation.evaluate(model, source, samples=samples, seed=seed, batch_size=batch_size)


def test_source(X: Data) -> Source:
    """The held-out part of a named set that has one; otherwise the data themselves."""
    if data.is_name(X):
        X = data.load(X)
    if isinstance(X, data.Data):
        return data.as_source(X.train if X.test is None else X.test)
    return data.as_source(X)


# --- how the pieces come together ------------------------------------------------------------


def _build(recipe: Recipe, source: Source, options: dict[str, Any], seed: int) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        seed_step(torch.device("cpu"), seed, 0)
        return recipe.build(source.signal, options)


def _training_only(options: Mapping[str, Any]) -> TrainingOptions:
    for name in options:
        if name not in TrainingOptions.model_fields:
            raise unknown("training option", name, TrainingOptions.model_fields)
    return validated(TrainingOptions, options)


def _parts(
    source: Source, training: TrainingOptions, validation_data: Data | None
) -> tuple[Source, Source | None]:
    if validation_data is not None:
        return source, data.as_source(validation_data)
    if training.validation > 0:
        return data.split(source, training.validation, training.seed)
    if training.patience is not None:
        raise IsthmusError("patience needs something to watch: set validation=0.1")
    return source, None


def _fitting_batch(training: TrainingOptions, rows: int, *, explicit: bool) -> TrainingOptions:
    if explicit or rows >= training.batch_size:
        return training
    return training.model_copy(update={"batch_size": rows, "accumulate": 1})


def _fresh_folder(folder: Path, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise IsthmusError(f"{folder} is a file: choose a folder for the run")
    taken = located(folder, CONFIG).exists() or (folder / METRICS).exists()
    if taken and not overwrite:
        raise IsthmusError(
            f"{folder} already holds a run: choose another folder, pass overwrite, or go on with "
            f"isthmus resume {folder}"
        )
    return folder


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
    sample = source.rows(torch.arange(min(ROWS, len(source))))
    device = resolve_device(training.device)
    model.to(device)
    with torch.random.fork_rng(devices=[]), ProgressBar(title, 1, "rows", progress) as bar:
        seed_step(device, training.seed, 3)
        with torch.no_grad():
            model.prepare(Batches(source, 1, training.seed).sample(PREPARE_ROWS).to(device))

        def report(done: int, total: int, what: str) -> None:
            bar.total = total
            if bar.due or done == total:
                bar.draw(done, done, what)

        figures = model.solver.fit(model, source, report)
    model.eval()
    model.history, model.reference_rows = [{"step": 1, **figures}], sample
    if folder is not None:
        weights = {n: t.clone() for n, t in model.state_dict().items()}
        done = {"step": 1, "total": 1, "finished": True}
        triples = reference_triples(model, sample)
        log = json.dumps(model.history[0]) + "\n"
        checkpoint = Checkpoint(model.config, weights, triples, progress=done)
        write_checkpoint(folder, checkpoint, log=log)
    return model


def _rebuilt(
    config: Mapping[str, Any],
    folder: Path,
    model: Autoencoder | None,
    modules: Mapping[str, nn.Module],
) -> Autoencoder:
    """The untrained model that a checkpoint's configuration describes."""
    if config["recipe"] is None:
        if model is None:
            raise IsthmusError(
                f"{folder} was not built by a recipe: pass the untrained autoencoder as model"
            )
        return model
    options = dict(config["options"])
    for name, value in options.items():
        if isinstance(value, dict) and "module" in value:
            if name not in modules:
                raise IsthmusError(
                    f"{folder} was fitted with a {name} of your own ({value['module']}): pass it "
                    f"again as {name}=..."
                )
            options[name] = modules[name]
    recipe = get_recipe(config["recipe"])
    model_options, _ = recipe.parse(options)
    with torch.random.fork_rng(devices=[]):
        return recipe.build(Signal.from_dict(config["signal"]), model_options)


def _restored(
    checkpoint: Checkpoint,
    folder: Path,
    model: Autoencoder | None,
    modules: Mapping[str, nn.Module],
) -> Autoencoder:
    rebuilt = _rebuilt(checkpoint.config, folder, model, modules)
    try:
        rebuilt.load_state_dict(checkpoint.weights)
    except RuntimeError:
        raise IsthmusError(
            f"the weights in {folder} do not fit the model that its config.json describes: use "
            "the version of isthmus that wrote it"
        ) from None
    rebuilt.eval()
    rebuilt.config = checkpoint.config
    rebuilt.reference_rows = checkpoint.reference["input"]
    verify(rebuilt, checkpoint.reference, str(folder))
    return rebuilt


def _storable(options: Mapping[str, Any]) -> dict[str, Any]:
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


def _describe(X: Data, source: Source) -> dict[str, Any]:
    """Where the data came from, and a fingerprint of up to 4096 rows spread over them."""
    spec = None
    if isinstance(X, (str, Path)):
        spec = os.path.abspath(X) if Path(X).exists() and not data.is_name(X) else str(X)
    spread = torch.arange(0, len(source), max(1, len(source) // FINGERPRINT_ROWS))
    digest = hashlib.sha256(json.dumps([len(source), source.signal.to_dict()]).encode())
    digest.update(source.rows(spread).numpy().tobytes())
    return {"spec": spec, "rows": len(source), "fingerprint": digest.hexdigest()}
