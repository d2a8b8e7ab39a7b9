"""One training loop for every model, and what belongs to it."""

from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, TensorBoard
from isthmus.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from isthmus.training.options import ParameterGroup, TrainingOptions
from isthmus.training.trainer import Interrupted, Trainer

__all__ = [
    "Batches", "Callback", "Checkpoint", "Interrupted", "ParameterGroup", "TensorBoard",
    "Trainer", "TrainingOptions", "read_checkpoint", "write_checkpoint",
]  # fmt: skip
