"""Sparse products: a reference in plain PyTorch, and faster paths that equal it."""

from isthmus.kernels.decode import adaptive_decode, sparse_decode
from isthmus.kernels.topk import topk_relu

__all__ = ["adaptive_decode", "sparse_decode", "topk_relu"]
