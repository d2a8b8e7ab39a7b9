"""One training loop for every model, and what belongs to it."""

from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, TensorBoard
from isthmus.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from isthmus.training.interrupt import Interrupted
from isthmus.training.many import Together, VariantsFailed
from isthmus.training.options import ParameterGroup, TrainingOptions
from isthmus.training.run import Run
from isthmus.training.stepper import Stepper

Trainer = Run
"""The former name of :class:`Run`."""

__all__ = [
    "Batches",
    "Callback",
    "Checkpoint",
    "Interrupted",
    "ParameterGroup",
    "Run",
    "Stepper",
    "TensorBoard",
    "Together",
    "Trainer",
    "TrainingOptions",
    "VariantsFailed",
    "read_checkpoint",
    "write_checkpoint",
]  # fmt: skip
