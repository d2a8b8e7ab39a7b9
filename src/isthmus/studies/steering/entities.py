"""Latents that tell known names from unknown ones, and what adding them does to the answers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.activations import Activations, Streamed
from isthmus.anatomy import Autoencoder
from isthmus.data.made.names import (
    FINAL,
    FIRST,
    KINDS,
    LAST,
    RELATIONS,
    UNKNOWN,
    Entities,
)
from isthmus.evaluation import auroc
from isthmus.interpretation import Steering, spliced
from isthmus.interpretation.selection import firing_shares, ranked_latents, separation
from isthmus.language import Decoder, LanguageModel, Shape, Tokens
from isthmus.language.decoder import rotated, rotations
from isthmus.studies import Check, Trial, study
from isthmus.studies.steering.planted_facts import as_tokens, trained

POINT = "layers.0"
"""The residual stream between the two layers."""

WIDTH, HEADS = 64, 4
STEPS, BATCH = 600, 128
LATENTS, ACTIVE = 512, 8
DICTIONARY_STEPS = 1000
TEXT_ROWS = 8192

TOO_OFTEN = 0.02
"""Latents that are active on a larger share of plain tokens are left out, as published."""

STRENGTHS = (0.5, 1.0, 1.5, 2.0)
"""What is added, in units of the mean length of an activation."""

RANDOM, ASIDE = 10, 5
"""Random latents that are judged, and others that help to choose the strength."""


@dataclass(frozen=True)
class Asked:
    """Questions about names of one kind; ``knows`` says whether they are known.

    ``tokens`` int64 ``(questions, 5)``, the right answers ``(questions,)``, and the words that are
    an ``answer`` about such names at all.
    """

    kind: str
    knows: bool
    tokens: Tensor
    right: Tensor
    answers: Tensor


@study(
    "entities",
    family="steering",
    catalogue=42,
    paper="Ferrando, Obeso, Rajamanoharan, Nanda 2024, Do I Know This Entity? Knowledge Awareness "
    "and Hallucinations in Language Models, arXiv:2411.14257",
    statement="A few latents tell names that the model knows from names that it does not, whatever "
    "their type; adding the one for unknown names makes the model refuse to answer about known "
    "ones, adding the other makes it answer about unknown ones.",
    headline="No single number in the abstract. Gemma 2 with Gemma Scope dictionaries, four types "
    "of entities (players, films, cities, songs).",
    setting="A language model of two layers (width 64, 600 steps of 128 rows) trained on three "
    "facts about each of 200 people and 200 places, on the answer UNKNOWN about other names, and "
    "on plain text. A name is two words, and each word belongs to one known name, so that a name "
    "is known if its pair of words is: a property that unseen pairs have or lack. TopK dictionary "
    "(512 latents, k = 8) on the residual stream between the layers. Latents and the strength of "
    "steering are chosen on half of the known names and half of 200 pairs of each type that the "
    "model was never trained on, and judged on the other halves: of known names held out means not "
    "used to choose, for a name that was never trained on cannot be known. Random tokens are those "
    "of plain text. The most attentive head of the second layer stands in for the paper's "
    "attribute-moving heads. Where names stand, heads and a curriculum were varied on the pilot "
    "seed, and none made the first layer tell known names: this is the plain version.",
    arms={
        "model": "the language model by itself",
        "latents": "the latents of highest separation score",
        "random": "control: ten random latents, added at the same strength, mean",
        "shuffled": "control: latents chosen after known and unknown were shuffled",
    },
    recipes=("topk",),
    checks=(
        Check(
            "share of questions about known names that are answered right",
            lambda f: f["model"]["accuracy"],
            at_least=0.9,
            premise=True,
        ),
        Check(
            "share of questions about unseen names that are answered UNKNOWN",
            lambda f: f["model"]["unseen_refused"],
            at_least=0.8,
            premise=True,
        ),
        Check(
            "AUROC of the best latent on held-out names, the lower of both types",
            lambda f: f["latents"]["auroc"],
            at_least=0.9,
            control=lambda f: f["shuffled"]["auroc"],
        ),
        Check(
            "points by which the latent for unknown names raises UNKNOWN about known names",
            lambda f: f["latents"]["refusal_raised"],
            at_least=60.0,
            control=lambda f: f["random"]["refusal_raised"],
        ),
        Check(
            "points by which the latent for known names lowers UNKNOWN about unseen names",
            lambda f: f["latents"]["refusal_lowered"],
            at_least=40.0,
            control=lambda f: f["random"]["refusal_lowered"],
        ),
        Check(
            "points by which random latents change either, mean of absolute values, the larger",
            lambda f: f["random"]["largest_change"],
            at_most=10.0,
            control=lambda f: f["latents"]["largest_change"],
        ),
        Check(
            "points by which the latent for unknown names lowers the attention that the last "
            "token pays to a known name",
            lambda f: f["latents"]["attention_lowered"],
            at_least=5.0,
            control=lambda f: f["random"]["attention_lowered"],
        ),
    ),
)
def entities(trial: Trial) -> dict[str, dict[str, float]]:
    """Train, find the latents on some of the names, and judge them on the others."""
    world = Entities(trial.seed)
    shape = Shape(world.words.vocabulary, WIDTH, HEADS, 2, 16, 4 * WIDTH)
    model = trained(
        world.words, lambda rng: world.rows(BATCH, rng), shape,
        steps=trial.steps(STEPS), seed=trial.seed,
    )  # fmt: skip
    rng = np.random.default_rng([trial.seed, 2])
    text = as_tokens(world.rows(trial.steps(TEXT_ROWS) + 64, rng))
    dictionary = isthmus.fit(
        "topk", Streamed(model, text, POINT), latent_dim=LATENTS, k=ACTIVE,
        steps=trial.steps(DICTIONARY_STEPS), batch_size=512, lr=2e-3, lr_schedule="linear",
        average=None, seed=trial.seed, progress=False,
    )  # fmt: skip
    choosing, judging = _asked(world, rng)
    plain = world.plain.text(1024, FINAL + 1, rng)
    plain[:, 0] = world.words.bos
    finder = _Finder(model, dictionary, choosing, torch.from_numpy(plain))
    known, unknown = finder.best()
    judged, aside = trial.steps(RANDOM), trial.steps(ASIDE)
    others = finder.random(judged + aside, np.random.default_rng([trial.seed, 3]))
    strengths = (
        _strength(model, dictionary, unknown, others[judged:], [a for a in choosing if a.knows]),
        _strength(model, dictionary, known, others[judged:], [a for a in choosing if not a.knows]),
    )
    wrong = finder.best(shuffled=np.random.default_rng([trial.seed, 4]))
    effects = [
        _effects(model, dictionary, (latent, latent), strengths, judging)
        for latent in others[:judged]
    ]
    return {
        "model": {**_by_itself(model, judging), **_fit(dictionary, model, text)},
        "latents": {
            **finder.judged((known, unknown), judging),
            **_effects(model, dictionary, (known, unknown), strengths, judging),
        },
        "random": {name: float(np.mean([one[name] for one in effects])) for name in effects[0]},
        "shuffled": finder.judged(wrong, judging),
    }


def _asked(world: Entities, rng: np.random.Generator) -> tuple[list[Asked], list[Asked]]:
    """Questions to choose latents by, and questions to judge them by: other names."""
    parts: tuple[list[Asked], list[Asked]] = ([], [])
    for name, kind in world.kinds.items():
        order = rng.permutation(len(kind.known))
        for knows, names, answers in (
            (True, kind.known[order], kind.answers[order]),
            (False, kind.unseen, np.full((len(kind.unseen), len(kind.relations)), UNKNOWN)),
        ):
            half = len(names) // 2
            for part, these in zip(parts, (slice(half), slice(half, None)), strict=True):
                tokens = world.questions(kind, names[these], rng)
                right = torch.from_numpy(answers[these].ravel())
                possible = torch.from_numpy(world.words.numbers(f"{name}-answer-"))
                part.append(Asked(name, knows, tokens, right, possible))
    return parts


class _Finder:
    """Latents by how well they tell the names to choose by apart."""

    def __init__(
        self, model: LanguageModel, dictionary: Autoencoder, choosing: list[Asked], plain: Tensor
    ) -> None:
        self.model, self.dictionary = model, dictionary
        self.x, self.knows, self.kinds = self.at_names(choosing)
        ordinary = Activations(model.module, POINT)(plain)[POINT][:, 1:].flatten(0, 1)
        self.elsewhere = firing_shares(dictionary, ordinary)

    def at_names(self, asked: list[Asked]) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Activations at the last token of each name, whether it is known, and its kind."""
        acts = Activations(self.model.module, POINT)
        x = [acts(a.tokens[::RELATIONS])[POINT][:, LAST] for a in asked]
        sizes = [len(part) for part in x]
        knows = np.repeat([a.knows for a in asked], sizes)
        return torch.cat(x), knows, np.repeat([a.kind for a in asked], sizes)

    def best(self, shuffled: np.random.Generator | None = None) -> tuple[int, int]:
        """The latents for known and for unknown names; with labels shuffled where asked."""
        knows = self.knows if shuffled is None else shuffled.permutation(self.knows)
        found = []
        for positive in (knows, ~knows):
            score = separation(self.dictionary, self.x, positive, self.kinds)
            ranked = ranked_latents(score, self.elsewhere, TOO_OFTEN, 1)
            found.append(int(ranked[0]) if len(ranked) else int(score.argmax()))
        return found[0], found[1]

    def random(self, count: int, rng: np.random.Generator) -> list[int]:
        """Latents that are active on some of the names, other than the best two."""
        alive = np.flatnonzero(firing_shares(self.dictionary, self.x) > 0)
        alive = np.setdiff1d(alive, self.best())
        return [int(j) for j in rng.choice(alive, count, replace=len(alive) < count)]

    def judged(self, pair: tuple[int, int], judging: list[Asked]) -> dict[str, float]:
        """Of the better latent of the two (by separation on the names to choose by), the AUROC."""
        x, knows, kinds = self.at_names(judging)
        figures = {}
        for name, latent, positive, chosen in (
            ("known", pair[0], knows, self.knows),
            ("unknown", pair[1], ~knows, ~self.knows),
        ):
            value = self.dictionary.encode(x)[:, latent].numpy()
            for kind in KINDS:
                here = kinds == kind
                figures[f"auroc_{name}_{kind}"] = _auroc(value[here], positive[here])
            figures[f"auroc_{name}"] = min(figures[f"auroc_{name}_{kind}"] for kind in KINDS)
            found_by = separation(self.dictionary, self.x, chosen, self.kinds)
            held = separation(self.dictionary, x, positive, kinds)
            figures[f"separation_{name}"] = float(found_by[latent])
            figures[f"separation_held_{name}"] = float(held[latent])
            figures[f"on_plain_{name}"] = float(self.elsewhere[latent])
        better = max(("known", "unknown"), key=lambda name: figures[f"separation_{name}"])
        return {"auroc": figures[f"auroc_{better}"], **figures}


def _auroc(value: np.ndarray, positive: np.ndarray) -> float:
    """0.5 where a latent is silent on all names."""
    if value.min() == value.max():
        return 0.5
    return auroc(value, positive, higher_is_anomalous=True).value


def _added(dictionary: Autoencoder, latent: int, strength: float) -> Steering:
    """The latent's direction added at both words of a name.

    Directions have length one and activations a mean square of one, in the dictionary's units.
    """
    return Steering(dictionary, add={latent: strength * WIDTH**0.5}, places=[FIRST, LAST])


def _said(model: LanguageModel, asked: Asked, edit: Steering | None = None) -> Tensor:
    """The likeliest answers, ``(questions,)``."""
    with spliced(model, {} if edit is None else {POINT: edit}):
        return model.logits(asked.tokens)[:, -1].argmax(1)


def _refused(model: LanguageModel, asked: Asked, edit: Steering | None = None) -> float:
    """Per cent of the questions answered UNKNOWN."""
    return 100.0 * _share(_said(model, asked, edit) == UNKNOWN)


def _share(which: Tensor) -> float:
    return float(which.double().mean())


def _strength(
    model: LanguageModel,
    dictionary: Autoencoder,
    latent: int,
    aside: list[int],
    asked: list[Asked],
) -> float:
    """That at which the latent does most beyond what random latents do, in either direction."""
    clean = [_refused(model, a) for a in asked]

    def change(latent: int, strength: float) -> float:
        edit = _added(dictionary, latent, strength)
        return float(
            np.mean([abs(_refused(model, a, edit) - c) for a, c in zip(asked, clean, strict=True)])
        )

    def gain(strength: float) -> float:
        return change(latent, strength) - float(np.mean([change(j, strength) for j in aside]))

    return max(STRENGTHS, key=gain)


def _effects(
    model: LanguageModel,
    dictionary: Autoencoder,
    pair: tuple[int, int],
    strengths: tuple[float, float],
    judging: list[Asked],
) -> dict[str, float]:
    """What adding the second latent does about known names, and the first about unseen ones."""
    figures = {"strength_on_known": strengths[0], "strength_on_unseen": strengths[1]}
    on_known = _added(dictionary, pair[1], strengths[0])
    on_unseen = _added(dictionary, pair[0], strengths[1])
    for a in judging:
        edit = on_known if a.knows else on_unseen
        change = _refused(model, a, edit) - _refused(model, a)
        if a.knows:
            figures[f"refusal_raised_{a.kind}"] = change
            clean, steered = (_attention(model, a, e) for e in (None, edit))
            head = int(clean.argmax())
            figures[f"attention_lowered_{a.kind}"] = 100.0 * float((clean - steered)[head])
            figures[f"attention_lowered_mean_{a.kind}"] = 100.0 * float((clean - steered).mean())
        else:
            figures[f"refusal_lowered_{a.kind}"] = -change
            answered = torch.isin(_said(model, a, edit), a.answers)
            figures[f"made_up_{a.kind}"] = 100.0 * _share(answered)
    for name in (
        "refusal_raised", "refusal_lowered", "attention_lowered", "attention_lowered_mean",
        "made_up",
    ):  # fmt: skip
        figures[name] = float(np.mean([figures[f"{name}_{kind}"] for kind in KINDS]))
    changes = [abs(figures[f"refusal_{way}"]) for way in ("raised", "lowered")]
    return {**figures, "largest_change": max(changes)}


def _attention(model: LanguageModel, asked: Asked, edit: Steering | None = None) -> Tensor:
    """What each head of the second layer pays from the last token to the name, ``(heads,)``."""
    module = model.module
    assert isinstance(module, Decoder)
    point = "layers.1.attention:in"
    with spliced(model, {} if edit is None else {POINT: edit}):
        x = Activations(module, point)(asked.tokens)[point]
    rows, places, width = x.shape
    parts = module.get_submodule("layers.1.attention.qkv")(x).view(rows, places, 3, HEADS, -1)
    query, key, _ = parts.permute(2, 0, 3, 1, 4)
    turned = rotations(places, width // HEADS, module.shape.base)
    query, key = rotated(query, turned), rotated(key, turned)
    scores = (query[:, :, FINAL, None] * key).sum(-1) / (width // HEADS) ** 0.5
    return scores.softmax(-1)[:, :, FIRST : LAST + 1].sum(-1).mean(0)


def _by_itself(model: LanguageModel, judging: list[Asked]) -> dict[str, float]:
    """What the model answers, and what it looks at, without any edit."""
    figures: dict[str, float] = {}
    for a in judging:
        whose = "known" if a.knows else "unseen"
        said = _said(model, a)
        figures[f"right_{whose}_{a.kind}"] = _share(said == a.right)
        figures[f"refused_{whose}_{a.kind}"] = _share(said == UNKNOWN)
        figures[f"attention_{whose}_{a.kind}"] = 100.0 * float(_attention(model, a).max())
    figures["accuracy"] = float(np.mean([figures[f"right_known_{kind}"] for kind in KINDS]))
    figures["unseen_refused"] = float(
        np.mean([figures[f"refused_unseen_{kind}"] for kind in KINDS])
    )
    return figures


def _fit(dictionary: Autoencoder, model: LanguageModel, text: Tokens) -> dict[str, float]:
    """How good the dictionary is."""
    some = text.rows(torch.arange(min(1024, len(text))))
    found = isthmus.evaluate(dictionary, Streamed(model, some, POINT))
    return {name: found[name].value for name in ("fvu", "dead_share")}
