"""One of several classes for each element: ids, such as tokens."""

import torch
from torch import Tensor

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import IsthmusError


class Categorical(Likelihood):
    """Independent class ids, 0 to ``classes - 1``; ``params`` ``(..., classes)`` are logits.

    x is int64 ``(rows, *shape)``; whole numbers held as floats are read as ids too. Ids have no
    mean: :meth:`mean` is the most probable class, int64.
    """

    name = "categorical"
    discrete = True

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise IsthmusError(f"classes={classes} leaves nothing to tell: use 2 or more")
        self.numbers = classes
        self.needs = f"whole numbers from 0 to {classes - 1}"

    def mean(self, params: Tensor) -> Tensor:
        """The most probable class, int64 ``(..., rows, *shape)``; the first of several."""
        return params.argmax(-1)

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        ids = x.long().expand(params.shape[:-1]).unsqueeze(-1)
        return params.log_softmax(-1).gather(-1, ids).squeeze(-1)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        flat = params.softmax(-1).flatten(0, -2)
        return torch.multinomial(flat, 1, generator=generator).reshape(params.shape[:-1])

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < self.numbers) & (x == x.floor() if x.is_floating_point() else True)
