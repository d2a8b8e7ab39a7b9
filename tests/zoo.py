"""Every recipe in a small size, for tests that must hold for all of them."""

import hashlib
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Output, Signal, View
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.recipes import Recipe, get_recipe, recipes
from isthmus.training.seeds import mix

NAMES = list(recipes())

SMALL: dict[str, Any] = {
    "latent_dim": 8,
    "k": 3,
    "k_aux": 4,
    "dead_after": 40,
    "capacity_steps": 10,
    "sparsity_steps": 10,
    "projector": 8,
    "depth": 1,
    "decoder_depth": 1,
    "decoder_width": 8,
    "heads": 2,
    "samples": 3,
    "entries": 4,
    "projections": 5,
    "width": 4,
    "hidden": (16,),
}
"""Sizes by option name; a recipe takes those that it has."""


def _rows(n: int, shape: tuple[int, ...], unit: bool) -> np.ndarray:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(3, int(np.prod(shape))))
    rows = rng.normal(size=(n, 3)) @ basis + 0.1 * rng.normal(size=(n, basis.shape[1]))
    rows = 1.0 / (1.0 + np.exp(-rows)) if unit else rows
    return rows.astype(np.float32).reshape(n, *shape)


VECTORS, IMAGES = _rows(96, (12,), False), _rows(96, (1, 16, 16), True)


@cache
def small(name: str) -> tuple[dict[str, Any], np.ndarray]:
    """Options of a small model of that recipe, and rows that it reads."""
    recipe = get_recipe(name)
    options = {k: v for k, v in SMALL.items() if k in recipe.model_options.model_fields}
    problem: IsthmusError | None = None
    for rows in (VECTORS, IMAGES):
        low, high = float(rows.min()), float(rows.max())
        try:
            recipe.build(Signal.infer(rows).bounded(low, high), recipe.parse(options)[0])
        except IsthmusError as refusal:
            problem = refusal
        else:
            return options, rows
    raise AssertionError(f"{name} builds on no small signal: {problem}")


def build(name: str, seed: int = 0) -> tuple[Autoencoder, Recipe, np.ndarray]:
    """An untrained small model, its recipe and its rows; the model is prepared on them."""
    recipe = get_recipe(name)
    options, rows = small(name)
    signal = Signal.infer(rows).bounded(float(rows.min()), float(rows.max()))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mix(seed))
        model = recipe.build(signal, recipe.parse(options)[0])
        with torch.no_grad():
            model.prepare(torch.from_numpy(rows))
    return model, recipe, rows


def sha(model: Autoencoder) -> str:
    """One digest of all weights and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def repeated(out: Output, times: int = 2) -> Output:
    """The output that the same rows, ``times`` over, would have given."""
    rows = len(out.x)

    def again(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        if tensor.ndim and len(tensor) == rows:
            return torch.cat([tensor] * times)
        if tensor.ndim > 1 and tensor.shape[1] == rows:  # behind a sample axis
            return torch.cat([tensor] * times, 1)
        raise AssertionError(f"a tensor of shape {tuple(tensor.shape)} has no axis of {rows} rows")

    codes = [_repeated_code(code, rows, again) for code in out.codes]
    views = [View(again(view.x), again(view.visible)) for view in out.views]
    return Output(
        again(out.x),
        again(out.target),
        views,
        codes,
        again(out.params),
        out.likelihood,
        out.step,
    )


def _repeated_code(code: Code, rows: int, again: Any) -> Code:
    def of_rows(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(of_rows(part) for part in value)
        return again(value) if isinstance(value, Tensor) and rows in value.shape[:2] else value

    names = [f.name for f in fields(code)] if is_dataclass(code) else list(vars(code))
    fresh = object.__new__(type(code))
    for name in names:
        value = getattr(code, name)
        if isinstance(value, Preactivations):
            value = Preactivations(again(value.x), value.weight, value.bias, value.centre)
        object.__setattr__(fresh, name, of_rows(value))
    return fresh
