"""The stages of a model as parts of one run: from which step to which, with what options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from isthmus.anatomy import Autoencoder, Stage
from isthmus.anatomy.players import owners
from isthmus.errors import IsthmusError, unknown
from isthmus.training.optimisers import check_groups, make_optimiser
from isthmus.training.options import TrainingOptions

OF_THE_RUN = (
    "steps", "epochs", "batch_size", "seed", "data_seed", "device", "validation", "compile",
    "log_every", "save_every", "tensorboard", "length", "minutes",
)  # fmt: skip
"""Options that a run has once, whatever its stages."""


@dataclass(frozen=True)
class Leg:
    """A stage of a run as steps: from ``start`` to ``stop``, with its options."""

    start: int
    stop: int
    options: TrainingOptions
    stage: Stage | None = None

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return self.stop - self.start

    @property
    def owner(self) -> str:
        """Whose the options are, for a sentence."""
        return "the run" if self.stage is None else f"the stage {self.stage.name!r}"


def legs_of(
    model: Autoencoder, options: TrainingOptions, total: int, *, watched: bool = True
) -> list[Leg]:
    """The stages of a model as parts of ``total`` steps, by their shares; each has one step.

    ``watched`` says whether there are held-out rows. Whatever is wrong with a later stage is an
    :class:`IsthmusError` here, before the first one is trained.
    """
    stages = model.stages
    if total < len(stages):
        raise IsthmusError(
            f"steps={total} are fewer than the {len(stages)} stages: give each of them a step"
        )
    if not stages:
        legs = [Leg(0, total, options)]
    else:
        whole, passed, start, legs = sum(stage.share for stage in stages), 0.0, 0, []
        for number, stage in enumerate(stages):
            passed += stage.share
            left = len(stages) - number - 1
            stop = min(total - left, max(start + 1, round(total * passed / whole)))
            legs.append(Leg(start, stop, options_of(stage, options, watched), stage))
            start = stop
    for leg in legs:
        if leg.options.batch_size % leg.options.accumulate:
            whose = "" if leg.stage is None else f" of {leg.owner}"
            raise IsthmusError(
                f"accumulate={leg.options.accumulate}{whose} does not divide batch_size="
                f"{leg.options.batch_size}: choose a divisor"
            )
    return legs


def options_of(stage: Stage, options: TrainingOptions, watched: bool = True) -> TrainingOptions:
    """A stage's options: the run's, but for what the stage has of its own."""
    stage_options: Mapping[str, Any] = stage.options
    allowed = [name for name in TrainingOptions.model_fields if name not in OF_THE_RUN]
    for name in stage_options:
        if name in OF_THE_RUN:
            raise IsthmusError(
                f"the stage {stage.name!r} cannot have an option {name!r}, which a run has once: "
                f"pass {name} to the run"
            )
        if name not in allowed:
            raise unknown(f"option of the stage {stage.name!r}", name, allowed)
    if stage_options.get("patience") is not None and not watched:
        raise IsthmusError(
            f"patience={stage_options['patience']} of the stage {stage.name!r} needs something to "
            "watch: set validation=0.1"
        )
    try:
        return TrainingOptions(**{**options.model_dump(), **stage_options})
    except ValidationError as problem:
        first = problem.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise IsthmusError(
            f"the option {name}={first['input']!r} of the stage {stage.name!r} cannot be: "
            f"{first['msg'][0].lower()}{first['msg'][1:]}"
        ) from None


def check_legs(model: Autoencoder, legs: list[Leg]) -> None:
    """See that each stage has weights to train and an optimiser for them.

    Otherwise the mistake in a second stage would show when the first one has been trained.
    """
    present = model.stage
    try:
        for number, leg in enumerate(legs):
            if leg.stage is None:
                continue
            model.stage = number
            check_groups(model, leg.options.groups)
            for player, named in owners(model, model.players(), leg.stage.trains).items():
                weights = [(name, p) for name, p in named if p.requires_grad]
                if not weights:
                    raise IsthmusError(
                        f"{leg.owner} trains nothing of the {player}: unfreeze some of its "
                        "weights, or name others in trains=(...)"
                    )
                make_optimiser(weights, leg.options)
    finally:
        model.stage = present
