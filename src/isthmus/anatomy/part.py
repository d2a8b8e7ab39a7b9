"""What may happen to a part of a model besides being called."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.anatomy.batch import Batch, Step
from isthmus.anatomy.schedule import Schedule, as_schedule
from isthmus.anatomy.signature import ask, check_hook
from isthmus.anatomy.source import Source
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder
    from isthmus.anatomy.output import Output

HOOKS = (
    "prepare", "observe", "before_update", "after_update", "constrain", "every_epoch", "finish",
)  # fmt: skip
_NAMES = (*HOOKS, "row_weights")
_TELLING = ("before_update", "after_update", "constrain", "every_epoch", "row_weights")
"""Names by which a module that is no Part is recognised as one that was meant to be."""


@dataclass(eq=False)
class Look:
    """What a model is set up from, before the first step.

    ``x`` is a sample of the rows in the model's units, and ``batch`` the same rows as they came,
    with whatever is given with them. ``rows`` is how many there are to train on, ``source`` where
    they come from (None where a model is prepared by hand).
    """

    x: Tree
    batch: Batch
    rows: int
    batch_size: int = 0
    steps: int = 0
    source: Source | None = None

    @property
    def tensor(self) -> Tensor:
        """``x``, which must be a single tensor."""
        if not isinstance(self.x, Tensor):
            raise IsthmusError(
                "this recipe reads one array and got several named ones: pass one of them, or use "
                "a recipe that reads a collection"
            )
        return self.x


class Part(nn.Module):
    """A module to which more may happen; a plain :class:`~torch.nn.Module` is welcome as it is.

    ``before_update``, ``after_update`` and ``constrain`` take nothing but ``self``, and may name as
    keyword-only parameters what they want: ``model``, ``step``, and ``after_update`` also the
    ``optimiser`` (see :mod:`isthmus.anatomy.signature`). A method whose name is nearly one
    of these is refused when the class is made.
    """

    passes: float = 1.0
    """What one call costs, in forward passes through a network of its size."""
    by_latent: ClassVar[tuple[str, ...] | None] = None
    """Names of its tensors with one row a latent, of a part that computes with some of the latents
    as with all: see :mod:`isthmus.ranks`. A class says it of itself, not of those that inherit."""

    def prepare(self, model: "Autoencoder", look: Look) -> None:
        """Set up from a sample of the data, before the first step."""

    def observe(self, out: "Output", step: Step) -> None:
        """Take note of a step: counters, thresholds, averages. No gradients are recorded.

        Called once a step, however many players, accumulated parts or forward passes it has: after
        the first player's forward pass and before its loss.
        """

    def before_update(self, *args: Any, **asked: Any) -> None:
        """Before the optimiser step of the part's player: the place to change gradients."""

    def after_update(self, *args: Any, **asked: Any) -> None:
        """After the optimiser step of the part's player."""

    def constrain(self, *args: Any, **asked: Any) -> None:
        """Bring the weights back to where they must lie, after they were averaged."""

    def every_epoch(self, model: "Autoencoder", source: Source, step: Step) -> Any:
        """At the start of every pass over the data but the first: alternation, EM, restarts.

        What it draws is a function of the seed and the step. Figures that it returns, by name, go
        to the log.
        """

    def finish(self, model: "Autoencoder", source: Source) -> None:
        """After the last step, on the final weights: tables, thresholds, calibration."""

    def row_weights(self) -> list[tuple[nn.Parameter, bool]]:
        """Weights whose gradients come row by row, and whether their rows are kept at norm 1."""
        return []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if name in HOOKS:
                check_hook(value, f"{cls.__name__}.{name}")
                continue
            if not callable(value) or name.startswith("_"):
                continue
            near = get_close_matches(name, _NAMES, n=1, cutoff=0.85)
            if near and name not in _NAMES:
                raise IsthmusError(
                    f"{cls.__name__}.{name} would never be called: did you mean {near[0]!r}? (Give "
                    "it another name if not.)"
                )


class Prior(Part):
    """A distribution of codes that can be sampled, and has a density or has none."""

    def sample(self, n: int) -> Tensor:
        """``n`` draws, ``(n, latent)``, from the global generator."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor | None:
        """log p(z) in nats, ``(..., latent)`` to ``(...)``; None where it has no density."""
        return None

    def kl(self, mean: Tensor, logvar: Tensor) -> Tensor | None:
        """``KL(N(mean, exp(logvar)) || prior)`` of each row in nats, ``(rows,)``.

        ``mean`` and ``logvar`` are ``(rows, latent)``. None where it has no closed form.
        """
        return None

    def forward(self, n: int) -> Tensor:
        return self.sample(n)


class Sampler(Prior):
    """A prior that is a function ``n -> (n, latent)``, without a density.

    An object that has a ``log_prob`` besides is an error: a density that nobody asks would make
    bounds of another model than was meant.
    """

    def __init__(self, function: Any) -> None:
        super().__init__()
        if not callable(function):
            raise IsthmusError(
                f"a {type(function).__name__} is no prior: pass a Prior, or a function n -> (n, "
                "latent)"
            )
        if "log_prob" in vars(type(function)):
            raise IsthmusError(
                f"{type(function).__name__} has a density that would not be asked: inherit "
                "isthmus.anatomy.Prior, and call its draws sample(n)"
            )
        self.function = function

    def sample(self, n: int) -> Tensor:
        draws: Tensor = self.function(n)
        return draws


class EMA(Part):
    """An exponential moving average of other parts of the model: a teacher.

    ``of`` names them (``"encoder"``, ``"bottleneck"``, ``"parts.projector"``); they are called one
    after another, and no gradient passes. The average starts as a copy and moves after each update
    by ``1 - decay``, a number or a schedule of the clock; buffers are copied as they are, but for
    the running statistics of normalisation layers that the average's own calls move. A view
    with ``by`` set to the name under which the average stands in the model is encoded by it.
    """

    def __init__(self, of: "str | tuple[str, ...]", decay: float | Schedule = 0.996) -> None:
        super().__init__()
        self.of = (of,) if isinstance(of, str) else tuple(of)
        self.decay = as_schedule(decay)
        self.copies = nn.ModuleList()

    def follow(self, model: "Autoencoder") -> None:
        """Start as a copy of the model's parts."""
        for name in self.of:
            try:
                part = model.get_submodule(name)
            except AttributeError:
                raise IsthmusError(
                    f"the average of {name!r} has nothing to follow: the model has no part of that "
                    "name"
                ) from None
            self.copies.append(deepcopy(part).requires_grad_(False))

    @torch.no_grad()
    def prepare(self, model: "Autoencoder", look: Look) -> None:
        """Start from the parts as they are once they have been set up."""
        for name, copy in zip(self.of, self.copies, strict=True):
            copy.load_state_dict(model.get_submodule(name).state_dict())

    @torch.no_grad()
    def forward(
        self, x: Any, *, view: Any, batch: Any, given: Any, mask: Any, step: Any, model: Any
    ) -> Any:
        for copy in self.copies:
            x = ask(
                copy, x, view=view, batch=batch, given=given, mask=mask, step=step, model=model,
                sample=False,
            )  # fmt: skip
        return x

    @torch.no_grad()
    def after_update(self, *, model: "Autoencoder", step: Step) -> None:
        """Move towards the parts as they are now."""
        share = 1.0 - self.decay(step.clock)
        for name, copy in zip(self.of, self.copies, strict=True):
            part = model.get_submodule(name)
            for mean, weight in zip(copy.parameters(), part.parameters(), strict=True):
                mean.lerp_(weight, share)
            for inner, followed in zip(copy.modules(), part.modules(), strict=True):
                _copy_buffers(inner, followed)


def _copy_buffers(mine: nn.Module, theirs: nn.Module) -> None:
    """A layer's buffers, unless they are statistics of as many calls of its own."""
    # Statistics of the followed layer's inputs do not fit the weights of an average, which lags.
    calls, of_theirs = (getattr(layer, "num_batches_tracked", None) for layer in (mine, theirs))
    newer = None if calls is None or of_theirs is None else calls >= of_theirs
    for buffer, other in zip(mine.buffers(False), theirs.buffers(False), strict=True):
        buffer.copy_(other if newer is None else torch.where(newer, buffer, other))


def parts_with(model: nn.Module, hook: str) -> Iterator[Part]:
    """The parts of a model that define a hook, in the order of its modules.

    The copies that an average holds are moved by it and by nothing else.
    """
    default = getattr(Part, hook)
    averages = [module for module in model.modules() if isinstance(module, EMA)]
    copies = {id(copy) for average in averages for copy in average.copies.modules()}
    for module in model.modules():
        if id(module) in copies or not isinstance(module, Part):
            continue
        if getattr(type(module), hook) is not default:
            yield module


def check_plain(model: nn.Module) -> None:
    """An error for a module whose methods say that it is a Part, but that is none."""
    for module in model.modules():
        if isinstance(module, Part):
            continue
        for name in _TELLING:
            if name in vars(type(module)):
                raise IsthmusError(
                    f"{type(module).__name__}.{name} would never be called, since "
                    f"{type(module).__name__} is a plain module: inherit isthmus.anatomy.Part"
                )
