"""Evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*modules: nn.Module | None, gradients: bool = False) -> Iterator[None]:
    """Evaluation mode, by default without gradients; each part's own mode is restored after."""
    modes = [(part, part.training) for m in modules if m is not None for part in m.modules()]
    for part, _ in modes:
        part.training = False
    try:
        with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            yield
    finally:
        for part, training in modes:
            part.training = training
