"""What happens to a model in one training step, where a test takes the step apart."""

import torch

from isthmus.anatomy.part import parts_with
from isthmus.anatomy.signature import ask


def observed(model, out):
    """``out``, once the parts of the model have taken note of it as a stepper lets them."""
    with torch.no_grad():
        for part in parts_with(model, "observe"):
            ask(part.observe, out, out.step, model=model)
    return out


def step_forward(model, x, clock):
    """The training path at a moment of a run, observed."""
    return observed(model, model(x, clock))
