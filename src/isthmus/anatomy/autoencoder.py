"""The autoencoder: corruption, encoder, bottleneck, decoder, target and objective, put together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from isthmus.anatomy import dictionary, tree
from isthmus.anatomy.batch import Batch, Given, Step
from isthmus.anatomy.code import Code
from isthmus.anatomy.dictionary import LinearDecoder, Residual, reads_z
from isthmus.anatomy.each import Each, EachScaler, Only, select
from isthmus.anatomy.expect import expect
from isthmus.anatomy.inference import Inference
from isthmus.anatomy.known_names import KnownNames
from isthmus.anatomy.likelihood import Gaussian, Likelihood
from isthmus.anatomy.objective import Critics, Objective, Term, as_objective
from isthmus.anatomy.output import Output, View
from isthmus.anatomy.part import EMA, Look, Part, Prior, Sampler, check_plain, parts_with
from isthmus.anatomy.players import Player, Stage, covers, default_players, owner_of
from isthmus.anatomy.preparation import Preparation
from isthmus.anatomy.ragged import Ragged
from isthmus.anatomy.scaler import Scaler
from isthmus.anatomy.schedule import Clock
from isthmus.anatomy.shape_errors import check_misfit
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.signature import ROLES, ask, check_role, needed_words
from isthmus.anatomy.target import Target
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from isthmus.anatomy.solver import Solver


T = TypeVar("T")


class Bottleneck(Protocol):
    """What makes it an autoencoder: any module with this call."""

    def __call__(self, h: Any, *, sample: bool = False) -> Code: ...


class Autoencoder(Inference, KnownNames, nn.Module):
    """Parts put together.

    Any :class:`~torch.nn.Module` is a part as it is. What a part wants besides its first argument
    it names as keyword-only parameters of its ``forward``: ``view``, ``batch``, ``mask``,
    ``given``, ``step``, ``model``, ``code``, ... (:mod:`isthmus.anatomy.signature`). What may
    happen to it besides being called, a :class:`~isthmus.anatomy.Part` says.

    encoder
        From ``(rows, *shape)``, or a tree of these, to what the bottleneck reads.
    bottleneck
        ``(h, sample=False) -> Code``.
    decoder
        From ``z`` to the parameters of the likelihood, ``(rows, *shape)``, or from the code where
        its forward is ``(self, *, code)``; None for a joint embedding. A dictionary may offer its
        error directly (:class:`~isthmus.anatomy.dictionary.LinearDecoder`).
    objective
        A term or a sum of terms.
    corruption
        From x to a :class:`View`, or to a list of several.
    target
        What is to be rebuilt, as a function of the clean batch; the batch itself by default, a
        :class:`Target` where it has a mask of its own. A
        corruption that redraws the data (see :attr:`View.target`) takes the clean batch's place.
    likelihood
        How the decoder's output becomes a reconstruction; unit Gaussian by default.
    critics
        The networks of further players, by the name that their terms carry.
    prior
        Samples codes: a :class:`Prior`, or a function ``n -> (n, latent)``.
    scaler
        The affine map from the user's units to the model's. Without one, ``fit`` chooses it as it
        does for a recipe; ``Scaler(signal.shape, "none")`` leaves the data as they are.
    solver
        Fits the model in closed form, instead of the gradient trainer.
    parts
        Further parts by name: teachers, predictors, whatever terms use.
    players
        Who trains what, where it is more than one player a critic (:class:`Player`).
    stages
        Fits that follow one another in a run (:class:`Stage`), in the place of one objective.

    ``fit`` leaves ``config`` (recipe, options), ``history`` (the log's records) and
    ``reference_rows`` (a few inputs, in the user's units) on the model.
    """

    objectives: nn.ModuleList
    prior: Prior | None

    def __init__(
        self,
        signal: Signal,
        *,
        encoder: nn.Module,
        bottleneck: nn.Module,
        decoder: nn.Module | None,
        objective: Objective | Term | None = None,
        corruption: nn.Module | None = None,
        target: Callable[..., Tree] | nn.Module | None = None,
        likelihood: Likelihood | None = None,
        critics: Mapping[str, nn.Module] | None = None,
        prior: Prior | Callable[[int], Tensor] | None = None,
        scaler: Scaler | None = None,
        solver: "Solver | None" = None,
        parts: Mapping[str, nn.Module] | None = None,
        players: Sequence[Player] = (),
        stages: Sequence[Stage] = (),
    ) -> None:
        super().__init__()
        self.signal = signal
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        if (objective is None) == (not stages):
            raise IsthmusError("a model has an objective or stages: pass one of the two")
        self.stages = tuple(stages)
        self.stage = 0
        """The stage that is trained, of a model that has several."""
        objectives = [] if objective is None else [as_objective(objective)]
        self.objectives = nn.ModuleList(
            objectives or [as_objective(stage.objective) for stage in stages]
        )
        self.corruption = corruption
        self.target = target
        self.likelihood = likelihood or Gaussian()
        self.critics = Critics(dict(critics or {}))
        self.parts = nn.ModuleDict(dict(parts or {}))
        self.prior = prior  # type: ignore[assignment]  # a function is made one
        self.scaler_given = scaler is not None
        """Whether a scaler was chosen; otherwise ``fit`` chooses."""
        self.scaler = scaler or scaler_for(signal)
        self.solver = solver
        self.prepared: set[int] = set()
        """The stages in which it was set up from data: that happens once in its life."""
        self.given_players = tuple(players)
        self.preparation: Preparation | None = None
        """What makes the user's data the model's rows, where ``fit`` learnt one."""
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.reference_rows: Batch | None = None
        self._check()

    def _check(self) -> None:
        """What can be known before any data: roles, names, players."""
        for role in ROLES:
            _check_part(vars(self).get(role) or self._modules.get(role), role)
        check_plain(self)
        for part in self.modules():
            if isinstance(part, EMA) and not len(part.copies):
                part.follow(self)
        titles = [stage.name for stage in self.stages]
        for title in titles:
            if titles.count(title) > 1:
                raise IsthmusError(f"two stages are named {title!r}: give each a name of its own")
        names: set[str] = set()
        for objective in self.objectives:
            assert isinstance(objective, Objective)
            names.update(objective.players)
        for player in self.given_players:
            if player.name not in names:
                raise unknown("player, whom no term belongs to,", player.name, names)
        for number in range(len(self.objectives)):
            self.stage = number
            self.players()
        self.stage = 0

    def __setattr__(self, name: str, value: Any) -> None:
        # A function where a part may be is welcome: it is made one.
        if name == "prior" and value is not None and not isinstance(value, Prior):
            value = Sampler(value)
        if name == "objective":  # a property: no module of that name is registered
            type(self).objective.fset(self, value)  # type: ignore[attr-defined]
            return
        if name in ROLES:
            _check_part(value, name)
        super().__setattr__(name, value)

    @property
    def objective(self) -> Objective:
        """What is minimised: of several stages, that of the present one."""
        present = self.objectives[self.stage]
        assert isinstance(present, Objective)
        return present

    @objective.setter
    def objective(self, value: Objective | Term) -> None:
        self.objectives[self.stage] = as_objective(value)

    def players(self) -> list[Player]:
        """Who steps, in turn, under the present objective."""
        players: Sequence[Player] = self.stages[self.stage].players if self.stages else ()
        players = players or [p for p in self.given_players if p.name in self.objective.players]
        return default_players(self.objective, list(self.critics), players)

    def part_as(self, name: str, kind: type[T], asker: object) -> T:
        """The part of that name, dotted or not, which has to be a ``kind``: see :func:`expect`."""
        try:
            part: object = self.get_submodule(name)
        except AttributeError:  # also of a part that is None
            part = None
        return expect(part, kind, name, asker)

    # --- the training path -------------------------------------------------------------------

    def forward(self, x: Tree | Batch, step: Step | Clock | None = None) -> Output:
        """The path that the objective sees: corrupted, sampled. ``x`` is in the user's units."""
        batch = x if isinstance(x, Batch) else Batch(x)
        if isinstance(step, Clock):
            step = Step(step)
        x = self.scaled(batch)
        views = self._views(x, batch, step)
        codes = [self._code_of(view, batch, step, sample=True) for view in views]
        target, mask = self._target(x if views[0].target is None else views[0].target, batch, step)
        out = Output(x, target, views, codes, step=step or Step(), batch=batch, mask=mask)
        if self.decoder is not None and self.objective.rebuilds:
            out.likelihood = self.likelihood
            if mask is None:
                out.residual = self._residual(codes[0], target)
            if out.residual is None:
                out.params = self.decode_code(codes[0], view=views[0], batch=batch, step=step)
        return out

    def scaled(self, batch: Batch) -> Tree:
        """A batch in the model's units; what was not observed is 0 there, whatever it was.

        A model in half or double precision gets it in that.
        """
        x, dtype = self.scaler(batch.x), self.dtype
        if dtype != torch.float32:
            x = tree.mapped(lambda leaf: _as_dtype(leaf, dtype), x)
        return x if batch.mask is None else tree.mapped(_blank, x, batch.mask)

    def _views(self, x: Tree, batch: Batch, step: Step | None) -> list[View]:
        if self.corruption is None:
            return [View(x, mask=batch.mask)]
        views = ask(self.corruption, x, model=self, mask=batch.mask, **_about(batch, step))
        views = views if isinstance(views, list) else [views]
        for view in views:
            view.mask = batch.mask if view.mask is None else view.mask
        return views

    def encode_view(self, view: View, batch: Batch | None = None, step: Step | None = None) -> Any:
        """What the bottleneck reads: the encoder's output for a view."""
        part = self.encoder if view.by is None else self._named(view.by)
        about = _about(batch, step)
        try:
            return ask(part, view.x, view=view, model=self, mask=view.mask, **about)
        except RuntimeError as problem:
            check_misfit("encoder", part, view.x, problem)
            raise

    def _named(self, name: str) -> nn.Module:
        if name not in self.parts:
            raise unknown("part that encodes a view", name, self.parts)
        return self.parts[name]

    def _code_of(self, view: View, batch: Batch | None, step: Step | None, *, sample: bool) -> Code:
        h = self.encode_view(view, batch, step)
        if isinstance(h, Code):  # of an average that has its own bottleneck
            return h
        code = ask(
            self.bottleneck,
            h,
            sample=sample,
            view=view,
            model=self,
            mask=view.mask,
            **_about(batch, step),
        )
        if not isinstance(code, Code):
            raise IsthmusError(
                f"the bottleneck {type(self.bottleneck).__name__} returned a "
                f"{type(code).__name__}: return a Code, such as isthmus.anatomy.Code(z)"
            )
        return code

    def _target(self, x: Tree, batch: Batch, step: Step | None) -> tuple[Tree, Tree]:
        """What is to be rebuilt, and which of its entries are observed."""
        if self.target is None:
            return x, batch.mask
        target = ask(self.target, x, model=self, mask=batch.mask, **_about(batch, step))
        if isinstance(target, View):
            return target.x, target.mask
        mask = batch.mask
        if isinstance(mask, Mapping):
            # A target that is a branch of the data has that branch's mask.
            target_mask = (
                mask
                if isinstance(target, Mapping)
                else ask(self.target, mask, model=self, mask=mask, **_about(batch, step))
            )
            mask = select(target_mask, target) if isinstance(target, Mapping) else target_mask
        return target, mask

    def _residual(self, code: Code, target: Tree) -> Residual | None:
        direct = isinstance(self.decoder, LinearDecoder) and isinstance(self.likelihood, Gaussian)
        return self.decoder.error(code, target) if direct else None  # type: ignore[operator,union-attr]

    def decode_code(
        self,
        code: Code,
        *,
        view: View | None = None,
        batch: Batch | None = None,
        step: Step | None = None,
        generator: torch.Generator | None = None,
    ) -> Tree:
        """Parameters of the likelihood for a code, sample axis kept, in the model's units.

        ``view`` and ``batch`` are what the code is of, where the decoder may see that: on the
        training path and where rows are scored, but not where they are rebuilt.
        """
        decoder = self._need_decoder()
        origin = batch if view is None else view
        mask = None if origin is None else origin.mask
        about = {"view": view, "mask": mask, "model": self, "generator": generator}
        about.update(_about(batch, step))
        if not reads_z(decoder):
            return ask(decoder, code=code, **about)
        z = code.z if code.samples is None else code.z.flatten(0, 1)
        try:
            params = ask(decoder, z, code=code, **about)
        except RuntimeError as problem:
            check_misfit("decoder", decoder, z, problem)
            raise
        if code.samples is None:
            return params
        return tree.mapped(lambda leaf: leaf.unflatten(0, (code.samples, -1)), params)

    def unscaled(self, recon: Tree, of: Tree = None) -> Tree:
        """A reconstruction in the user's units: of a target that is one part, by its scaler.

        ``of`` are the rows that were rebuilt, in the user's units: see :meth:`Scaler.inverse`.
        """
        if isinstance(self.target, Target):
            recon = self.target.inverse(recon)
        scaler = self.scaler if isinstance(recon, Mapping) else self.scaler_of("written")
        if isinstance(recon, Ragged):
            return recon.mapped(scaler.inverse)
        return scaler.inverse(recon, of if isinstance(of, Tensor) else None)

    def _need_decoder(self) -> nn.Module:
        if self.decoder is None:
            raise IsthmusError("this model has no decoder: it embeds, it does not rebuild")
        return self.decoder

    def clean_code(self, x: Tree | Batch) -> Code:
        """The deterministic code of uncorrupted rows.

        A tree is in the model's units. A :class:`Batch` is in the user's, as its source gave it,
        and parts that ask for the batch get that.
        """
        if not isinstance(x, Batch):
            return self._code_of(View(x), None, None, sample=False)
        return self._code_of(View(self.scaled(x), mask=x.mask), x, None, sample=False)

    def atoms(self) -> Tree:
        """What one unit of each latent adds to the reconstruction, ``(width, d)``; else None.

        In the user's units, without gradients; None where the decoder is no linear dictionary. Of
        a target that is one part of the data ``d`` is that part's size; of several parts the atoms
        are a tree of their names.
        """
        directions = dictionary.atoms(self)
        return None if directions is None else tree.mapped(lambda rows: rows.detach(), directions)

    def read_rows(self) -> tuple[Tensor, Tensor] | None:
        """Pre-activations of rows ``x`` in the user's units are ``x @ rows.T + bias``; else None.

        ``rows`` ``(width, elements read)`` and ``bias`` ``(width,)``, without gradients. None where
        the encoder is not linear. Of a model that reads one part of the data, ``x`` is that part.
        """
        readout = dictionary.read_rows(self)
        return None if readout is None else (readout[0].detach(), readout[1].detach())

    def scaler_of(self, role: str) -> Scaler:
        """The scaler of what is ``read`` or ``written``, where that is one part of a collection."""
        if not isinstance(self.scaler, EachScaler):
            return self.scaler
        names = self.scaler.names
        if role == "written" and isinstance(self.target, Only):
            names = self.target.names
        elif role == "read" and isinstance(self.encoder, Each):
            names = self.encoder.names
        scaler: Scaler = self.scaler[names[0]]
        return scaler

    # --- setting up ---------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the model's parameters (or, without any, its buffers) are."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the encoder's weights, or of the first there are; float32 else."""
        for tensor in chain(self.encoder.parameters(), self.parameters()):
            if tensor.is_floating_point():
                return tensor.dtype
        return torch.float32

    def prepare(
        self,
        x: Tree | Batch,
        *,
        rows: int | None = None,
        batch_size: int = 0,
        steps: int = 0,
        source: Any = None,
    ) -> None:
        """Set the model up from a sample of the data, in the user's units (see :class:`Look`)."""
        batch = x if isinstance(x, Batch) else Batch(x)
        if self.stage == 0:
            if batch.mask is None:
                self.scaler.fit(batch.x)
            else:
                self.scaler.fit(batch.x, batch.mask)
            truths = None if source is None else source.base(torch.arange(0))[0].truths
            if truths is not None and isinstance(self.scaler, Scaler) and any(truths):
                self.scaler.leave(torch.tensor(list(truths)))
        count = len(batch) if rows is None else rows
        if self.decoder is not None:
            self.likelihood.check(*self._target(self.scaled(batch), batch, None))
        look = Look(self.scaled(batch), batch, count, batch_size, steps, source)
        names = {id(module): name for name, module in self.named_modules()}
        for part in parts_with(self, "prepare"):
            if self._first_stage(names[id(part)]) == self.stage:
                part.prepare(self, look)

    def _first_stage(self, name: str) -> int:
        """The first stage that trains the part of that name: in it the part is set up."""
        for number, stage in enumerate(self.stages):
            patterns = (*stage.trains, f"objectives.{number}")
            if any(covers(pattern, name) for pattern in patterns):
                return number
        return 0

    def player_parameters(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that a player trains."""
        players = self.players()
        for name, parameter in self.named_parameters():
            if owner_of(name, players) == player:
                yield parameter

    @property
    def cost(self) -> dict[str, float]:
        """Forward passes that encoding and decoding a row cost, as the parts say."""
        parts = {"encode": (self.encoder, self.bottleneck), "decode": (self.decoder,)}
        return {
            name: max((p.passes for p in some if isinstance(p, Part)), default=1.0)
            for name, some in parts.items()
        }


def scaler_for(signal: Signal, mode: Any = "none") -> Scaler:
    """The scaler of a signal; of a collection one for each part."""
    if signal.kind != "collection":
        return Scaler(signal.shape, mode)
    parts = {n: scaler_for(p, mode if p.is_real else "none") for n, p in signal.parts.items()}
    return EachScaler(parts)


def _check_part(part: Any, role: str) -> None:
    """What a part, or any part of Each, asks for; in a Sequential nothing can be asked for."""
    if isinstance(part, Each):
        for _, inner in part.items():
            _check_part(inner, role)
    elif type(part) is nn.Sequential:
        for inner in part.modules():
            words = () if isinstance(inner, (Each, nn.Sequential)) else needed_words(inner)
            if words:
                raise IsthmusError(
                    f"{type(inner).__name__} asks for {words[0]!r}, which nn.Sequential does not "
                    f"pass on: write a module that asks for it and calls the others, as the {role}"
                )
    elif part is not None:
        check_role(part, role)


def _blank(leaf: Any, mask: Tensor | None) -> Any:
    return tree.observed(leaf, mask) if isinstance(leaf, Tensor) else leaf


def _as_dtype(leaf: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(leaf, Tensor) and leaf.is_floating_point()
    return leaf.to(dtype) if floats else leaf


def _about(batch: Batch | None, step: Step | None) -> dict[str, Any]:
    given = Given() if batch is None else batch.given
    return {"batch": batch, "given": given, "step": step}
