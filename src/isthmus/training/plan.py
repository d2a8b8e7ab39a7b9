"""How long a run is, what it watches, and when it may end: fixed before the first step.

``length=published`` trains as long as the recipe's page says. ``length=auto``, the default, holds
out a share of the rows, trains until nothing is gained on them any more and keeps the best weights.
Its ceiling is the smallest of three: the published length; :data:`MOST_PASSES` passes over the
data (:data:`LEAST_STEPS` steps where they are few); and as many steps as two ordinary cores do in
about :data:`WORK_SECONDS` seconds, by counted work (:mod:`isthmus.training.cost`), so that the same
data and options give the same plan everywhere. ``minutes`` puts a measured ceiling in the place of
the counted one. ``steps`` and ``epochs`` mean what they say.
"""

import math
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from isthmus.anatomy import EMA, Autoencoder, Clock, Schedule, Source
from isthmus.errors import IsthmusError
from isthmus.training.cost import counted, timed
from isthmus.training.device import resolve_device
from isthmus.training.optimisers import LR_SCHEDULES
from isthmus.training.options import TrainingOptions
from isthmus.training.scores import expected_seconds
from isthmus.training.stages import Leg, legs_of

WORK_SECONDS = 75.0
MOST_PASSES = 300
LEAST_STEPS = 3000
HELD_SHARE = 0.1
LEAST_HELD, MOST_HELD = 32, 2048
FEWEST_HELD = 8
VALIDATIONS = 40
PATIENCE = 6
MIN_GAIN = 0.005
"""Part of what was gained so far that :data:`PATIENCE` validations have to gain together."""
LEFT = 0.25
"""Part of a budget of minutes that is for the steps whatever it takes to begin and to end: the
first model of a process waits for PyTorch to load its optimisers."""
VALIDATED = 1.15
"""What a run takes, in times of its steps, with validations."""
NEVER = 0.95
"""Part of a run after which nothing that settles is waited for."""
_LOOKS = 400


@dataclass(frozen=True)
class Plan:
    """What was fixed before the first step, for the record of a run.

    ``length`` is ``auto``, ``published`` or ``stated`` (steps or epochs were given), ``steps`` the
    longest that the run can be and ``bound`` what set that. ``published`` are the steps that the
    recipe's page asks for on these rows, where it does. ``stops`` says whether it ends sooner where
    nothing is gained; where not, ``why`` says why not. ``threads`` are those of PyTorch.
    """

    length: str
    steps: int
    bound: str
    rows: int
    held: int
    passes: float
    published: int | None
    stops: bool
    why: str
    threads: int
    minutes: float | None = None
    seconds_per_step: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For ``config.json``."""
        return asdict(self)

    @property
    def shrunk(self) -> float:
        """The planned part of the published steps, by which ramps stated in steps shrink."""
        return min(1.0, self.steps / self.published) if self.published else 1.0

    def __str__(self) -> str:
        passes = f"{self.passes:,.0f} passes" if self.passes >= 2 else f"{self.passes:.2g} passes"
        long = f"{self.steps:,} steps ({passes}; {self.bound})"
        if not self.stops:
            return f"{long}, all of them, since {self.why}"
        return (
            f"at most {long}, ending sooner where nothing is gained on {self.held:,} held-out rows"
        )


def is_auto(options: TrainingOptions, asked: Collection[str]) -> bool:
    """Whether a run ends by itself; ``asked`` are the names of the options that were given.

    ``steps`` or ``epochs`` alone mean exactly that; beside ``length=auto`` they are its ceiling.
    """
    stated = {"steps", "epochs"} & set(asked)
    return options.length == "auto" and (not stated or "length" in asked)


def watching(
    options: TrainingOptions, asked: Collection[str], rows: int, own: bool
) -> TrainingOptions:
    """The options with the share of rows that ``auto`` holds out.

    A tenth, at least :data:`LEAST_HELD` (or a fifth, where that is fewer) and at most
    :data:`MOST_HELD` rows; none where that would be fewer than :data:`FEWEST_HELD`, or where
    ``own`` says that the user has validation rows.
    """
    if not is_auto(options, asked) or "validation" in asked or own:
        return options
    held = min(MOST_HELD, max(math.ceil(HELD_SHARE * rows), min(LEAST_HELD, rows // 5)))
    if held < FEWEST_HELD:
        return options
    # The split takes the ceiling of share times rows, which rounding must not carry over.
    return options.model_copy(update={"validation": (held - 0.5) / rows})


def planned(
    model: Autoencoder,
    source: Source,
    options: TrainingOptions,
    asked: Collection[str],
    held: int,
    *,
    parallel: int = 1,
) -> tuple[TrainingOptions, Plan]:
    """The options with everything about the length fixed, and the plan.

    ``source`` are the rows to train on and ``held`` the number of those held out. ``parallel`` is
    how many runs share ``minutes``.
    """
    began = time.perf_counter()
    auto, stated = is_auto(options, asked), bool({"steps", "epochs"} & set(asked))
    per_pass = max(1, len(source) // options.batch_size)
    states = options.steps is not None or options.epochs is not None
    ceiling = options.total_steps(per_pass) if states or not auto else None
    bounds = {} if ceiling is None else {"as stated" if stated else "the published length": ceiling}
    if auto:
        bounds["bound on passes"] = max(MOST_PASSES * per_pass, LEAST_STEPS)
    seconds = None
    guess = min(bounds.values())
    legs = legs_of(model, options, max(guess, len(model.stages)), watched=held > 0)
    if options.minutes is not None:
        device = resolve_device(options.device)
        seconds = timed(model, source, options, legs, device)
        after = parallel * expected_seconds(model, len(source), seconds / options.batch_size)
        left = 60.0 * options.minutes - (time.perf_counter() - began) - after
        left = max(left, LEFT * 60.0 * options.minutes)
        fits = left / (parallel * seconds * (VALIDATED if held else 1.0))
        bounds[f"minutes={options.minutes:g}"] = max(1, int(fits))
    elif auto:
        step = counted(model, source, options, legs)
        bounds["what two cores do in a minute or two"] = max(1, int(WORK_SECONDS / step))
    bound = min(bounds, key=bounds.__getitem__)
    steps = max(bounds[bound], len(model.stages), 1)
    if not stated and len(model.stages) > steps:
        raise IsthmusError(f"minutes={options.minutes:g} are too few for a step: give it more")
    length = "auto" if auto else "stated" if stated else "published"
    changed: dict[str, Any] = {}
    if auto or options.minutes is not None:
        changed = {"steps": steps, "epochs": None, "minutes": None}
        if options.warmup and "warmup" not in asked and ceiling is not None:
            changed["warmup"] = max(1, round(options.warmup * min(1.0, steps / ceiling)))
    why = _why(model, options, held, auto)
    if auto and held:
        changed.update(_watch(options, asked, steps, held, stops=not why))
    minutes = options.minutes
    options = options.model_copy(update=changed)
    return options, Plan(
        length, steps, bound, len(source), held, steps / per_pass, ceiling,
        options.patience is not None and not why, why, torch.get_num_threads(),
        minutes=minutes, seconds_per_step=seconds,
    )  # fmt: skip


def _watch(
    options: TrainingOptions, given: Collection[str], steps: int, held: int, *, stops: bool
) -> dict[str, Any]:
    """How often the held-out rows are looked at, and for how long nothing may be gained.

    A look costs a third of a step for each batch, which is kept to a sixth of the run. Where the
    rate falls to the end, gains come until the end: the best weights are kept, and nothing stops.
    """
    batches = math.ceil(held / options.batch_size)
    defaults: dict[str, Any] = {
        "validate_every": max(math.ceil(steps / VALIDATIONS), 2 * batches),
        "patience": PATIENCE,
        "min_gain": MIN_GAIN,
    }
    defaults = {k: v for k, v in defaults.items() if k not in given}
    if not stops and "patience" not in given:
        falling = falls(options, steps)
        defaults["patience"] = 10 * VALIDATIONS if falling else None
    return defaults


def _why(model: Autoencoder, options: TrainingOptions, held: int, auto: bool) -> str:
    """Why a run goes on to its last step; empty where it may end sooner."""
    if not auto:
        return "" if options.patience is not None else "the length was asked for"
    if reason := silent(model):
        return reason
    if not held:
        return "no rows are held out"
    if falls(options, 1000):
        return "the learning rate falls to the end (the best weights are kept)"
    return ""


def falls(options: TrainingOptions, steps: int) -> bool:
    """Whether the learning rate falls in the last quarter of a run."""
    shape = LR_SCHEDULES[options.lr_schedule](steps)
    return float(shape(Clock(3 * steps // 4, steps))) != float(shape(Clock(steps - 1, steps)))


def silent(model: Autoencoder) -> str:
    """Why the held-out loss of a model does not tell how good it is; empty where it does.

    Players pull in opposite directions; a joint embedding's loss is about the embedding alone, a
    teacher's about a target that moves; weights that a control adapts price the same terms
    differently from one moment to the next, and what a schedule changes until the end cannot be
    compared at all.
    """
    if model.solver is not None:
        return "it is fitted in closed form"
    present = model.stage
    try:
        for number in range(len(model.objectives)):
            model.stage = number
            if len(model.players()) > 1:
                return "players have losses of their own, which do not say how good the model is"
            if any(isinstance(part, EMA) for part in model.modules()):
                return "its loss is about a teacher that moves"
            if any(not part.weight.of_clock for part in model.objective):
                return "a weight of its loss is adapted as it trains"
            if settles(model, 1000) >= NEVER * 1000:
                return "its loss changes until the end"
    finally:
        model.stage = present
    if model.decoder is None:
        return "a joint embedding's loss does not say how good the embedding is"
    return ""


def settles(model: Autoencoder, steps: int) -> int:
    """From which of ``steps`` steps on the loss of the present stage is the same function.

    That is when the last schedule has its last value: of a term's weight, or within a part. It is
    found by looking at each at :data:`_LOOKS` places.
    """
    places = sorted({steps * i // _LOOKS for i in range(_LOOKS + 1)})
    last = 0
    for schedule in _schedules(model):
        end = schedule(Clock(steps, steps))
        changed = [i for i, p in enumerate(places) if schedule(Clock(p, steps)) != end]
        if changed:
            last = max(last, places[min(changed[-1] + 1, len(places) - 1)])
    return last


def settled(model: Autoencoder, leg: Leg) -> int:
    """From which step of the run on the losses of a stage can be compared.

    At the latest its last one; its first where they change until the end, and whoever asked for
    patience compares what there is.
    """
    steps = settles(model, leg.steps)
    return leg.start + (steps if steps < NEVER * leg.steps else 0)


def steady(leg: Leg) -> int:
    """From which step of the run on the learning rate of a stage falls no more.

    Of runs for which a gain has to be large enough (:attr:`TrainingOptions.min_gain`); whoever
    counts every gain has asked for patience from the start.
    """
    if not leg.options.min_gain:
        return leg.start
    shape = LR_SCHEDULES[leg.options.lr_schedule](leg.steps)
    places = sorted({leg.steps * i // _LOOKS for i in range(_LOOKS)} | {leg.steps - 1})
    end = float(shape(Clock(leg.steps - 1, leg.steps)))
    changed = [i for i, p in enumerate(places) if float(shape(Clock(p, leg.steps))) != end]
    return leg.start + (places[min(changed[-1] + 1, len(places) - 1)] if changed else 0)


def _schedules(model: Autoencoder) -> Iterator[Schedule]:
    """All that follow the clock: weights of the present objective, and what parts have."""
    resting = {id(m) for o in model.objectives if o is not model.objective for m in o.modules()}
    values = [v for m in model.modules() if id(m) not in resting for v in vars(m).values()]
    for value in (*(part.weight for part in model.objective), *values):
        if isinstance(value, Schedule) and value.of_clock:
            yield value
