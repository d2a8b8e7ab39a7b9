"""What a training step costs, counted rather than timed, so that it is the same on any machine."""

import copy
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isthmus.anatomy import Autoencoder, Source
from isthmus.kernels import portable
from isthmus.training.batches import Batches
from isthmus.training.options import TrainingOptions
from isthmus.training.seeding import seeded
from isthmus.training.stages import Leg
from isthmus.training.stepper import Stepper

SECONDS_PER_OPERATION = 1.5e-5
SECONDS_PER_FLOP = 1.3e-11
SECONDS_PER_BYTE = 1.3e-10
"""What an operation costs whatever its size, eighty billion floating-point operations a second, and
eight gigabytes a second through memory: about one core of a recent server, or two ordinary ones."""
COUNTED_ROWS = 256
PREPARED_ROWS = 1024
TIMED_STEPS = 5


@dataclass
class Work:
    """Operations, floating-point operations, and bytes read and written."""

    operations: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    @property
    def seconds(self) -> float:
        """What that takes on two ordinary cores, roughly."""
        return (
            self.operations * SECONDS_PER_OPERATION
            + self.flops * SECONDS_PER_FLOP
            + self.bytes * SECONDS_PER_BYTE
        )


class Counter(TorchDispatchMode):
    """Counts the work of what runs while it is entered, backward passes and optimisers too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Imported here, since it imports Triton where that is installed.
        from torch.utils.flop_counter import flop_registry

        self.work, self.formulas = Work(), flop_registry

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.work.operations += 1
        if any(r.alias_info is not None and not r.alias_info.is_write for r in _returns(func)):
            return out  # a view: nothing is moved
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        self.work.bytes += sum(t.numel() * t.element_size() for t in tensors)
        packet = func._overloadpacket
        if packet in self.formulas:
            self.work.flops += self.formulas[packet](*args, **kwargs, out_val=out)
        elif "rnn_layer" in str(packet):
            self.work.flops += _recurrent(args)
        return out


def _returns(func: Any) -> Any:
    return func._schema.returns


def _recurrent(args: Any) -> float:
    """Of a fused recurrent layer: every weight once for each step of each row."""
    matrices = [t for t in tree_leaves(args) if isinstance(t, Tensor) and t.ndim == 2]
    first = next(t for t in tree_leaves(args) if isinstance(t, Tensor))
    return 2.0 * first.shape[:2].numel() * sum(t.numel() for t in matrices)


def counted(model: Autoencoder, source: Source, options: TrainingOptions, legs: list[Leg]) -> float:
    """Seconds that a step of the run takes on two ordinary cores, by what it does: a mean over the
    stages.

    The model stays as it is: copies are trained for a step, on few rows where the batch is large.
    Where that fails, the estimate is that of a plain network of as many parameters; whatever is
    wrong shows in the run itself.
    """
    rows = min(options.batch_size, len(source))
    most = min(rows, COUNTED_ROWS)
    try:
        large = _counted(model, source, options, legs, most)
        if rows == most:
            return large
        small = _counted(model, source, options, legs, most // 2)
    except Exception:  # of the user's own parts: the run will say what is wrong, and where
        parameters = sum(p.numel() for p in model.parameters())
        return Work(500.0, 6.0 * parameters * rows, 60.0 * parameters).seconds
    return large + max(0.0, (large - small) / (most - most // 2)) * (rows - most)


def _counted(
    model: Autoencoder, source: Source, options: TrainingOptions, legs: list[Leg], rows: int
) -> float:
    seconds, batches = 0.0, Batches(source, rows, options.order_seed)
    for leg, stepper in _steppers(model, source, options, legs, torch.device("cpu")):
        batch = batches[0]
        with portable(), Counter() as counter:
            stepper.step(batch, leg.start)
        seconds += counter.work.seconds * leg.steps
    return seconds / legs[-1].stop


def timed(
    model: Autoencoder,
    source: Source,
    options: TrainingOptions,
    legs: list[Leg],
    device: torch.device,
) -> float:
    """Seconds that a step of the run takes here and now, reading its batch included: a mean over
    the stages of the median of a few steps of copies."""
    seconds, batches = 0.0, Batches(source, options.batch_size, options.order_seed)
    for leg, stepper in _steppers(model, source, options, legs, device):
        took = []
        for step in range(leg.start, min(leg.stop, leg.start + TIMED_STEPS + 2)):
            began = time.perf_counter()
            try:
                stepper.step(batches[step], step)
            except FloatingPointError:  # a loss that is not finite: the run says what made it so
                took.append(time.perf_counter() - began)
                break
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            took.append(time.perf_counter() - began)
        seconds += statistics.median(took[2:] or took) * leg.steps
    return seconds / legs[-1].stop


def _steppers(
    model: Autoencoder,
    source: Source,
    options: TrainingOptions,
    legs: list[Leg],
    device: torch.device,
) -> Iterator[tuple[Leg, Stepper]]:
    """For each stage a stepper of a copy of the model, which was set up from a few rows."""
    trial = copy.deepcopy(model).to(device)
    batches = Batches(source, 1, options.order_seed)
    for number, leg in enumerate(legs):
        trial.stage = number
        trial.prepared.discard(number)
        with seeded(device, options.seed, 3), torch.no_grad():
            trial.prepare(
                batches.sample(PREPARED_ROWS).to(device),
                rows=len(source),
                batch_size=options.batch_size,
                steps=leg.steps,
                source=source,
            )
        trains = None if leg.stage is None else leg.stage.trains
        stepper = Stepper(
            trial,
            leg.options.model_copy(update={"compile": False}),
            total=leg.steps,
            rows=len(source),
            first=leg.start,
            trains=trains,
            device=device,
        )
        stepper.train()
        yield leg, stepper
        stepper.release()
