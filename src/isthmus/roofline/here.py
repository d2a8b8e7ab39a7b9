"""The step of this machine: a few steps of small dictionaries, timed, and what more latents add."""

import os
from typing import Any

import torch

from isthmus import notices
from isthmus.data import as_source
from isthmus.recipes import as_recipe
from isthmus.roofline.dictionary_step import Shape
from isthmus.roofline.machines import Machine
from isthmus.roofline.training_plan import Share
from isthmus.runs.planning import fit_planned
from isthmus.training.cost import TIMED_STEPS, timed
from isthmus.training.device import resolve_device
from isthmus.training.stages import legs_of

SECONDS = 6.0
"""What the timing may take, about."""
LEAST_WIDTH = 512
_FEW_BATCHES = 4
_STEPS = 1000


def measured(recipe: str, shape: Shape, options: dict[str, Any] | None = None) -> tuple[Share, ...]:
    """The parts of a step of ``shape`` on this machine, as :func:`isthmus.fit` does it.

    Dictionaries of several widths, the widest of at most half of ``shape.width`` and as wide as a
    few seconds allow, are trained for a few steps on made rows. Product, selection and Adam grow
    with the latents, the rest does not: the two widest give both. A step that is small enough is
    timed as it is.
    """
    choices = dict(options or {})
    if shape.width <= 2 * LEAST_WIDTH:
        return (Share("the step", _seconds(recipe, shape, shape.width, choices), "timed"),)
    (few, first), (more, second) = _two_widths(recipe, shape, choices)
    slope = max(0.0, (second - first) / (more - few))
    return (
        Share("with the latents: product, selection, Adam", slope * shape.width, "timed"),
        Share("with the rows alone: decoding, the rest", max(0.0, second - slope * more), "timed"),
    )


def this_machine() -> Machine:
    """This machine, as far as a plan asks of it beside the time of a step: its memory."""
    device = resolve_device("auto")
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        return Machine(about.name, 0.0, 0.0, 0.0, 0.0, float(about.total_memory))
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    threads = torch.get_num_threads()
    name = f"this CPU, {threads} thread" + ("s" if threads > 1 else "")
    return Machine(name, 0.0, 0.0, 0.0, 0.0, memory)


def _two_widths(recipe: str, shape: Shape, options: dict[str, Any]) -> list[tuple[int, float]]:
    """The two widest whose steps fit into the time that there is, with seconds of a step."""
    wide, spent = LEAST_WIDTH, 0.0
    by_width: list[tuple[int, float]] = []
    while len(by_width) < 2 or (4 * wide <= 2 * shape.width and spent < SECONDS):
        seconds = _seconds(recipe, shape, wide, options)
        by_width.append((wide, seconds))
        # The next one takes twice as long.
        spent += 3 * seconds * (TIMED_STEPS + 2)
        wide *= 2
    return by_width[-2:]


def _seconds(recipe: str, shape: Shape, width: int, options: dict[str, Any]) -> float:
    """The median of a few steps on made rows."""
    rows = torch.randn(
        _FEW_BATCHES * shape.batch, shape.d, generator=torch.Generator().manual_seed(0)
    )
    settings = {
        "latent_dim": width, "k": min(shape.k, width), "batch_size": shape.batch,
        "steps": _STEPS, "validation": 0.0, **options,
    }  # fmt: skip
    with notices.collected(quiet=True):
        plan = fit_planned(as_recipe(recipe), settings, as_source(rows))
    device = resolve_device(plan.training.device)
    legs = legs_of(plan.model, plan.training, _STEPS, watched=False)
    return timed(plan.model, plan.rows.train, plan.training, legs, device)
