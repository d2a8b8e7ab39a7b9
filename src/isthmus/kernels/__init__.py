"""Sparse products: a reference in plain PyTorch, and faster paths that equal it."""

from isthmus.kernels.decode import sparse_decode
from isthmus.kernels.topk import topk_relu

__all__ = ["sparse_decode", "topk_relu"]
