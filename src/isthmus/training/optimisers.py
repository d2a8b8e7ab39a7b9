"""Optimisers by name, parameter groups, and the learning rate over a run."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import Clock, Cosine, Linear, Schedule, Stairs
from isthmus.anatomy.schedule import Constant
from isthmus.errors import IsthmusError, unknown
from isthmus.training.lars import LARS
from isthmus.training.options import ParameterGroup, TrainingOptions
from isthmus.training.row_adam import RowAdam, RowWeights

_SHORT = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}


_UNFIT = ("Optimizer", "LBFGS", "SparseAdam")
"""The base class, and what needs a closure or sparse gradients."""


_NOT_BY_ROWS = (
    "amsgrad", "maximize", "capturable", "differentiable", "foreach", "decoupled_weight_decay",
)  # fmt: skip


def optimiser_class(name: str) -> type[torch.optim.Optimizer]:
    """A class of ``torch.optim``, or ``lars``, by its name, case ignored."""
    classes: dict[str, type[torch.optim.Optimizer]] = {
        n.lower(): c
        for n, c in vars(torch.optim).items()
        if inspect.isclass(c) and issubclass(c, torch.optim.Optimizer) and n not in _UNFIT
    }
    classes["lars"] = LARS
    kind = classes.get(name.lower().removeprefix("torch.optim."))
    if kind is None:
        raise unknown("optimiser", name, classes)
    return kind


def make_optimiser(
    named: list[tuple[str, nn.Parameter]],
    options: TrainingOptions,
    rows: RowWeights | None = None,
) -> torch.optim.Optimizer:
    """An optimiser over named parameters, the options' groups applied (the first match wins).

    Adam and its kin run in their fused form where the parameters allow it; plain Adam takes the
    weights in ``rows`` row by row.
    """
    cls = optimiser_class(options.optimiser)
    # Not of the class: nnsight, once imported, puts a __new__(*args, **kwargs) before it.
    accepted = inspect.signature(cls.__init__).parameters.keys() - {"self", "params"}
    given: dict[str, Any] = dict(options.optimiser_options)
    for name in given:
        if name in ("lr", "weight_decay"):
            raise IsthmusError(f"{name} is no optimiser_options: set {name}={given[name]} itself")
        if name not in accepted:
            raise unknown(f"argument of the optimiser {options.optimiser}", name, accepted)
    if options.weight_decay and "weight_decay" not in accepted:
        raise IsthmusError(f"the optimiser {options.optimiser} has no weight_decay: set it to 0")
    if isinstance(given.get("betas"), list):
        given["betas"] = tuple(given["betas"])
    groups = _grouped(named, options)
    if "lr" in accepted:
        given["lr"] = options.peak_lr
    if "fused" in accepted and "fused" not in given:
        fusible = ("cpu", "cuda", "mps")
        given["fused"] = all(
            p.device.type in fusible and p.is_floating_point() for _, p in named
        ) and not any(given.get(other) for other in ("amsgrad", "foreach", "differentiable"))
    try:
        if cls is torch.optim.Adam and rows and not any(given.get(n) for n in _NOT_BY_ROWS):
            collect = options.clip is None and options.clip_value is None
            return RowAdam(groups, rows, collect=collect, **given)
        return cls(groups, **given)
    except (ValueError, TypeError, IndexError, RuntimeError) as problem:
        raise IsthmusError(
            f"the optimiser {options.optimiser} cannot be set up: {problem}"
        ) from problem


def hold(optimiser: torch.optim.Optimizer, bad: Tensor) -> bool:
    """Have its steps change nothing where the number ``bad`` on the device is not zero.

    False for optimisers that cannot: those that are neither fused nor by rows. No step waits.
    """
    fused = all(group.get("fused") for group in optimiser.param_groups)
    if fused:  # as gradient scaling asks it of them
        optimiser.grad_scale, optimiser.found_inf = None, bad  # type: ignore[attr-defined]
    if isinstance(optimiser, RowAdam):
        optimiser.skip = bad
    return fused


def _grouped(
    named: list[tuple[str, nn.Parameter]], options: TrainingOptions
) -> list[dict[str, Any]]:
    rules = [*options.groups, ParameterGroup()]
    buckets: list[list[nn.Parameter]] = [[] for _ in rules]
    for name, parameter in named:
        place = next(i for i, rule in enumerate(rules) if rule.covers(name, parameter))
        buckets[place].append(parameter)
    groups = []
    for rule, bucket in zip(rules, buckets, strict=True):
        if not bucket:
            continue
        decay = options.weight_decay if rule.weight_decay is None else rule.weight_decay
        groups.append({"params": bucket, "weight_decay": decay, "lr_factor": rule.lr})
    return groups


def check_groups(model: nn.Module, groups: tuple[ParameterGroup, ...]) -> None:
    """An error for a pattern that matches no parameter of the model."""
    named = dict(model.named_parameters())
    for group in groups:
        if not any(group.covers(name, parameter) for name, parameter in named.items()):
            raise IsthmusError(
                f"the parameter group {group} matches no parameter: the names begin with "
                + ", ".join(sorted({n.split(".")[0] for n in named}))
            )


def _burda() -> Schedule:
    """10^(-i/7) for 3^i parts of the run, i = 0..7 (Burda et al. 2015, section 5)."""
    parts = [3**i for i in range(8)]
    ends = [sum(parts[: i + 1]) / sum(parts) for i in range(7)]
    return Stairs(tuple(10 ** (-i / 7) for i in range(8)), tuple(ends))


@dataclass(frozen=True)
class _HalfExponential(Schedule):
    """1 for half of the run, then exponentially down to ``end`` (Donahue et al. 2016, code)."""

    end: float = 0.01

    def __call__(self, clock: Clock) -> float:
        return float(self.end ** max(0.0, 2.0 * clock.progress - 1.0))


@dataclass(frozen=True)
class _Late(Schedule):
    """1 for four fifths of the run, then in a straight line down to ``end``."""

    end: float

    def __call__(self, clock: Clock) -> float:
        return 1.0 - (1.0 - self.end) * max(0.0, 5.0 * clock.progress - 4.0)


LR_SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "constant": lambda total: Constant(1.0),
    "linear": lambda total: Linear(1.0, 0.0, total, fit=None),
    "cosine": lambda total: Cosine(1.0, 0.0),
    "burda": lambda total: _burda(),
    "half-exponential": lambda total: _HalfExponential(),
    "last-fifth": lambda total: _Late(0.0),  # Zaigrajew et al. 2025, code
    "cool-down": lambda total: _Late(1 / 32),  # He et al. 2024, code
    "two-halvings": lambda total: Stairs((1.0, 0.5, 0.25), (0.375, 0.75)),  # Dai & Wipf 2019, code
}


def learning_rate(options: TrainingOptions, total: int) -> Callable[[Clock], float]:
    """The learning rate at each clock; a warm-up longer than a tenth of the run is cut to it."""
    shape = LR_SCHEDULES[options.lr_schedule](total)
    warmup = min(options.warmup, max(1, total // 10)) if options.warmup else 0

    def at(clock: Clock) -> float:
        rise = min(1.0, (clock.step + 1) / warmup) if warmup else 1.0
        return options.peak_lr * rise * shape(clock)

    return at
