"""A small model of any recipe: options, rows, weights as bytes, and a batch over and over."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Code, Output, Signal, View, tree
from isthmus.anatomy.randomness import drawing
from isthmus.data import as_source
from isthmus.data.ragged import is_ragged
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.recipes import Recipe
from isthmus.training.seeding import mix

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
    "experts": 2,
    "projections": 5,
    "width": 4,
    "hidden": (16,),
    "second_hidden": (16,),
    "maps": (4, 4),
    "memory": 16,
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

COLLECTION = {"image": _rows(96, (1, 8, 8), True), "vector": VECTORS}
"""Two named parts of the same rows."""

LAYERS = {f"{i}:{side}": _rows(96, (4,), False) + i for i in range(2) for side in ("in", "out")}
"""What goes into and what comes out of two layers, of the same rows."""

PAIRS = {"first": VECTORS, "second": VECTORS[::-1].copy()}
"""Two parts of one shape: activations and their gradients, two versions of the same thing."""

TEXTS = [
    f"{one} {two} {one}{end}"
    for one in "abcd"
    for two in ("is", "was", "not")
    for end in ".!?,;:-+"
]
"""Texts of different lengths."""

SERIES = [_rows(96, (9, 4), False)[i, : 5 + i % 5] for i in range(96)]
"""Series of four channels, of different lengths."""

SmallRows = Any
"""An array of rows, a mapping of names to such arrays, or a list of rows of different lengths."""


def cut(rows: SmallRows, start: int, stop: int) -> SmallRows:
    """Some of the rows, of every part."""
    return tree.mapped(lambda part: part[start:stop], rows)


@dataclass(frozen=True)
class Case:
    """A recipe in a small size: its options, and rows that it reads."""

    recipe: Recipe
    options: Mapping[str, Any]
    rows: SmallRows
    given: Mapping[str, Any] = field(default_factory=dict)

    def batch(self, model: Autoencoder, count: int | None = None) -> Batch:
        """The first rows, or all of them, as the model reads them, with what is given."""
        given = {name: torch.as_tensor(part)[:count] for name, part in self.given.items()}
        rows = self.rows if count is None else cut(self.rows, 0, count)
        return model.signal.batch(rows, given=given)

    def build(self, seed: int = 0) -> Autoencoder:
        """An untrained model, prepared on the rows."""
        with drawing(torch.device("cpu"), mix(seed)):
            model = self.recipe.build(_signal(self.rows), self.recipe.parse(self.options)[0])
            with torch.no_grad():
                model.prepare(self.batch(model))
        return model


def case(
    recipe: Recipe,
    rows: SmallRows | None = None,
    options: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Case:
    """The recipe at small sizes, on ``rows`` or on those of this module that it builds on.

    ``options`` win over the sizes; what the recipe asks for and ``given`` lacks is 0 and 1 in
    turn. Raises ``AssertionError`` where it builds on nothing.
    """
    sizes = {k: v for k, v in SMALL.items() if k in recipe.model_options.model_fields}
    all_options = {**sizes, **(options or {})}
    problems: list[tuple[bool, IsthmusError]] = []
    candidates: list[SmallRows] = [VECTORS, IMAGES, COLLECTION, LAYERS, PAIRS, TEXTS, SERIES]
    if rows is not None:
        ragged = isinstance(rows, list) and is_ragged(rows)
        candidates = [rows if isinstance(rows, Mapping) or ragged else np.asarray(rows)]
    elif recipe.model is not None:
        candidates = [r for r in candidates if recipe.model.signal.accepts(_signal(r))]
        problems.append((False, IsthmusError(f"it reads {recipe.model.signal.shape}")))
    for candidate in candidates:
        try:
            with drawing(torch.device("cpu"), 0):
                recipe.build(_signal(candidate), recipe.parse(all_options)[0])
        except IsthmusError as refusal:
            problems.append((_signal(candidate).kind not in recipe.kinds, refusal))
        except Exception:
            # What is wrong on rows that it reads is said first, whatever others lead to.
            if all(foreign for foreign, _ in problems):
                raise
        else:
            labels = {name: np.arange(tree.count(candidate)) % 2 for name in recipe.given}
            return Case(recipe, all_options, candidate, {**labels, **(given or {})})
    # Of rows of a kind that it reads the refusal says more than of others.
    problem = min(problems, key=lambda pair: pair[0])[1] if problems else None
    raise AssertionError(
        f"{recipe.name} builds on no small signal ({problem}): pass rows=... and options=... that "
        "it takes"
    )


def _signal(rows: SmallRows) -> Signal:
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
    return Repeater(out.rows, times).output(out)


@dataclass(frozen=True)
class Repeater:
    """Everything that has an axis of ``rows``, ``times`` over along it."""

    rows: int
    times: int

    def output(self, out: Output) -> Output:
        """The error that a decoder left is not kept: it follows from the parameters anew."""
        again = {f.name: self(getattr(out, f.name)) for f in fields(out) if f.init}
        return Output(**{**again, "likelihood": out.likelihood, "step": out.step, "residual": None})

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.ndim and len(value) == self.rows:
                return torch.cat([value] * self.times)
            if value.ndim > 1 and value.shape[1] == self.rows:  # behind a sample axis
                return torch.cat([value] * self.times, 1)
            return value
        if isinstance(value, Preactivations):
            rows = torch.arange(self.rows, device=value.bias.device).repeat(self.times)
            return value.take(rows)
        if isinstance(value, Mapping):
            return {name: self(part) for name, part in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self(part) for part in value)
        if isinstance(value, (View, Code, Batch)):
            names = [f.name for f in fields(value)] if is_dataclass(value) else list(vars(value))
            fresh = object.__new__(type(value))
            for name in names:
                object.__setattr__(fresh, name, self(getattr(value, name)))
            return fresh
        return value
