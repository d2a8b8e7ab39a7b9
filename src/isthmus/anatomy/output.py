"""What flows through an autoencoder in one training step."""

from dataclasses import dataclass, field

from torch import Tensor

from isthmus.anatomy.code import Code
from isthmus.anatomy.dictionary import Residual
from isthmus.anatomy.likelihood import Likelihood
from isthmus.anatomy.schedule import Clock


@dataclass(eq=False)
class View:
    """One (possibly corrupted) look at a batch.

    ``x`` is ``(rows, *shape)``. ``visible`` int64 ``(rows, kept)`` names the patches that the
    encoder may see, where the corruption hides some. ``target`` ``(rows, *shape)`` is set by a
    corruption that redraws the data themselves (binarisation), and takes the clean batch's place
    as what is to be rebuilt; only that of the first view counts.
    """

    x: Tensor
    visible: Tensor | None = None
    target: Tensor | None = None


@dataclass(eq=False)
class Output:
    """The result of ``Autoencoder.forward``, which the terms of an objective read.

    ``x`` is the clean input in the model's units and ``target`` what is to be rebuilt, both
    ``(rows, *shape)``. ``codes`` holds one code for each view; ``code`` is the first. ``params``
    is what the decoder returned, ``(rows, *shape)`` or, for a code with a sample axis,
    ``(samples, rows, *shape)``; the likelihood turns it into ``recon``. Both are None without a
    decoder, and where no term of the objective rebuilds. A decoder that computed its error directly
    left it in ``residual``; ``params`` then follow from it when somebody asks.
    """

    x: Tensor
    target: Tensor
    views: list[View]
    codes: list[Code]
    params: Tensor | None = None
    likelihood: Likelihood | None = None
    clock: Clock = field(default_factory=Clock)
    residual: Residual | None = None
    _recon: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def recon(self) -> Tensor | None:
        """The mean of x under ``params``, computed when a term first asks; None without them."""
        if self._recon is None and self.likelihood is not None:
            params = self._params()
            self._recon = None if params is None else self.likelihood.mean(params)
        return self._recon

    def _params(self) -> Tensor | None:
        if self.params is None and self.residual is not None:
            self.params = self.residual.error.view_as(self.target) + self.target
        return self.params

    def error(self) -> Tensor:
        """``recon - target``, ``(rows, *shape)``; an error where the model has no decoder."""
        if self.residual is not None:
            return self.residual.error.view_as(self.target)
        return self.need_recon() - self.target

    def squared_error(self) -> Tensor:
        """The squared length of :meth:`error`, ``(rows,)``."""
        if self.residual is not None:
            return self.residual.squares
        return self.error().square().flatten(1).sum(1)

    @property
    def code(self) -> Code:
        return self.codes[0]

    def need_recon(self) -> Tensor:
        """``recon``; an error where the model has no decoder."""
        if self.recon is None:
            raise TypeError("this term needs a reconstruction, and the model has no decoder")
        return self.recon

    def need_params(self) -> Tensor:
        """``params``; an error where the model has no decoder."""
        params = self._params()
        if params is None:
            raise TypeError("this term needs a reconstruction, and the model has no decoder")
        return params
