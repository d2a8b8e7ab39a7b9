"""Errors of codes that contain each other: of the strongest latents, of twice as many, of more."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, SparseCode, Term
from isthmus.kernels import adaptive_decode
from isthmus.networks.dictionary import Dictionary


def left_over(
    code: SparseCode, levels: Iterable[int], weight: Tensor, centred: Tensor
) -> Iterator[Tensor]:
    """What the first ``level`` entries of each row of ``code`` leave of ``centred`` ``(rows, d)``.

    Of each of the rising ``levels``: what its further latents contribute is taken off what the
    level below it has left. ``weight`` ``(width, d)`` are the atoms.
    """
    left, start = centred, 0
    for level in levels:
        band = slice(start, level)
        left = left - adaptive_decode(code.values[:, band], code.indices[:, band], weight)
        start = level
        yield left


def budgets_of(k: int, count: int) -> list[int]:
    """``count`` numbers of latents up to ``k``, evenly spaced: ``k / count, 2 k / count, ..., k``.

    At most k of them, each once; none is 0.
    """
    count = min(count, k)
    return [-(-i * k // count) for i in range(1, count + 1)]


class BudgetedError(Term):
    """``mean_j |x - x^_j|^2 / elements`` with ``x^_j`` from the j largest latents of a row.

    The mean is over the levels j. With all of 1 to k it is HierarchicalTopK (Balagansky et al.
    2025, arXiv:2505.24473, equation 3).
    """

    name = "budgeted_error"
    unit = "squared error per element, averaged over the levels, in the model's units"
    rebuilds = False

    def __init__(self, levels: list[int]) -> None:
        self.levels = levels

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        dictionary = model.part_as("decoder", Dictionary, self)
        code = out.code_as(SparseCode, self)
        order = code.values.detach().abs().argsort(dim=1, descending=True)
        code = SparseCode(code.values.gather(1, order), code.indices.gather(1, order), code.width)
        centred = out.target.flatten(1) - dictionary.bias
        errors = left_over(code, self.levels, dictionary.weight, centred)
        return torch.stack([left.square().mean(1) for left in errors]).mean(0)
