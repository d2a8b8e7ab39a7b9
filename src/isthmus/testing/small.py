"""A small model of any recipe: options, rows, weights as bytes, and a batch over and over."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Output, Signal, View
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.recipes import Recipe
from isthmus.training.seeds import mix

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
    "second_hidden": (16,),
}
"""Sizes by option name; a recipe takes those that it has."""


def _rows(n: int, shape: tuple[int, ...], unit: bool) -> np.ndarray:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(3, int(np.prod(shape))))
    rows = rng.normal(size=(n, 3)) @ basis + 0.1 * rng.normal(size=(n, basis.shape[1]))
    rows = 1.0 / (1.0 + np.exp(-rows)) if unit else rows
    return rows.astype(np.float32).reshape(n, *shape)


VECTORS, IMAGES = _rows(96, (12,), False), _rows(96, (1, 16, 16), True)
"""Rows of rank three and a little noise: something to learn in a hundred steps."""


@dataclass(frozen=True)
class Case:
    """A recipe in a small size: its options, and rows that it reads."""

    recipe: Recipe
    options: Mapping[str, Any]
    rows: np.ndarray

    def build(self, seed: int = 0) -> Autoencoder:
        """An untrained model, prepared on the rows."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix(seed))
            model = self.recipe.build(_signal(self.rows), self.recipe.parse(self.options)[0])
            with torch.no_grad():
                model.prepare(model.signal.tensor(self.rows))
        return model


def case(
    recipe: Recipe, rows: np.ndarray | None = None, options: Mapping[str, Any] | None = None
) -> Case:
    """The recipe at small sizes, on ``rows`` or on those vectors or images that it builds on.

    ``options`` win over the sizes. Raises ``AssertionError`` where it builds on nothing.
    """
    sizes = {k: v for k, v in SMALL.items() if k in recipe.model_options.model_fields}
    chosen, problem = {**sizes, **(options or {})}, None
    candidates = [VECTORS, IMAGES] if rows is None else [np.asarray(rows)]
    if recipe.model is not None and rows is None:
        candidates = [r for r in candidates if r.shape[1:] == recipe.model.signal.shape]
        problem = IsthmusError(f"it reads {recipe.model.signal.shape}")
    for candidate in candidates:
        try:
            with torch.random.fork_rng(devices=[]):
                recipe.build(_signal(candidate), recipe.parse(chosen)[0])
        except IsthmusError as refusal:
            problem = refusal
        else:
            return Case(recipe, chosen, candidate)
    raise AssertionError(
        f"{recipe.name} builds on no small signal ({problem}): pass rows=... and options=... that "
        "it takes"
    )


def _signal(rows: np.ndarray) -> Signal:
    return as_source(rows).signal


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


def _repeated_code(code: Code, rows: int, again: Callable[[Tensor], Any]) -> Code:
    def of_rows(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(of_rows(part) for part in value)
        return again(value) if isinstance(value, Tensor) and rows in value.shape[:2] else value

    names = [f.name for f in fields(code)] if is_dataclass(code) else list(vars(code))
    fresh: Code = object.__new__(type(code))
    for name in names:
        value = getattr(code, name)
        if isinstance(value, Preactivations):
            value = Preactivations(again(value.x), value.weight, value.bias, value.centre)
        object.__setattr__(fresh, name, of_rows(value))
    return fresh
