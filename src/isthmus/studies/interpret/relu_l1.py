"""ReLU-L1 dictionaries against other bases: the truth, and erasing one habit of a model."""

# About 150 CPU seconds a seed: two dictionaries of 2,000 steps, and the erasing.
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from isthmus.anatomy import Autoencoder
from isthmus.data import Planted
from isthmus.evaluation import fvu, mean_max_cosine
from isthmus.interpretation import Steering
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, less, value
from isthmus.studies.benches import language
from isthmus.studies.interpret.bases import independent, principal
from isthmus.studies.interpret.erasure import Bench, Erased, habits, rows_with

ELEMENTS, TRUTHS, ACTIVE = 64, 128, 4
GROUPS, TOGETHER = 8, 0.5
"""Causes that truths have in common, and the share of their variance that these explain."""
PLANTED_ROWS, PLANTED_WIDTH, PLANTED_STEPS, PLANTED_BATCH = 1 << 16, 256, 1000, 256
PRICE = 1e-2
"""alpha of the planted part."""

WIDTH, ACTIVE_LATENTS, STEPS, BATCH = 768, 16.0, 2000, 1024
TRAIN = 200_000
TEXT = 120_000
"""Tokens of each text that habits are looked for in."""

HABITS, LOOKED_AT, ROWS = 3, 12, 12
"""Habits that are erased, the commonest among which they are chosen, and rows for each."""
SURE, SEEN = 0.8, 8
"""A habit is the model's if it is likeliest so often, with so many places in the unseen text."""
CANDIDATES = 4
"""Latents or directions of which erasing is tried on the training text."""
DIRECTIONS = (1, 4, 16, 48, 96)
"""How many directions of the other bases are erased together."""

ICA_ROWS = 8000

Measured = dict[str, float]


@experiment(
    "relu-l1",
    family="interpret",
    catalogue=29,
    paper="Cunningham et al. 2023, Sparse Autoencoders Find Highly Interpretable Features in "
    "Language Models",
    statement="A behaviour can be taken out of a model by one direction of a sparse dictionary "
    "with less damage to the rest than by principal components; its directions are closer to the "
    "truth than independent components.",
    headline="Pythia-70M and 410M: features are more interpretable than directions of alternative "
    "methods, and pinpoint behaviour to a finer degree than previous decompositions (abstract); "
    "fewer patches at equal KL than PCA on indirect objects (figure 3).",
    setting=f"The resident model's residual stream after layer 1, {TRAIN:,} tokens of its training "
    f"text; width {WIDTH}, L0 held at 16, {STEPS:,} steps of {BATCH}; figures on text that it has "
    "not seen. The model has no planted rule: the behaviour is a habit of the text, a token that "
    "another almost always follows (such as the stop after “Mr”) and that the model predicts; "
    "three habits, chosen by frequency alone; figures are their mean. Latents and directions to "
    "erase are chosen on the training text. Of the other bases as many directions are erased, set "
    "to their mean, as the same drop takes; where not even half of all are enough, their damage "
    "counts as it is, too low. damage is the KL elsewhere, divided by that of the latent. Truth: "
    "128 directions in 64 dimensions, 4 active on average, correlated by 8 common causes.",
    arms={
        "relu-l1": "ReLU with an L1 penalty",
        "again": "control: the best latent of the same dictionary from another seed",
        "pca": "principal components",
        "ica": "independent components (FastICA)",
        "neurons": "the coordinates of the residual stream",
        "random": "positive control: random directions; a random living latent",
    },
    recipes=("relu-l1",),
    needs=language.NEEDS,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("relu-l1",)),
    primary=Primary(
        value("damage", "pca", null=1.0).in_logs(), above=1.0, positive="random", negative="again"
    ),
    premises=(
        Premise(less("drop", "relu-l1", than="random"), above=0.25,
                why="the latent that is erased carries the habit"),
    ),
    secondary=(
        Secondary(value("damage", "neurons", null=1.0).in_logs(), above=1.0),
        Secondary(value("ce_change", "relu-l1"), below=0.02, source="ours"),
        Secondary(less("mmcs", "relu-l1", than="ica"), above=0.0),
        Secondary(less("mmcs", "relu-l1", than="pca"), above=0.0),
    ),
)  # fmt: skip
def relu_l1(trial: Trial) -> dict[str, Measured]:
    """Both parts, each with the same bases."""
    figures = {**_truth(trial), "again": {}}
    rows = language.rows("train", language.POINT, trial.seed, trial.rows(TRAIN))
    held = language.rows("test", language.POINT, trial.seed, trial.rows(8192))
    models = [_dictionary(rows, trial, seed) for seed in (trial.seed, trial.seed + 1000)]
    figures["relu-l1"]["fvu"] = fvu(held, np.asarray(models[0].reconstruct(held))).value
    for arm, measures in _erasing(models, rows, trial).items():
        figures[arm] |= measures
    return figures


def _dictionary(rows: np.ndarray, trial: Trial, seed: int) -> Autoencoder:
    return trial.fit(
        "relu-l1", rows, latent_dim=WIDTH, l0=ACTIVE_LATENTS, steps=STEPS, batch_size=BATCH,
        lr=trial.rate("relu-l1", 1.6e-3), lr_schedule="linear", average=None, seed=seed,
    )  # fmt: skip


def _truth(trial: Trial) -> dict[str, Measured]:
    """How near each basis comes to planted directions."""
    planted = Planted(ELEMENTS, TRUTHS, ACTIVE, seed=trial.seed)
    rows = correlated(planted.directions, PLANTED_ROWS, trial.seed)
    model = trial.fit(
        "relu-l1", rows, latent_dim=PLANTED_WIDTH, steps=PLANTED_STEPS, sparsity=PRICE,
        batch_size=PLANTED_BATCH, lr=trial.rate("relu-l1", 1.6e-3), lr_schedule="linear",
    )  # fmt: skip
    drawn = np.random.default_rng([trial.seed, 29]).standard_normal((PLANTED_WIDTH, ELEMENTS))
    return {
        "relu-l1": {"mmcs": _mmcs(model, planted)},
        "pca": {"mmcs": _mmcs(principal(rows), planted, signed=True)},
        "ica": {"mmcs": _mmcs(independent(rows[:ICA_ROWS], trial.seed)[1], planted, signed=True)},
        "neurons": {"mmcs": _mmcs(np.eye(ELEMENTS), planted, signed=True)},
        "random": {"mmcs": _mmcs(drawn, planted)},
    }


def correlated(directions: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Rows ``(number, width)``: sums of the directions that fire, which share causes.

    A direction fires where a Gaussian variable of its own exceeds a bound, ``ACTIVE`` on average;
    half of its variance is that of a mixture of ``GROUPS`` causes common to all. Sizes are uniform
    on [0.5, 1.5].
    """
    rng = np.random.default_rng([seed, 29])
    truths = len(directions)
    mixture = rng.standard_normal((GROUPS, truths))
    mixture *= np.sqrt(TOGETHER) / np.linalg.norm(mixture, axis=0)
    shared = rng.standard_normal((number, GROUPS)) @ mixture
    noise = np.sqrt(1 - TOGETHER) * rng.standard_normal((number, truths))
    fires = shared + noise > norm.ppf(1 - ACTIVE / truths)
    sizes = fires * rng.uniform(0.5, 1.5, (number, truths))
    return (sizes @ directions).astype(np.float32)


def _mmcs(dictionary: np.ndarray | Autoencoder, planted: Planted, signed: bool = False) -> float:
    return mean_max_cosine(dictionary, planted.directions, signed=signed).value


def _erasing(models: Sequence[Autoencoder], rows: np.ndarray, trial: Trial) -> dict[str, Measured]:
    """What each basis needs to take a habit out of the model, means over the habits."""
    measures: dict[str, list[Measured]] = {}
    for near, far in _benches(trial):
        for arm, one in _Eraser(models, rows, near, far, trial.seed).figures().items():
            measures.setdefault(arm, []).append(one)
    figures = {
        arm: {name: float(np.mean([one[name] for one in some])) for name in some[0]}
        for arm, some in measures.items()
    }
    for arm in ("pca", "neurons", "random", "again"):
        ratios = [one["damage"] for one in measures[arm]]
        figures[arm]["damage"] = float(np.exp(np.mean(np.log(ratios))))
    return figures


def _benches(trial: Trial) -> list[tuple[Bench, Bench]]:
    """The commonest habits that the model has, each on text to choose on and on unseen text."""
    limit = trial.rows(TEXT, least=30_000)
    train, test = (language.tokens(part, trial.seed, limit) for part in ("train", "test"))
    kept: list[tuple[Bench, Bench]] = []
    for pair in habits(train, LOOKED_AT):
        if int(pair.places(test).sum()) < SEEN:
            continue
        near = Bench(language.host(), language.POINT, pair, rows_with(pair, train, ROWS))
        if near.clean.likeliest >= SURE:
            far = Bench(language.host(), language.POINT, pair, rows_with(pair, test, ROWS))
            kept.append((near, far))
        if len(kept) == (1 if trial.probing else HABITS):
            break
    return kept


class _Eraser:
    """One habit: what is chosen on the text ``near`` is erased on the unseen text ``far``."""

    def __init__(
        self, models: Sequence[Autoencoder], rows: np.ndarray, near: Bench, far: Bench, seed: int
    ) -> None:
        self.models, self.rows, self.near, self.far = models, rows, near, far
        self.rng = np.random.default_rng([seed, near.pair.first])
        self.at = near.activations()
        self.mean = torch.from_numpy(rows.mean(0))

    def figures(self) -> dict[str, Measured]:
        """The drop and the damage of a latent, of others, and of the other bases."""
        model = self.models[0]
        code = np.asarray(model.encode(self.rows[: 1 << 13]))
        best, likely = self._best(model)
        loss = self.far.under(Steering(model, ablate=[best]))
        alive = np.setdiff1d(np.flatnonzero((code > 0).any(0)), likely)
        other = self.far.under(Steering(model, ablate=[int(self.rng.choice(alive))]))
        again = self.far.under(Steering(self.models[1], ablate=[self._best(self.models[1])[0]]))
        drop, kl = self.far.drop(loss), max(loss.kl, 1e-9)
        figures = {
            "relu-l1": {
                "drop": drop, "likeliest": loss.likeliest, "kl": loss.kl,
                "ce_change": loss.ce / self.far.clean.ce - 1.0,
                "clean_kept": self.far.clean.kept, "places": float(self.far.at.sum()),
                "latent_rate": float((code[:, best] > 0).mean()),
            },
            "again": {"drop": self.far.drop(again), "damage": max(again.kl, 1e-9) / kl},
        }  # fmt: skip
        width = len(self.mean)
        drawn = np.linalg.qr(self.rng.standard_normal((width, width)))[0]
        bases = {"pca": principal(self.rows), "neurons": np.eye(width), "random": drawn}
        for arm, basis in bases.items():
            figures[arm] = self._subspaces(torch.from_numpy(basis).float(), drop, loss.kl)
        figures["random"]["drop"] = self.far.drop(other)
        return figures

    def _best(self, model: Autoencoder) -> tuple[int, list[int]]:
        """The latent whose erasing takes most of the habit, of those likely to: all of these."""
        strength = np.asarray(model.encode(self.at.numpy())).mean(0)
        likely = np.argsort(-strength)[:CANDIDATES].tolist()
        drops = [self.near.drop(self.near.under(Steering(model, ablate=[i]))) for i in likely]
        return likely[int(np.argmax(drops))], likely

    def _subspaces(self, basis: Tensor, drop: float, kl: float) -> Measured:
        """The damage at the drop of the latent, and how many directions that takes.

        Directions are taken in the order in which they set the habit's places apart: by how far
        the mean there is from the mean of all, in standard deviations.
        """
        values = (torch.from_numpy(self.rows) - self.mean) @ basis.T
        apart = ((self.at - self.mean) @ basis.T).mean(0) / values.std(0)
        order = apart.abs().argsort(descending=True)
        losses = []
        for number in DIRECTIONS:
            losses.append(self.far.under(Erased(self.mean, basis[order[:number]])))
            if self.far.drop(losses[-1]) >= drop:
                break
        single = self.far.drop(losses[0])
        reached, count = self.far.drop(losses[-1]), DIRECTIONS[len(losses) - 1]
        spent = _between([self.far.drop(one) for one in losses], [one.kl for one in losses], drop)
        return {
            "drop": single, "reached": reached, "directions": float(count), "kl": spent,
            "damage": max(spent, 1e-9) / max(kl, 1e-9),
        }  # fmt: skip


def _between(drops: Sequence[float], damages: Sequence[float], drop: float) -> float:
    """The damage at a drop, on straight lines from none at no drop; the last where none is enough.

    ``drops`` and ``damages`` are of more and more directions, of which the last alone may reach
    what is wanted.
    """
    before = (max(drops[:-1], default=0.0), damages[-2] if len(damages) > 1 else 0.0)
    if drops[-1] <= drop or drops[-1] <= before[0]:
        return damages[-1]
    share = (drop - before[0]) / (drops[-1] - before[0])
    return before[1] + max(0.0, share) * (damages[-1] - before[1])
