"""One step of training: a model, its players, their optimisers. No folder, no log, no data.

>>> stepper = Stepper(model, options, total=1000, rows=len(X))
>>> for step in range(1000):
...     losses = stepper.step(batch_of(step), step)
>>> stepper.release()
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import (
    EMA,
    MODEL,
    Autoencoder,
    Batch,
    Clock,
    Losses,
    Output,
    Step,
    View,
    ask,
    tree,
)
from isthmus.anatomy.part import Part, parts_with
from isthmus.anatomy.players import Player, covers, modules_of, owners
from isthmus.errors import IsthmusError
from isthmus.kernels.allocator import keep_freed_memory
from isthmus.training.average import WeightAverage
from isthmus.training.finite_check import FiniteCheck, Investigate
from isthmus.training.optimisers import check_groups, hold, learning_rate, make_optimiser
from isthmus.training.options import TrainingOptions
from isthmus.training.row_adam import RowAdam, row_weights
from isthmus.training.running_statistics import OncePerStep
from isthmus.training.seeding import seeded
from isthmus.training.state import flatten, optimiser_state, restore_optimiser, unflatten

_OF_ROWS = ("x", "visible", "target", "mask")
"""What a view holds for each row."""
_PLAYERS_OWN = ("optimiser", "optimiser_options", "weight_decay")


class Stepper:
    """Trains ``model`` step by step: the state after step t depends on the batches, the options
    and t alone.

    ``total`` is the length of what this stepper trains, for schedules; ``first`` the number of its
    first step within the run; ``rows`` how many rows there are to train on. With ``trains`` (see
    :class:`~isthmus.anatomy.Stage`) the rest of the model is held fixed and in evaluation mode.
    ``report`` is asked for the error to raise where a loss is not finite.
    """

    def __init__(
        self,
        model: Autoencoder,
        options: TrainingOptions,
        *,
        total: int,
        rows: int = 0,
        first: int = 0,
        trains: Sequence[str] | None = None,
        device: torch.device | None = None,
        report: Investigate | None = None,
    ) -> None:
        self.model, self.options, self.total, self.rows = model, options, total, rows
        self.first, self.trains = first, None if trains is None else tuple(trains)
        self.device = device or model.device
        keep_freed_memory()
        model.to(self.device)
        check_groups(model, options.groups)
        self.players = model.players()
        named = owners(model, self.players, self.trains)
        self.named = {
            player: [(n, p) for n, p in pairs if p.requires_grad] for player, pairs in named.items()
        }
        self.parameters = {player: [p for _, p in pairs] for player, pairs in self.named.items()}
        for player, weights in self.parameters.items():
            if not weights:
                raise IsthmusError(f"the {player} has no weights to train: unfreeze some of them")
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.rates: dict[str, Callable[[Clock], float]] = {}
        for each in self.players:
            self._equip(each)
        self.average = None if options.average is None else WeightAverage(model, options.average)
        self._fixed = self._fix()
        self._watch()
        self.finite = FiniteCheck(self.device, report, first, self._again)
        self._once = OncePerStep(model)
        if options.compile:
            for part in (model.encoder, model.decoder):
                if isinstance(part, nn.Module) and any(True for _ in part.parameters()):
                    part.compile()

    def _equip(self, player: Player) -> None:
        """A player's optimiser and learning rate: the run's, where it has none of its own."""
        options = self.options
        settings = {n: getattr(player, n) for n in _PLAYERS_OWN if getattr(player, n) is not None}
        if player.optimiser is not None:
            settings.setdefault("optimiser_options", {})
        if player.lr is not None:
            settings.update(lr=player.lr, lr_batch=None)
        if settings:
            options = options.model_copy(update=settings)
        self.optimisers[player.name] = make_optimiser(
            self.named[player.name], options, row_weights(self.model, self.parameters[player.name])
        )
        self.rates[player.name] = learning_rate(options, self.total)

    def _fix(self) -> list[nn.Parameter]:
        """What no player trains in a stage: it records no gradients until :meth:`release`."""
        if self.trains is None:
            return []
        trained = {id(p) for weights in self.parameters.values() for p in weights}
        fixed = [p for p in self.model.parameters() if p.requires_grad and id(p) not in trained]
        for parameter in fixed:
            parameter.requires_grad_(False)
        return fixed

    def _watch(self) -> None:
        """Who is told of what: the parts of each player, and those that observe."""
        resting = {id(m) for part in self._resting() for m in part.modules()}

        def told(name: str, player: str) -> list[Part]:
            theirs = {id(m) for _, m in modules_of(self.model, player, self.players)}
            parts = parts_with(self.model, name)
            return [p for p in parts if id(p) in theirs and id(p) not in resting]

        names = [player.name for player in self.players]
        self.before = {player: told("before_update", player) for player in names}
        self.after = {player: told("after_update", player) for player in names}
        self.constraints = told("constrain", MODEL)
        self.renewed = [p for p in parts_with(self.model, "every_epoch") if id(p) not in resting]
        self.observers = [p for p in parts_with(self.model, "observe") if id(p) not in resting]

    def _resting(self) -> list[nn.Module]:
        """The parts of the model that a stage leaves alone.

        An average rests where what it follows does, and what has no weights where the encoder does.
        """
        if self.trains is None:
            return []
        trained = {id(p) for weights in self.parameters.values() for p in weights}
        model, trains = self.model, self.trains
        roles = ("encoder", "bottleneck", "decoder", "prior", "likelihood")
        parts = {role: getattr(model, role) for role in roles}
        parts.update({f"critics.{name}": part for name, part in model.critics.items()})
        parts.update({f"parts.{name}": part for name, part in model.parts.items()})
        return [
            part
            for name, part in parts.items()
            if part is not None
            and not any(covers(pattern, name) for pattern in trains)
            and not any(id(p) in trained for p in self._moved_by(part))
        ]

    def _moved_by(self, part: nn.Module) -> list[nn.Parameter]:
        """The weights whose training makes a part work as in training."""
        model = self.model
        if isinstance(part, EMA):
            return [p for name in part.of for p in model.get_submodule(name).parameters()]
        return list(part.parameters()) or list(model.encoder.parameters())

    def train(self) -> None:
        """Training mode, but for what a stage leaves alone."""
        self.model.train()
        for part in self._resting():
            part.eval()

    # --- one step ----------------------------------------------------------------------------

    def clock(self, step: int) -> Clock:
        """Where the run stands at a step, counted from its first."""
        return Clock(step - self.first, self.total, self.options.batch_size, self.rows)

    def lr(self, step: int) -> float:
        """The learning rate of the first player at a step."""
        return self.rates[self.players[0].name](self.clock(step))

    def step(self, batch: Batch, step: int) -> dict[str, Losses]:
        """One step on a batch, and the losses of the players who had their turn."""
        batch = batch.to(self.device)
        clock = self.clock(step)
        losses: dict[str, Losses] = {}
        observed = False
        with self._drawn(step), self._once:
            for player in self.players:
                if clock.step % player.every:
                    continue
                rate = self.rates[player.name](clock)
                for group in self.optimisers[player.name].param_groups:
                    # Asked for afresh: loading an optimiser's state replaces its groups.
                    group["lr"] = rate * group.get("lr_factor", 1.0)
                for _ in range(player.steps):
                    losses[player.name] = self._turn(player.name, batch, clock, observed)
                    observed = True
        if self.average is not None:
            self.average.update(clock.step)
        return losses

    def _turn(self, player: str, batch: Batch, clock: Clock, observed: bool) -> Losses:
        done: list[Losses] = []
        seen: list[Output] = []
        if len(self.players) > 1:
            for name, parameters in self.parameters.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == player)
        parts = self.options.accumulate
        size = len(batch) // parts
        at = Step(clock, player, parts, batch)
        for i in range(parts):
            part = batch if parts == 1 else batch.part(i * size, (i + 1) * size)

            def look(out: Output, last: bool = i == parts - 1) -> None:
                if not observed and self.observers:
                    seen.append(out if parts == 1 else _kept(out))
                    if last:
                        self._observe(seen, at)

            with self.autocast(), _explained():
                out, losses = self._through(part, at, player, look)
            self.finite.see(losses, out, player, part)
            if not losses.total.requires_grad:
                raise IsthmusError(
                    f"the loss of the {player} ({', '.join(losses.terms)}) has no gradient: its "
                    "terms are detached, rounded or computed under no_grad, so nothing would learn"
                )
            (losses.total if parts == 1 else losses.total / parts).backward()
            done.append(losses)
        self._limit(player)
        about: dict[str, Any] = {"model": self.model, "step": at}
        for part_ in self.before[player]:
            ask(part_.before_update, **about)
        about["optimiser"] = optimiser = self.optimisers[player]
        if self.finite.bad is not None:
            self.finite.held = all(hold(o, self.finite.bad) for o in self.optimisers.values())
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        for part_ in self.after[player]:
            ask(part_.after_update, **about)
        return done[0] if parts == 1 else _mean(done)

    def _again(self, out: Output, player: str, batch: Batch) -> tuple[Output, Losses]:
        """The forward pass and the loss of a step that was taken, drawn as then; nothing moves."""
        at = out.step
        drawn = self._drawn(self.first + at.clock.step)
        with drawn, self._once, torch.no_grad(), self.autocast():
            # This process alone: of several ranks the others have nothing to repeat.
            return Stepper._through(self, batch, at, player, lambda _: None)

    def _through(
        self, batch: Batch, at: Step, player: str, look: Callable[[Output], None]
    ) -> tuple[Output, Losses]:
        """The forward pass and the loss; ``look`` is shown the output before the loss is taken."""
        out: Output = self.model(batch, at)
        look(out)
        return out, self.model.objective(self.model, out, player)

    def _drawn(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """A block that draws as a function of the seed and the step."""
        return seeded(self.device, self.options.seed, 4, step)

    def _limit(self, player: str) -> None:
        """Clip a player's gradients, where the options ask for it."""
        if self.options.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters[player], self.options.clip_value)
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters[player], self.options.clip)

    @torch.no_grad()
    def _observe(self, seen: Sequence[Output], step: Step) -> None:
        out = seen[0] if len(seen) == 1 else _joined(seen)
        for part in self.observers:
            ask(part.observe, out, step, model=self.model)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The precision of the forward passes."""
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # --- weights and state -------------------------------------------------------------------

    @contextlib.contextmanager
    def averaged(self) -> Any:
        """The averaged weights in the model for a while, where the run averages."""
        if self.average is None:
            yield
            return
        live = {name: p.detach().clone() for name, p in self.average.live.items()}
        self.use_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.average.live.items():
                    parameter.copy_(live[name])

    def use_average(self) -> None:
        """End on the averaged weights, within the model's constraints."""
        assert self.average is not None
        self.average.apply()
        for part in self.constraints:
            ask(part.constrain, model=self.model)

    def state(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """The optimisers and the average as JSON, their tensors put into ``tensors``."""
        optimisers = {n: optimiser_state(o, n, tensors) for n, o in self.optimisers.items()}
        average = None
        if self.average is not None:
            average = flatten(self.average.mean, "average", tensors)
        return {"optimisers": optimisers, "average": average}

    def restore(self, progress: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go back to what :meth:`state` said."""
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, progress["optimisers"][name], tensors)
        if self.average is not None:
            for name, tensor in unflatten(progress["average"], tensors).items():
                self.average.mean[name].copy_(tensor)

    def release(self) -> None:
        """Leave the model as users meet it."""
        self._once.release()
        for optimiser in self.optimisers.values():
            if isinstance(optimiser, RowAdam):
                optimiser.release()
        for parameters in (*self.parameters.values(), self._fixed):
            for parameter in parameters:
                parameter.requires_grad_(True)


@contextlib.contextmanager
def _explained() -> Any:
    try:
        yield
    except ValueError as problem:
        if "more than 1 value per channel" not in str(problem):
            raise
        raise IsthmusError(
            "batch normalisation needs more than one row at a time: raise batch_size or lower "
            "accumulate"
        ) from problem


def _kept(out: Output) -> Output:
    """What is kept of an accumulated part until the step is observed: no graph."""
    codes = [code.offgraph() for code in out.codes]
    return Output(
        out.x, out.target, out.views, codes, step=out.step, batch=out.batch, mask=out.mask
    )


def _joined(seen: Sequence[Output]) -> Output:
    """The rows of all parts of a batch as one output, without a reconstruction."""
    first = seen[0]
    codes = [type(c).join([out.codes[i] for out in seen]) for i, c in enumerate(first.codes)]
    return Output(
        tree.joined([out.x for out in seen]),
        tree.joined([out.target for out in seen]),
        [_joined_view([out.views[i] for out in seen]) for i in range(len(first.views))],
        codes,
        step=first.step,
        batch=first.step.batch,
        mask=tree.joined([out.mask for out in seen]),
    )


def _joined_view(views: Sequence[View]) -> View:
    """The rows of one view of all parts of a batch."""
    trees = {name: tree.joined([getattr(view, name) for view in views]) for name in _OF_ROWS}
    return View(**trees, by=views[0].by)


def _mean(parts: list[Losses]) -> Losses:
    """The losses of a batch from those of its equal parts."""
    total = torch.stack([part.total.detach() for part in parts]).mean()
    names = parts[0].terms
    terms = {n: torch.stack([part.terms[n] for part in parts]).mean() for n in names}
    return Losses(total, terms)
