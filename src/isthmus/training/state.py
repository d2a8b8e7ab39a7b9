"""Nested state (optimisers, counters) as flat tensors and JSON, and back: no pickle anywhere."""

from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def flatten(nested: Any, prefix: str, tensors: Tensors) -> Any:
    """A JSON-ready copy of ``nested`` whose tensors went to ``tensors`` under ``prefix``."""
    if isinstance(nested, Tensor):
        tensors[prefix] = nested
        return {"__tensor__": prefix}
    if isinstance(nested, dict):
        items = [[key, flatten(value, f"{prefix}.{key}", tensors)] for key, value in nested.items()]
        return {"__dict__": items}
    if isinstance(nested, (list, tuple)):
        return [flatten(value, f"{prefix}.{i}", tensors) for i, value in enumerate(nested)]
    if nested is None or isinstance(nested, (bool, int, float, str)):
        return nested
    raise TypeError(f"state of type {type(nested).__name__} cannot be saved")


def unflatten(plain: Any, tensors: Tensors) -> Any:
    """The inverse of :func:`flatten` (tuples come back as lists)."""
    if isinstance(plain, dict):
        if "__tensor__" in plain:
            return tensors[plain["__tensor__"]]
        return {key: unflatten(value, tensors) for key, value in plain["__dict__"]}
    if isinstance(plain, list):
        return [unflatten(value, tensors) for value in plain]
    return plain


def optimiser_state(optimiser: torch.optim.Optimizer, name: str, tensors: Tensors) -> Any:
    """The per-parameter state of an optimiser; groups are rebuilt from the options."""
    return flatten(optimiser.state_dict()["state"], f"optimiser.{name}", tensors)


def restore_optimiser(optimiser: torch.optim.Optimizer, plain: Any, tensors: Tensors) -> None:
    """Put back what :func:`optimiser_state` took."""
    fresh = optimiser.state_dict()
    fresh["state"] = unflatten(plain, tensors)
    optimiser.load_state_dict(fresh)
