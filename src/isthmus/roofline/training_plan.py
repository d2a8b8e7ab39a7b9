"""A whole training run: hours, memory, network and storage, from the step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.errors import IsthmusError, unknown
from isthmus.roofline.dictionary_step import KEPT_BYTES, Shape, memory, network, step
from isthmus.roofline.machines import Machine

STORED_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
"""Bytes of a stored number."""
HARVEST_SHARE = 0.6
"""Of what products reach, what a forward pass of a language model does."""


@dataclass(frozen=True)
class Share:
    """A part of a step: seconds, and what bounds it."""

    name: str
    seconds: float
    bound: str


@dataclass(frozen=True)
class TrainingPlan:
    """What a run takes.

    ``seconds`` of all steps; ``memory`` of a rank, ``sent`` by a rank in a step, ``stored`` by the
    activations and ``checkpoint`` in bytes; ``feed`` is bytes/s that a rank has to be given, and
    ``harvest`` seconds of one such device to make the activations (None without a host).
    ``timed`` says whether the step was, on this machine.
    """

    shape: Shape
    device: Machine
    ranks: int
    steps: int
    shares: tuple[Share, ...]
    step_seconds: float
    memory: dict[str, float]
    sent: float
    stored: float
    checkpoint: float
    feed: float
    harvest: float | None
    timed: bool

    @property
    def seconds(self) -> float:
        """All steps."""
        return self.steps * self.step_seconds

    @property
    def memory_bytes(self) -> float:
        """All that a rank holds."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a rank's share fits into the device's memory."""
        return self.memory_bytes <= self.device.memory_bytes


def planned(
    shape: Shape,
    tokens: float,
    device: Machine,
    ranks: int = 1,
    *,
    dtype: str = "float16",
    host_parameters: float | None = None,
    measured: Sequence[Share] | None = None,
) -> TrainingPlan:
    """The plan of a run over ``tokens`` rows.

    ``dtype`` is how activations are stored, ``host_parameters`` how many the language model has
    that they are harvested from. ``measured`` is a step on one rank of this machine
    by part (:func:`isthmus.roofline.here.measured`), in place of what the roofline says.
    """
    numbers = {"d": shape.d, "width": shape.width, "k": shape.k, "batch": shape.batch,
               "ranks": ranks}  # fmt: skip
    for name, value in numbers.items():
        if value < 1:
            raise IsthmusError(f"{name}={value} is a number of something: use 1 or more")
    if not 0 < tokens < math.inf:
        raise IsthmusError(f"tokens={tokens:g} are no rows to train on: use more than 0")
    if host_parameters is not None and not 0 < host_parameters < math.inf:
        raise IsthmusError(
            f"a language model of {host_parameters:g} parameters is none: use more than 0"
        )
    if shape.k > shape.width or ranks > shape.width:
        raise IsthmusError(
            f"{shape.width} latents are fewer than k={shape.k} or ranks={ranks}: use more latents"
        )
    if dtype not in STORED_BYTES:
        raise unknown("dtype of stored activations", dtype, STORED_BYTES)
    if measured is not None and ranks > 1:
        raise IsthmusError("a step that was measured here is that of one rank: leave out ranks")
    if measured is None:
        parts = step(shape, device, ranks).parts
        shares = tuple(Share(name, s, bound) for name, (s, bound) in parts.items() if s > 0)
    else:
        shares = tuple(measured)
    seconds = sum(share.seconds for share in shares)
    row = shape.d * STORED_BYTES[dtype]
    # A machine of which nothing is known but its memory harvests at an unknown rate.
    rate = HARVEST_SHARE * device.product
    known = host_parameters is not None and rate > 0
    return TrainingPlan(
        shape, device, ranks, math.ceil(tokens / shape.batch), shares, seconds,
        memory(shape, ranks), sum(network(shape, ranks)), tokens * row,
        KEPT_BYTES * float(shape.parameters), shape.batch * row / ranks / seconds,
        2 * (host_parameters or 0.0) * tokens / rate if known else None, measured is not None,
    )  # fmt: skip
