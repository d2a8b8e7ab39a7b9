"""What flows through an autoencoder in one training step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from isthmus.anatomy import tree
from isthmus.anatomy.batch import Batch, Given, Step
from isthmus.anatomy.code import Code
from isthmus.anatomy.dictionary import Residual
from isthmus.anatomy.expect import expect
from isthmus.anatomy.likelihood import Likelihood
from isthmus.anatomy.schedule import Clock
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

T = TypeVar("T")
C = TypeVar("C", bound=Code)


@dataclass(eq=False)
class View:
    """One (possibly corrupted) look at a batch.

    ``x`` is ``(rows, *shape)`` or a tree. ``visible`` int64 ``(rows, kept)`` names the patches that
    the encoder may see, where the corruption hides some. ``target`` is set by a corruption that
    redraws the data themselves (binarisation), and takes the clean batch's place as what is to be
    rebuilt; only that of the first view counts. ``by`` names the part of the model that encodes
    this view in the place of its encoder, such as a teacher. ``mask`` says which entries of x are
    observed; a corruption that leaves it out keeps the batch's.
    """

    x: Tree
    visible: Tensor | None = None
    target: Tree | None = None
    by: str | None = None
    mask: Tree | None = None


@dataclass(eq=False)
class Output:
    """The result of ``Autoencoder.forward``, which the terms of an objective read.

    ``x`` is the clean input in the model's units and ``target`` what is to be rebuilt, both
    ``(rows, *shape)`` or trees. ``codes`` holds one code for each view; ``code`` is the first.
    ``params`` is what the decoder returned, ``(rows, *shape)`` or, for a code with a sample axis,
    ``(samples, rows, *shape)``; the likelihood turns it into ``recon``. Both are None without a
    decoder, and where no term of the objective rebuilds. A decoder that computed its error directly
    left it in ``residual``; ``params`` then follow from it when somebody asks. ``step`` says where
    the run stands, ``batch`` is what the source gave, ``mask`` what of the target is observed.
    """

    x: Tree
    target: Tree
    views: list[View]
    codes: list[Code]
    params: Tree | None = None
    likelihood: Likelihood | None = None
    step: Step = field(default_factory=Step)
    residual: Residual | None = None
    batch: Batch | None = None
    mask: Tree | None = None
    _recon: Tree | None = field(default=None, init=False, repr=False)
    _memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def clock(self) -> Clock:
        """Where the run stands."""
        return self.step.clock

    @property
    def given(self) -> Given:
        """Labels, conditions and the like, by name, one entry a row."""
        return Given() if self.batch is None else Given(self.batch.given)

    @property
    def rows(self) -> int:
        """How many rows the batch has."""
        return len(self.x) if isinstance(self.x, Tensor) else tree.count(self.x)

    @property
    def device(self) -> torch.device:
        """Where the batch is."""
        for _, leaf in tree.leaves(self.x):
            if isinstance(leaf, Tensor):
                return leaf.device
        return self.code.z.device

    def memo(self, key: Any, make: Callable[[], T]) -> T:
        """What terms of one step share: made by whoever first asks for ``key``, with gradients."""
        key = (key, torch.is_grad_enabled())
        if key not in self._memo:
            self._memo[key] = make()
        value: T = self._memo[key]
        return value

    @property
    def recon(self) -> Tree | None:
        """The mean of x under ``params``, computed when a term first asks; None without them."""
        if self._recon is None and self.likelihood is not None:
            params = self._params()
            self._recon = None if params is None else self.likelihood.mean(params)
        return self._recon

    def _params(self) -> Tree | None:
        if self.params is None and self.residual is not None:
            self.params = self.residual.error.view_as(self.target) + self.target
        return self.params

    def error(self) -> Tree:
        """``recon - target``, ``(rows, *shape)``; an error where the model has no decoder."""
        if self.residual is not None:
            return self.residual.error.view_as(self.target)
        recon = self.need_recon()
        if isinstance(recon, Tensor) and isinstance(self.target, Tensor):
            self._check_shape(recon, self.target)
            if self.mask is None:
                return recon - self.target
        return tree.mapped(
            lambda target, recon, mask: tree.observed(recon - target, mask),
            self.target,
            recon,
            self.mask,
        )

    def _check_shape(self, recon: Tensor, target: Tensor) -> None:
        """A draw of the code may put an axis before; the others are the target's."""
        if recon.shape[-target.ndim :] != target.shape:
            raise IsthmusError(
                f"the decoder rebuilds {tuple(recon.shape)}, and the target is "
                f"{tuple(target.shape)}: let it return the target's shape"
            )

    def squared_error(self) -> Tensor:
        """The squared length of :meth:`error`, ``(rows,)``: of all parts, observed entries only."""
        if self.residual is not None:
            return self.residual.squares
        error = self.error()
        if isinstance(error, Tensor):
            return error.square().flatten(1).sum(1)
        parts = [leaf.square().flatten(1).sum(1) for _, leaf in tree.leaves(error)]
        return torch.stack(parts).sum(0)

    def elements(self) -> Tensor | int:
        """How many elements of each row are to be rebuilt: a number, or with masks ``(rows,)``.

        Of a row of which nothing was observed one is counted, so that it can be divided by.
        """
        counts = tree.mapped(tree.elements, self.target, self.mask)
        numbers = [leaf for _, leaf in tree.leaves(counts)]
        total: Tensor | int = sum(numbers[1:], start=numbers[0])
        return total.clamp_min(1) if isinstance(total, Tensor) else total

    @property
    def code(self) -> Code:
        """The code of the first view."""
        return self.codes[0]

    def code_as(self, kind: type[C], asker: object, *, view: int = 0) -> C:
        """The code of a view, which has to be a ``kind``: see :func:`expect`."""
        return expect(self.codes[view], kind, "code", asker)

    def need_recon(self) -> Tree:
        """``recon``; an error where the model has no decoder."""
        return _needed(self.recon)

    def need_params(self) -> Tree:
        """``params``; an error where the model has no decoder."""
        return _needed(self._params())


def _needed(recon: Tree | None) -> Tree:
    if recon is None:
        raise IsthmusError(
            "a term needs a reconstruction, and the model has none: build it with a decoder, or "
            "leave the term out"
        )
    return recon
