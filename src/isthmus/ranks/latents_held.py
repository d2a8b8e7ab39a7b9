"""Which latents of a dictionary this process holds, and sums over the processes that hold the rest.

With one process there is no shard, and every function here returns what it was given: nothing is
computed otherwise than if this module did not exist.

A rank holds its rows of every weight that has one row a latent; all else is whole on every rank.
What is a sum over latents is summed over ranks (:func:`summed`), and every rank goes on with the
same whole. The gradient of such a sum is the identity: each rank has the loss itself, and asks for
the gradients of its own latents. No collective runs in a backward pass. A whole weight gets on each
rank the part of its gradient that comes through that rank's latents; what all ranks compute alike
is counted by one of them (:func:`once`), and the parts are summed once a step, by the trainer.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from isthmus.ranks.processes import exchanging


@dataclass(frozen=True, eq=False)
class Shard:
    """The latents ``start`` to ``stop`` (without it) of ``width``, held by ``rank`` of ``count``.

    ``group`` are the processes that hold the others; None are all there are.
    """

    rank: int
    count: int
    width: int
    group: Any = None

    @property
    def start(self) -> int:
        """The number of its first latent."""
        return self.width * self.rank // self.count

    @property
    def stop(self) -> int:
        """The number after its last latent."""
        return self.width * (self.rank + 1) // self.count

    @property
    def most(self) -> int:
        """How many latents the rank with the most of them holds."""
        return -(-self.width // self.count)

    def rows(self, whole: Tensor) -> Tensor:
        """Its rows of a tensor that has one row a latent, as a tensor of their own."""
        return whole[self.start : self.stop].clone()

    def reduce(self, tensor: Tensor, op: Any = dist.ReduceOp.SUM) -> Tensor:
        """``tensor`` with that of all ranks, in place."""
        with exchanging():
            dist.all_reduce(tensor, op=op, group=self.group)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all ranks, which have one shape, on a leading axis ``(ranks, ...)``."""
        out = [torch.empty_like(tensor) for _ in range(self.count)]
        with exchanging():
            dist.all_gather(out, tensor.contiguous(), group=self.group)
        return torch.stack(out)


_held: ContextVar[Shard | None] = ContextVar("latents held", default=None)


def shard_held() -> Shard | None:
    """The shard of this process while a dictionary is trained by several; else None."""
    return _held.get()


@contextlib.contextmanager
def holding(shard: Shard | None) -> Iterator[None]:
    """While entered, dictionaries hold the latents of a shard only."""
    token = _held.set(shard)
    try:
        yield
    finally:
        _held.reset(token)


def summed(part: Tensor) -> Tensor:
    """The sum of the ranks' parts, the same bits on all; its gradient is each part's."""
    shard = _held.get()
    if shard is None:
        return part
    if part.requires_grad and torch.is_grad_enabled():
        return _Summed.apply(part, shard)  # type: ignore[no-untyped-call]
    return shard.reduce(part.clone(memory_format=torch.contiguous_format))


def once(whole: Tensor) -> Tensor:
    """``whole``, which is used alike by all ranks: one of them alone records its gradient."""
    shard = _held.get()
    return whole if shard is None or shard.rank == 0 else whole.detach()


def counted(number: int) -> int:
    """The sum of a number over all ranks."""
    shard = _held.get()
    if shard is None:
        return number
    return int(shard.reduce(torch.tensor(number, dtype=torch.int64)))


class _Summed(Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, shard: Shard) -> Tensor:
        return shard.reduce(part.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
