"""One training loop for every model, and what belongs to it."""

from isthmus.training.batches import Batches
from isthmus.training.callbacks import Callback, TensorBoard
from isthmus.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from isthmus.training.interrupt import Interrupted
from isthmus.training.many import Together, VariantsFailed
from isthmus.training.options import ParameterGroup, TrainingOptions
from isthmus.training.trainer import Trainer

__all__ = [
    "Batches", "Callback", "Checkpoint", "Interrupted", "ParameterGroup", "TensorBoard",
    "Together", "Trainer", "TrainingOptions", "VariantsFailed", "read_checkpoint",
    "write_checkpoint",
]  # fmt: skip
