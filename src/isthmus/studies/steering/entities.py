"""Latents that tell known names from unknown ones, and what adding them does to the answers."""

# About 3 CPU minutes a seed: 160,000 tokens through six layers of width 256 (25 s), six
# dictionaries of 1500 steps at 9 ms, 2,500 questions read once, some 60 passes of 200 for steering.

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import Activations, harvest
from isthmus.anatomy import Autoencoder
from isthmus.evaluation import auroc
from isthmus.interpretation import Steering
from isthmus.interpretation.selection import firing_shares, ranked_latents, separation
from isthmus.language import LanguageModel, documents, pack, resident
from isthmus.language.knowledge import KINDS, Name, Relation, generated_text, names
from isthmus.language.knowledge.people import RELATIONS
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.steering.asked_names import Asked, asked, attention_to_name

POINTS = tuple(f"layers.{i}" for i in range(6))
LATENTS, ACTIVE, STEPS = 1024, 16, 1500
PASSAGES, TOKENS = 1400, 170_000
"""Generated passages of about 150 tokens that dictionaries read, and tokens of these and of English
together: half of them are generated."""
PLAIN = 16_384
"""Tokens of English for the share of ordinary text on which a latent is active."""

TOO_OFTEN = 0.02
"""Latents that are active on a larger share of ordinary tokens are left out, as published."""
STRENGTHS = (0.5, 1.0, 2.0)
"""What is added, in units of the mean length of an activation at a name."""
RANDOM, ASIDE = 10, 3
"""Random pairs of latents that are judged, and others that help to choose the strength."""

PENALTIES = (0.001, 0.01, 0.1)
"""Inverse penalties of the logistic regression."""
PROBED = 20
"""Names of a kind in a probe."""

Place = tuple[int, int]
"""A latent: the number of its layer, and its own."""
Pair = tuple[Place, Place]
"""The latent for known names, and that for unknown ones."""
WHICH = ("known", "unknown")


@experiment(
    "entities",
    family="steering",
    catalogue=42,
    paper="Ferrando, Obeso, Rajamanoharan, Nanda 2024, Do I Know This Entity? Knowledge Awareness "
    "and Hallucinations in Language Models, arXiv:2411.14257",
    statement="A few latents tell names that the model knows from names that it does not, whatever "
    "their type.",
    headline="No single number in the abstract. Gemma 2 2B and 9B with Gemma Scope dictionaries of "
    "all layers, four types of entities (players, films, cities, songs).",
    setting="The resident model of six layers (width 256) that was taught facts about 200 people "
    "and 200 places that do not exist, and to answer \"nobody knows\" about as many others; known "
    "and unknown names are pairs of the same words. It is one model for all seeds: they deal "
    "names, text and starts. TopK dictionaries (1024 latents, k = 16, 1500 steps of 1024) on the "
    "residual stream behind every layer, from 170,000 tokens that it was not trained on, half "
    "English, half passages about the same names. Of all layers the latent of highest separation "
    "score for known names, and that for unknown names, the score being the lower of both types, "
    "without latents that are active on more than 2 % of English tokens. Latents and the strength "
    "of steering are chosen on half of the names and judged on the other half. AUROC within a "
    "type, mean over types and over the two latents. Steering adds the latent's direction at all "
    "tokens of the name. Attention is that of all heads in layers behind the latent's.",
    recipes=("topk",),
    needs=("gutenberg12", "masc_pos"),
    arms={
        "model": "the language model by itself",
        "latents": "the latents of highest separation score, over all layers",
        "random": "ten random pairs of latents of the same layers, added at the same strengths, "
        "mean",
        "probe": "positive control: a logistic regression on the activations, of the layer that "
        "validation within the names to choose by prefers",
        "shuffled": "control: latents chosen after known and unknown were dealt to names at random",
    },
    primary=Primary(
        less("auroc", "latents", than="random").named(
            "AUROC on held-out names of the latents for known and for unknown names, less that of "
            "random latents"
        ),
        above=0.0, positive="probe", negative="shuffled",
    ),
    premises=(
        Premise(
            value("right", "model"), above=80.0,
            why="the model answers questions about known names right",
        ),
        Premise(
            value("refused", "model"), above=80.0,
            why="the model says that nobody knows the unknown names",
        ),
        Premise(
            value("auroc", "probe"), above=0.9,
            why="what latents are to find can be read linearly somewhere",
        ),
    ),
    secondary=(
        Secondary(less("auroc_new", "latents", than="random"), above=0.0),
        Secondary(less("refusal_raised", "latents", than="random"), above=0.0),
        Secondary(less("refusal_lowered", "latents", than="random"), above=0.0),
        Secondary(less("attention_lowered", "latents", than="random"), above=0.0),
    ),
)  # fmt: skip
def entities(trial: Trial) -> dict[str, dict[str, float]]:
    """Dictionaries of all layers, latents found on some of the names and judged on the others."""
    model = resident("circuits")
    choosing, judging, new = _asked(model, trial)
    finder = _Finder(model, trial, choosing, judging, new)
    pair = finder.best()
    wrong = finder.best(shuffled=np.random.default_rng([trial.seed, 4]))
    several = finder.random(pair, np.random.default_rng([trial.seed, 3]))
    steered = _Steered(finder, pair, several[:ASIDE])
    effects = [
        {**finder.judged(one), **steered.effects(one, judging)}
        for one in several[ASIDE : ASIDE + (2 if trial.probing else RANDOM)]
    ]
    return {
        "model": {
            "right": float(np.mean([one.every.right_share(model) for one in judging if one.knows])),
            "refused": float(np.mean([o.every.refused(model) for o in judging if not o.knows])),
            "refused_new": float(np.mean([one.every.refused(model) for one in new])),
        },
        "latents": {
            **finder.judged(pair), **steered.effects(pair, judging),
            "layer_known": float(pair[0][0]), "layer_unknown": float(pair[1][0]),
        },
        "random": {name: float(np.mean([one[name] for one in effects])) for name in effects[0]},
        "probe": finder.probed(),
        "shuffled": finder.judged(wrong),
    }  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Names of one kind, known or not, with every relation asked, and with the first alone."""

    every: Asked
    first: Asked

    @property
    def knows(self) -> bool:
        """Whether the names are known."""
        return self.every.knows


def _asked(model: LanguageModel, trial: Trial) -> tuple[list[Group], list[Group], list[Group]]:
    """Names to choose latents by, names to judge them by, and names that no text holds."""
    rng = np.random.default_rng([trial.seed, 2])
    choosing, judging, new = [], [], []
    for kind in KINDS:
        relations = [one for one in RELATIONS if one.kind == kind]

        def group(some: list[Name], relations: list[Relation] = relations) -> Group:
            return Group(asked(some, relations, model), asked(some, relations[:1], model))

        known, unknown, unseen = (
            [one for one in names(kind) if (one.known, one.said) == which]
            for which in ((True, True), (False, True), (False, False))
        )
        for some in (known, unknown):
            dealt = [
                some[i] for i in rng.permutation(len(some))[: PROBED if trial.probing else None]
            ]
            choosing.append(group(dealt[::2]))
            judging.append(group(dealt[1::2]))
        new.append(group(unseen[: PROBED if trial.probing else None]))
    return choosing, judging, new


def _dictionaries(model: LanguageModel, trial: Trial) -> list[Autoencoder]:
    """A dictionary of every layer, from generated passages and from English."""
    passages = generated_text(5 * PROBED if trial.probing else PASSAGES, seed=trial.seed + 1)
    text = [*passages, *documents("held-out")]
    tokens = pack(text, model.tokenizer, model.context, trial.rows(TOKENS, least=4096))
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        store = harvest(model, tokens, POINTS, Path(folder) / "store", progress=False)
        return [
            trial.fit(
                "topk", store.source(point), steps=STEPS, latent_dim=LATENTS, k=ACTIVE, lr=2e-3,
                batch_size=1024, lr_schedule="linear", average=None,
            )
            for point in POINTS
        ]  # fmt: skip


def _plain(model: LanguageModel, number: int) -> list[Tensor]:
    """Activations of English tokens at every layer, BOS and padding left out."""
    text = pack(documents("held-out"), model.tokenizer, model.context, number)
    mask = text.mask.clone()
    mask[:, 0] = False
    activations = Activations(model.module, POINTS)(text.ids)
    return [activations[point][mask] for point in POINTS]


class _Finder:
    """Latents of all layers, by how well they tell the names to choose by apart."""

    def __init__(
        self, model: LanguageModel, trial: Trial, choosing: list[Group], judging: list[Group],
        new: list[Group],
    ) -> None:  # fmt: skip
        self.model, self.dictionaries, self.choosing = model, _dictionaries(model, trial), choosing
        self.x, self.knows, self.kinds, self.who = self.at_names(choosing)
        known = [one for one in judging if one.knows]
        unknown = [one for one in judging if not one.knows]
        self.held = {"": self.at_names([*known, *unknown]), "_new": self.at_names([*known, *new])}
        plain = _plain(model, trial.rows(PLAIN))
        self.elsewhere = [
            firing_shares(d, x) for d, x in zip(self.dictionaries, plain, strict=True)
        ]

    def at_names(
        self, groups: list[Group]
    ) -> tuple[list[Tensor], np.ndarray, np.ndarray, np.ndarray]:
        """Activations at the last token of names, by layer; whether known, the kind, which name."""
        activations = [one.every.at_name(self.model, POINTS) for one in groups]
        x = [torch.cat([one[point] for one in activations]) for point in POINTS]
        sizes = [len(one.every.ids) for one in groups]
        counts = [len(one.first.ids) for one in groups]
        times = np.repeat([n // c for n, c in zip(sizes, counts, strict=True)], counts)
        return (
            x, np.repeat([one.knows for one in groups], sizes),
            np.repeat([one.every.kind for one in groups], sizes),
            np.repeat(np.arange(len(times)), times),
        )  # fmt: skip

    def best(self, shuffled: np.random.Generator | None = None) -> Pair:
        """The latents for known and for unknown names; with labels dealt anew where asked."""
        knows = self.knows if shuffled is None else self._dealt(shuffled)
        latents = []
        for positive in (knows, ~knows):
            score = np.stack([
                separation(d, x, positive, self.kinds)
                for d, x in zip(self.dictionaries, self.x, strict=True)
            ])  # fmt: skip
            ranked = ranked_latents(score.ravel(), np.ravel(self.elsewhere), TOO_OFTEN, 1)
            best = int(ranked[0]) if len(ranked) else int(score.argmax())
            latents.append((best // LATENTS, best % LATENTS))
        return latents[0], latents[1]

    def _dealt(self, rng: np.random.Generator) -> np.ndarray:
        """Known and unknown dealt to the names of each kind at random."""
        _, first = np.unique(self.who, return_index=True)
        dealt = self.knows[first].copy()
        for kind in KINDS:
            mask = self.kinds[first] == kind
            dealt[mask] = rng.permutation(dealt[mask])
        return dealt[self.who]

    def random(self, pair: Pair, rng: np.random.Generator) -> list[Pair]:
        """Pairs of latents of the same layers that are active at some of the names."""
        drawn = []
        for layer, latent in pair:
            alive = np.flatnonzero(firing_shares(self.dictionaries[layer], self.x[layer]) > 0)
            alive = alive[alive != latent]
            several = rng.choice(alive, ASIDE + RANDOM, replace=len(alive) < ASIDE + RANDOM)
            drawn.append([(layer, int(j)) for j in several])
        return list(zip(*drawn, strict=True))

    def judged(self, pair: Pair) -> dict[str, float]:
        """The AUROC of both latents on names that they were not chosen by, and on unseen ones."""
        figures = {}
        for name, (x, knows, kinds, _) in self.held.items():
            for which, (layer, latent), sign in zip(WHICH, pair, (1, -1), strict=True):
                value = sign * self.dictionaries[layer].encode(x[layer])[:, latent].numpy()
                figures[f"auroc_{which}{name}"] = _auroc(value, knows, kinds)
            figures[f"auroc{name}"] = float(np.mean([figures[f"auroc_{w}{name}"] for w in WHICH]))
        return figures

    def probed(self) -> dict[str, float]:
        """The AUROC of a logistic regression, of the layer and penalty that validation prefers."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline, make_pipeline
        from sklearn.preprocessing import StandardScaler

        def fitted(layer: int, strength: float, rows: np.ndarray) -> Pipeline:
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
            return probe.fit(self.x[layer].numpy()[rows], self.knows[rows])

        seen = self.who % 2 == 0
        aurocs = {}
        for layer, x in enumerate(self.x):
            for strength in PENALTIES:
                value = fitted(layer, strength, seen).decision_function(x.numpy()[~seen])
                aurocs[layer, strength] = _auroc(value, self.knows[~seen], self.kinds[~seen])
        layer, strength = max(aurocs, key=lambda one: aurocs[one])
        probe, figures = fitted(layer, strength, np.full(len(seen), True)), {}
        for name, (at, knows, kinds, _) in self.held.items():
            value = probe.decision_function(at[layer].numpy())
            figures[f"auroc{name}"] = _auroc(value, knows, kinds)
        return {**figures, "layer": float(layer)}


def _auroc(value: np.ndarray, positive: np.ndarray, kinds: np.ndarray) -> float:
    """The mean over kinds of name; 0.5 where the value is the same for all names of a kind."""
    aurocs = []
    for kind in KINDS:
        some, known = value[kinds == kind], positive[kinds == kind]
        constant = some.min() == some.max()
        aurocs.append(0.5 if constant else auroc(some, known, higher_is_anomalous=True).value)
    return float(np.mean(aurocs))


class _Steered:
    """What adding latents does, at the strengths at which the chosen ones do most beyond others."""

    def __init__(self, finder: _Finder, pair: Pair, aside: list[Pair]) -> None:
        self.finder, self.model = finder, finder.model
        self.length = [float(x.norm(dim=1).mean()) for x in finder.x]
        self.clean: dict[int, float] = {}
        self.strength = [self._strength(i, pair, aside) for i in range(2)]

    def _strength(self, which: int, pair: Pair, aside: list[Pair]) -> float:
        """Of the latent for known names (0, on unknown ones) or for unknown names (1, on known)."""
        groups = [one.first for one in self.finder.choosing if one.knows == bool(which)]

        def change(place: Place, strength: float) -> float:
            return abs(float(np.mean([self.change(one, place, strength) for one in groups])))

        def gain(strength: float) -> float:
            others = [change(one[which], strength) for one in aside]
            return change(pair[which], strength) - float(np.mean(others))

        return max(STRENGTHS, key=gain)

    def edit(self, some: Asked, place: Place, strength: float) -> dict[str, Steering]:
        """A latent's direction added at the name, ``strength`` times as long as an activation."""
        layer, latent = place
        dictionary = self.finder.dictionaries[layer]
        size = strength * self.length[layer] / float(dictionary.atoms()[latent].norm())
        return {POINTS[layer]: Steering(dictionary, add={latent: size}, places=some.named)}

    def change(self, some: Asked, place: Place, strength: float) -> float:
        """Points by which an edit raises "nobody knows"."""
        if id(some) not in self.clean:
            self.clean[id(some)] = some.refused(self.model)
        return some.refused(self.model, self.edit(some, place, strength)) - self.clean[id(some)]

    def effects(self, pair: Pair, judging: list[Group]) -> dict[str, float]:
        """What the first latent does about unknown names, and the second about known ones."""
        known = [one.first for one in judging if one.knows]
        unknown = [one.first for one in judging if not one.knows]
        lowered = [-self.change(one, pair[0], self.strength[0]) for one in unknown]
        raised = [self.change(one, pair[1], self.strength[1]) for one in known]
        attention = [
            attention_to_name(self.model, one, pair[1][0])
            - attention_to_name(
                self.model, one, pair[1][0], self.edit(one, pair[1], self.strength[1])
            )
            for one in known
        ]
        return {
            "refusal_lowered": float(np.mean(lowered)),
            "refusal_raised": float(np.mean(raised)),
            "attention_lowered": float(np.mean(attention)),
        }
