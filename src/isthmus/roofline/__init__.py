"""What training a sparse dictionary takes on machines that are not here: time, memory, network,
storage, by what moves and what is computed.

All of it is arithmetic. What a machine can do is in :mod:`isthmus.roofline.machines`, mostly from
data sheets and a few published measurements; only :func:`isthmus.roofline.here.measured` times
anything, on the machine where it runs.
"""

from isthmus.roofline.dictionary_step import Shape, Step, network, step
from isthmus.roofline.machines import MACHINES, Machine, machine
from isthmus.roofline.training_plan import Share, TrainingPlan, planned

__all__ = [
    "MACHINES", "Machine", "Shape", "Share", "Step", "TrainingPlan", "machine", "network",
    "planned", "step",
]  # fmt: skip
