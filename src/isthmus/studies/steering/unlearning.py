"""Unlearning by clamping latents below zero, against zeroing them and against fine-tuning."""

# About 1.3 CPU minutes a seed: the host 10 s, two dictionaries of 1500 steps at 6 ms, RMU 4 x 300
# steps, and some 220 edits that are judged.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder
from isthmus.data.made.domains import Domains, Questions
from isthmus.evaluation import fvu
from isthmus.interpretation import Steering, spliced
from isthmus.interpretation.selection import firing_shares, ranked_latents
from isthmus.language import Decoder, LanguageModel, Shape
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.steering.planted_facts import cross_entropy, trained
from isthmus.studies.steering.rmu import rmu

LAYER = 0
POINT = f"layers.{LAYER}"
"""The residual stream between the two layers."""

WIDTH, HEADS = 64, 4
STEPS, BATCH = 300, 64
TEXT_ROWS, CHOOSING_ROWS, JUDGING_ROWS = 1536, 512, 128
DICTIONARY: dict[str, Any] = {
    "latent_dim": 512, "k": 8, "steps": 1500, "batch_size": 512, "lr": 3e-3,
    "lr_schedule": "linear", "average": None,
}  # fmt: skip

RETAINED = (0.001, 0.003, 0.01)
"""Latents that are active on a larger share of the retained text are left out: three settings up
to the published 0.01."""

COUNTS = (1, 2, 5, 10, 20)
CLAMPS = (5.0, 10.0, 20.0, 40.0)
"""What active latents are set to, negative; activations have a mean length of 8 in these units."""

DRAWS = 2
"""Repetitions of the random choice, each with as many latents and settings as the method has."""

SIZES, ALPHAS, RMU_RATE = (2.0, 6.0), (10.0, 100.0), 2e-3
"""Settings of RMU: the length of its random vector in mean lengths of an activation, its weight of
the retained text, and its learning rate."""
RMU_STEPS, RMU_ROWS = (30, 100, 300), 32

ALLOWANCES = (0.01, 0.02, 0.05)
"""Rises of the cross-entropy of retained text that are allowed, as shares; the last decides."""


@dataclass(frozen=True)
class Seen:
    """What an edit does to one half of the facts, and to one text.

    Points of accuracy that it cuts about the facts to be forgotten (``cut``) and about those to be
    retained (``side``), and the relative ``rise`` of the cross-entropy of retained text.
    """

    cut: float
    side: float
    rise: float


@dataclass(frozen=True)
class Outcome:
    """An edit of ``count`` latents, on what settings are chosen by, and on what they are judged."""

    choosing: Seen
    judging: Seen
    count: int = 0


NOTHING = Outcome(Seen(0.0, 0.0, 0.0), Seen(0.0, 0.0, 0.0))


def chosen(outcomes: Sequence[Outcome], allowed: float) -> Seen:
    """What the setting of the largest cut within a rise does elsewhere than where it was chosen.

    Doing nothing is always allowed.
    """
    within = [one for one in outcomes if one.choosing.rise <= allowed]
    best = max(within, key=lambda one: (one.choosing.cut, -one.choosing.rise), default=NOTHING)
    return (best if best.choosing.cut > 0 else NOTHING).judging


def _figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The trade-off, and the cut by single latents."""
    best = chosen(outcomes, ALLOWANCES[-1])
    single = [one for one in outcomes if one.count == 1]
    return {
        "cut": best.cut,
        "rise": 100.0 * best.rise,
        "kept_cut": best.side,
        "beyond_kept": best.cut - best.side,
        "cut_with_1": chosen(single, ALLOWANCES[-1]).cut,
        **{f"cut_at_{100 * a:g}": chosen(outcomes, a).cut for a in ALLOWANCES},
    }


@experiment(
    "unlearning",
    family="steering",
    catalogue=56,
    paper="Farrell, Lau, Conmy 2024, Applying sparse autoencoders to unlearn knowledge in language "
    "models, arXiv:2410.19278",
    statement="Negative scaling of the latents of a topic is needed to take knowledge away: "
    "setting them to zero does not.",
    headline="No single number in the abstract. Gemma 2b-it and Gemma 2 2b-it, WMDP-bio against "
    "MMLU, dictionaries with 16k latents.",
    setting="A language model of two layers (width 64, 300 steps of 64 rows) trained on two "
    "domains of 160 facts, each with its own subjects, relations, answers and jargon, and on plain "
    "text. TopK dictionary (512 latents, k = 8, 1500 steps) on the residual stream between the "
    "layers. Latents that are active on at most 0.1, 0.3 or 1 % of the retained text (half facts "
    "of the other domain, half plain), in order of how often they are active on the text to be "
    "forgotten; 1 to 20 of them, four clamps. Questions have four options. Each method has its "
    "settings, and of these the one that cuts most at a rise of at most 5 % in the cross-entropy "
    "of retained text; it is chosen on half of the facts and on one text, and judged on the other "
    "half and on another text. RMU trains the second matrix of the first layer's MLP, four "
    "settings at three numbers of steps. Depth, layout and dictionary were varied on a seed that "
    "does not count, until clamping cut half of the accuracy. The host is data: it is trained in "
    "full whatever the budget.",
    recipes=("topk",),
    seeds=8,
    arms={
        "model": "the language model by itself, and the dictionary",
        "clamp": "active latents of the topic set to a negative number",
        "zero": "the same latents set to zero",
        "random": "random latents clamped, as many choices and settings, mean of two",
        "rmu": "positive control: fine-tuning by RMU, which is known to unlearn",
        "zero again": "control: zeroing once more, with a dictionary from another start",
    },
    primary=Primary(
        less("cut", "clamp", than="zero").named(
            "points of accuracy cut by clamping less those by zeroing, at a rise of at most 5 %"
        ),
        above=0.0,
        positive=less("cut", "rmu", than="zero"),
        negative=less("cut", "zero again", than="zero"),
    ),
    premises=(
        Premise(
            value("forget_accuracy", "model"), above=90.0, why="the model knows it to begin with"
        ),
        Premise(value("fvu", "model"), below=0.1, why="the dictionary rebuilds what it reads"),
        Premise(
            value("rise", "clamp"), below=7.5,
            why="the bound on the damage holds on text that did not choose the setting",
        ),
    ),
    secondary=(
        Secondary(less("cut", "clamp", than="random"), above=0.0),
        Secondary(value("cut_with_1", "clamp"), above=0.0),
        Secondary(value("beyond_kept", "clamp"), above=0.0),
        Secondary(
            less(tuple(f"cut_at_{100 * a:g}" for a in ALLOWANCES), "rmu", than="clamp").named(
                "points cut by RMU less those by clamping, mean over rises of 1, 2 and 5 %"
            ),
            above=0.0,
        ),
    ),
)  # fmt: skip
def unlearning(trial: Trial) -> dict[str, dict[str, float]]:
    """Train, choose latents on one part of the text, and judge all edits on another."""
    world = Domains(trial.seed)
    shape = Shape(world.words.vocabulary, WIDTH, HEADS, LAYER + 2, 32, 4 * WIDTH)
    model = trained(
        world.words, lambda rng: world.everything(BATCH, rng), shape,
        steps=trial.rows(STEPS * BATCH) // BATCH, seed=trial.seed,
    )  # fmt: skip
    rng = np.random.default_rng([trial.seed, 2])
    text = _ordinary(model, world.everything(trial.rows(TEXT_ROWS), rng)).numpy()
    dictionary, other = (
        trial.fit("topk", text, **DICTIONARY, seed=trial.seed + shift) for shift in (0, 1000)
    )
    seen = [
        _ordinary(model, rows)
        for rows in (world.text("forget", CHOOSING_ROWS, rng), world.retained(CHOOSING_ROWS, rng))
    ]
    judge = _Judge(world, model, rng, trial.probing)
    topical, alive = _topical(dictionary, seen)
    random = [
        _figures(judge.clamped(dictionary, [rng.permutation(alive) for _ in RETAINED]))
        for _ in range(DRAWS)
    ]
    held = _ordinary(model, world.everything(128, rng)).numpy()
    return {
        "model": {**judge.before, "fvu": fvu(held, dictionary.reconstruct(held)).value},
        "clamp": _figures(judge.clamped(dictionary, topical)),
        "zero": _figures(judge.zeroed(dictionary, topical)),
        "random": {name: float(np.mean([one[name] for one in random])) for name in random[0]},
        "rmu": _figures([judge.outcome(one) for one in _tuned(world, model, trial)]),
        "zero again": _figures(judge.zeroed(other, _topical(other, seen)[0])),
    }


def _topical(
    dictionary: Autoencoder, seen: Sequence[Tensor]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Latents of the topic by how rare they are elsewhere, and all others that are ever active."""
    forget, retain = (firing_shares(dictionary, rows) for rows in seen)
    topical = [ranked_latents(forget, retain, most, max(COUNTS)) for most in RETAINED]
    return topical, np.setdiff1d(np.flatnonzero(forget + retain), np.concatenate(topical))


class _Judge:
    """Questions and text in two halves: to choose settings by, and to judge what was chosen.

    ``quick`` tries the first of the settings alone.
    """

    def __init__(
        self, world: Domains, model: LanguageModel, rng: np.random.Generator, quick: bool
    ) -> None:
        self.model, self.quick = model, quick
        self.asked = [world.questions(name, rng) for name in ("forget", "retain")]
        order = rng.permutation(len(self.asked[0].tokens))
        self.halves = [torch.from_numpy(half) for half in np.array_split(order, 2)]
        self.texts = [torch.from_numpy(world.retained(JUDGING_ROWS, rng)) for _ in self.halves]
        self.clean = self._measured(model)

    @property
    def before(self) -> dict[str, float]:
        """The accuracies of the model without any edit, over all facts, in per cent."""
        right = [np.mean([half[i] for half in self.clean]) for i in range(2)]
        return {"forget_accuracy": float(right[0]), "retain_accuracy": float(right[1])}

    def _measured(self, model: LanguageModel) -> list[tuple[float, float, float]]:
        """Of each half the accuracies about both domains, and the cross-entropy."""
        right = [_is_right(model, questions) for questions in self.asked]
        module = model.module
        assert isinstance(module, Decoder)
        with torch.no_grad():
            nats = [float(cross_entropy(module, text).mean()) for text in self.texts]
        return [
            (100.0 * float(right[0][half].mean()), 100.0 * float(right[1][half].mean()), nat)
            for half, nat in zip(self.halves, nats, strict=True)
        ]

    def outcome(self, model: LanguageModel, edit: Steering | None = None) -> Outcome:
        """What an edit, or another model, does."""
        with spliced(model, {} if edit is None else {POINT: edit}):
            after = self._measured(model)
        choosing, judging = (
            Seen(was[0] - now[0], was[1] - now[1], now[2] / was[2] - 1.0)
            for was, now in zip(self.clean, after, strict=True)
        )
        return Outcome(choosing, judging, 0 if edit is None else len(edit.latents))

    def clamped(self, dictionary: Autoencoder, lists: Sequence[np.ndarray]) -> list[Outcome]:
        """The first latents of each list clamped where active, in all numbers and at all values."""
        return [
            self.outcome(self.model, Steering(
                dictionary, clamp=dict.fromkeys(some, -value), where_active=True
            ))
            for some in self.first(lists) for value in (CLAMPS[-1:] if self.quick else CLAMPS)
        ]  # fmt: skip

    def zeroed(self, dictionary: Autoencoder, lists: Sequence[np.ndarray]) -> list[Outcome]:
        """The first latents of each list set to zero."""
        return [
            self.outcome(self.model, Steering(dictionary, ablate=some))
            for some in self.first(lists)
        ]

    def first(self, lists: Sequence[np.ndarray]) -> list[list[int]]:
        """The first latents of each list, in all numbers that it has."""
        counts = COUNTS[:1] if self.quick else COUNTS
        return [some[:n].tolist() for some in lists for n in counts if n <= len(some)]


def _tuned(world: Domains, model: LanguageModel, trial: Trial) -> Iterator[LanguageModel]:
    """Models that RMU made, for all its settings."""
    some = world.everything(256, np.random.default_rng([trial.seed, 6]))
    length = float(_ordinary(model, some).norm(dim=1).mean())
    for size in SIZES:
        for alpha in ALPHAS:
            yield from rmu(
                model, world.words, LAYER,
                lambda rng: world.text("forget", RMU_ROWS, rng),
                lambda rng: world.retained(RMU_ROWS, rng),
                size=size * length, alpha=alpha, steps=[trial.steps(n) for n in RMU_STEPS],
                rate=RMU_RATE, seed=trial.seed,
            )  # fmt: skip


def _ordinary(model: LanguageModel, rows: np.ndarray) -> Tensor:
    """Activations of all tokens but BOS, ``(tokens, width)``."""
    return Activations(model.module, POINT)(torch.from_numpy(rows))[POINT][:, 1:].flatten(0, 1)


def _is_right(model: LanguageModel, questions: Questions) -> Tensor:
    """1 for each question whose right option is the likeliest of four, else 0."""
    logits = model.logits(questions.tokens)[:, -1].gather(1, questions.options)
    return (logits.argmax(1) == 0).double()
