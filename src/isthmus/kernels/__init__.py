"""Sparse products: a reference in plain PyTorch, and faster paths that equal it."""

from isthmus.kernels.decode import adaptive_decode, sparse_decode
from isthmus.kernels.dispatch import path_in_use, portable, use, using
from isthmus.kernels.preactivations import Preactivations, sum_by_latent, take_at, take_rows
from isthmus.kernels.residual import Residual, residual
from isthmus.kernels.row_gradient import RowGradient
from isthmus.kernels.sharded import preactivations_of
from isthmus.kernels.stacked import Stacked

__all__ = [
    "Preactivations",
    "Residual",
    "RowGradient",
    "Stacked",
    "adaptive_decode",
    "path_in_use",
    "portable",
    "preactivations_of",
    "residual",
    "sparse_decode",
    "sum_by_latent",
    "take_at",
    "take_rows",
    "use",
    "using",
]
