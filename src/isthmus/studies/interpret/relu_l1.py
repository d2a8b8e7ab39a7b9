"""ReLU-L1 dictionaries against other bases: truth, purity, and erasing one habit."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

import isthmus
from isthmus.data import Planted
from isthmus.evaluation import mean_max_cosine
from isthmus.interpretation import Steering
from isthmus.studies import Check, Trial, study
from isthmus.studies.interpret import resident
from isthmus.studies.interpret.bases import independent, principal, purity, turned
from isthmus.studies.interpret.erasure import Bench, Erased, habits, rows_with

ELEMENTS, TRUTHS, ACTIVE = 64, 128, 4
GROUPS, TOGETHER = 8, 0.5
"""Causes that truths have in common, and the share of their variance that these explain."""
PLANTED_ROWS, PLANTED_WIDTH, PLANTED_STEPS, PLANTED_BATCH = 1 << 16, 256, 1000, 256
PLANTED_RATE = 1e-2
PRICES = (1e-3, 3e-3, 1e-2, 3e-2)
"""alpha: the best by truth is reported, as the paper does."""

WIDTH, ACTIVE_LATENTS, STEPS, BATCH = 1536, 16.0, 300, 1024
TRAIN, TEST = 80_000, 20_000
RATE = 1e-2
LEAST = 2000
"""Tokens, however small the budget."""

HABITS, LOOKED_AT, ROWS = 3, 12, 12
"""Habits that are erased, the commonest among which they are chosen, and rows for each."""
SURE, SEEN = 0.8, 8
"""A habit is the model's if it is likeliest so often, with so many places in the unseen text."""
CANDIDATES = 4
"""Latents or directions of which erasing is tried on the training text."""
DIRECTIONS = (1, 4, 16, 48, 96)
"""How many directions of the other bases are erased together."""

ICA_ROWS, ICA_STEPS = 8000, 40
STRONGEST = 10
"""Places where a direction is strongest, whose tokens are compared."""

Measured = dict[str, float]


@study(
    "relu-l1",
    family="interpret",
    catalogue=29,
    paper="Cunningham et al. 2023, Sparse Autoencoders Find Highly Interpretable Features in "
    "Language Models",
    statement="Directions of a sparse dictionary are closer to the truth and purer than principal "
    "or independent components, and a behaviour can be taken out of a model by one of them with "
    "less damage to the rest.",
    headline="Pythia-70M and 410M: higher autointerpretability than PCA, ICA and the neuron basis "
    "(figure 2); fewer patches at equal KL than PCA on indirect objects (figure 3).",
    setting="Truth: 128 directions in 64 dimensions, 4 active on average, correlated by 8 common "
    "causes; width 256, the best of four alphas. Language: the resident model's residual stream "
    "after layer 1, 80,000 tokens that it was not trained on; width 1536, L0 held at 16, 300 steps "
    "of 1024; figures on other documents. The resident model has no planted rule: the behaviour is "
    "a habit of the text instead, a token that another almost always follows (such as the stop "
    "after “Mr”) and that the model predicts; three habits, chosen by frequency alone; figures are "
    "their mean. Latents and directions to erase are chosen on the training text. Of the other "
    "bases as many directions are erased, set to their mean, as the same drop takes; where not "
    "even half of all are enough, their damage counts as it is, too low.",
    arms={
        "relu-l1": "ReLU with an L1 penalty",
        "pca": "principal components",
        "ica": "independent components (FastICA)",
        "neurons": "the coordinates of the residual stream",
        "random": "control: random directions; a random living latent; tokens shuffled",
    },
    recipes=("relu-l1",),
    needs=resident.NEEDS,
    checks=(
        Check(
            "mean largest cosine of planted directions with the dictionary, at the best alpha",
            lambda f: f["relu-l1"]["mmcs"],
            at_least=0.9,
            control=lambda f: f["random"]["mmcs"],
        ),
        Check(
            "mean largest cosine with principal or independent components, the larger",
            lambda f: max(f["pca"]["mmcs"], f["ica"]["mmcs"]),
            at_most=0.5,
            control=lambda f: f["relu-l1"]["mmcs"],
        ),
        Check(
            "drop in the probability of a habit when the best single latent is erased",
            lambda f: f["relu-l1"]["drop"],
            at_least=0.5,
            control=lambda f: f["random"]["drop"],
        ),
        Check(
            "relative change of cross-entropy elsewhere when that latent is erased",
            lambda f: f["relu-l1"]["ce_change"],
            at_most=0.02,
        ),
        Check(
            "KL damage elsewhere for the same drop: the lesser of principal components and "
            "coordinates, divided by that of the latent",
            lambda f: min(f["pca"]["damage"], f["neurons"]["damage"]),
            at_least=3.0,
        ),
        Check(
            "token purity: the dictionary less independent components",
            lambda f: f["relu-l1"]["purity"] - f["ica"]["purity"],
            at_least=0.02,
            control=lambda f: f["random"]["purity"] - f["ica"]["purity"],
        ),
        Check(
            "token purity: independent less principal components",
            lambda f: f["ica"]["purity"] - f["pca"]["purity"],
            at_least=0.02,
            control=lambda f: f["random"]["purity"] - f["pca"]["purity"],
        ),
    ),
)
def relu_l1(trial: Trial) -> dict[str, Measured]:
    """Both parts, each with the same bases."""
    figures = _truth(trial)
    seed, limit = trial.seed, max(trial.steps(TRAIN), LEAST)
    source = resident.store("train", (resident.POINT,), seed, limit).source(resident.POINT)
    model = isthmus.fit(
        "relu-l1", source, latent_dim=WIDTH, l0=ACTIVE_LATENTS, steps=trial.steps(STEPS),
        batch_size=BATCH, lr=RATE, lr_schedule="linear", seed=seed, progress=False,
    )  # fmt: skip
    rows = resident.rows("train", resident.POINT, seed, limit)
    for part in (_purities(model, rows, trial), _erasing(model, rows, trial)):
        for arm, found in part.items():
            figures[arm] |= found
    return figures


def _truth(trial: Trial) -> dict[str, Measured]:
    """How near each basis comes to planted directions."""
    planted = Planted(ELEMENTS, TRUTHS, ACTIVE, seed=trial.seed)
    rows = correlated(planted.directions, PLANTED_ROWS, trial.seed)
    models = isthmus.fit_many(
        {f"{price:g}": {"sparsity": price} for price in PRICES}, rows, recipe="relu-l1",
        latent_dim=PLANTED_WIDTH, steps=trial.steps(PLANTED_STEPS), batch_size=PLANTED_BATCH,
        lr=PLANTED_RATE, lr_schedule="linear", seed=trial.seed, progress=False,
    )  # fmt: skip
    cosines = {f"mmcs_{price}": _mmcs(one, planted) for price, one in models.items()}
    drawn = np.random.default_rng([trial.seed, 29]).standard_normal((PLANTED_WIDTH, ELEMENTS))
    return {
        "relu-l1": {"mmcs": max(cosines.values()), **cosines},
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
    own = np.sqrt(1 - TOGETHER) * rng.standard_normal((number, truths))
    fires = shared + own > norm.ppf(1 - ACTIVE / truths)
    sizes = fires * rng.uniform(0.5, 1.5, (number, truths))
    return (sizes @ directions).astype(np.float32)


def _mmcs(found: np.ndarray | isthmus.Autoencoder, planted: Planted, signed: bool = False) -> float:
    return mean_max_cosine(found, planted.directions, signed=signed).value


def _purities(model: isthmus.Autoencoder, rows: np.ndarray, trial: Trial) -> dict[str, Measured]:
    """Whether a direction is strongest at one token, on unseen text."""
    limit = max(trial.steps(TEST), LEAST)
    store = resident.store("test", (resident.POINT,), trial.seed, limit)
    places = torch.arange(len(store))
    x, token = store.rows(resident.POINT, places).numpy(), store.where(places)["token"].numpy()
    rng = np.random.default_rng(trial.seed)
    centred = x - rows.mean(0)
    unmixing, _ = independent(rng.permutation(rows)[:ICA_ROWS], trial.seed, ICA_STEPS)
    code = np.asarray(model.encode(x))
    values = {
        "relu-l1": code,
        "pca": turned(centred @ principal(rows).T),
        "ica": turned(centred @ unmixing.T),
        "neurons": turned(centred),
    }
    scores = {arm: purity(some, token, STRONGEST) for arm, some in values.items()}
    figures = {arm: {"purity": float(np.mean(some))} for arm, some in scores.items()}
    figures["relu-l1"] |= {
        "l0": float((code > 0).sum(1).mean()),
        "dead_share": float((code == 0).all(0).mean()),
        "judged": float(len(scores["relu-l1"])),
    }
    shuffled = purity(code, rng.permutation(token), STRONGEST)
    figures["random"] = {"purity": float(np.mean(shuffled))}
    return figures


def _erasing(model: isthmus.Autoencoder, rows: np.ndarray, trial: Trial) -> dict[str, Measured]:
    """What each basis needs to take a habit out of the model, means over the habits."""
    found: dict[str, list[Measured]] = {}
    for near, far in _benches(trial.seed):
        for arm, one in _Eraser(model, rows, near, far, trial.seed).figures().items():
            found.setdefault(arm, []).append(one)
    figures = {
        arm: {name: float(np.mean([one[name] for one in some])) for name in some[0]}
        for arm, some in found.items()
    }
    for arm in ("pca", "neurons"):
        ratios = [one["damage"] for one in found[arm]]
        figures[arm]["damage"] = float(np.exp(np.mean(np.log(ratios))))
    return figures


def _benches(seed: int) -> list[tuple[Bench, Bench]]:
    """The commonest habits that the model has, each on text to choose on and on unseen text."""
    train, test = resident.tokens("train", seed), resident.tokens("test", seed)
    kept: list[tuple[Bench, Bench]] = []
    for pair in habits(train, LOOKED_AT):
        if int(pair.places(test).sum()) < SEEN:
            continue
        near = Bench(resident.host(), resident.POINT, pair, rows_with(pair, train, ROWS))
        if near.clean.likeliest >= SURE:
            far = Bench(resident.host(), resident.POINT, pair, rows_with(pair, test, ROWS))
            kept.append((near, far))
        if len(kept) == HABITS:
            break
    return kept


class _Eraser:
    """One habit: what is chosen on the text ``near`` is erased on the unseen text ``far``."""

    def __init__(
        self, model: isthmus.Autoencoder, rows: np.ndarray, near: Bench, far: Bench, seed: int
    ) -> None:
        self.model, self.rows, self.near, self.far = model, rows, near, far
        self.rng = np.random.default_rng([seed, near.pair.first])
        self.at = near.activations()
        self.mean = torch.from_numpy(rows.mean(0))

    def figures(self) -> dict[str, Measured]:
        """The drop and the damage of a latent, of one at random, and of the other bases."""
        code = np.asarray(self.model.encode(self.rows[: 1 << 13]))
        strength = np.asarray(self.model.encode(self.at.numpy())).mean(0)
        likely = np.argsort(-strength)[:CANDIDATES].tolist()
        best = max(likely, key=lambda latent: self.near.drop(self.near.under(self._ablate(latent))))
        loss = self.far.under(self._ablate(best))
        alive = np.setdiff1d(np.flatnonzero((code > 0).any(0)), likely)
        other = self.far.under(self._ablate(int(self.rng.choice(alive))))
        drop = self.far.drop(loss)
        figures = {
            "relu-l1": {
                "drop": drop, "likeliest": loss.likeliest, "kl": loss.kl,
                "ce_change": loss.ce / self.far.clean.ce - 1.0,
                "clean_kept": self.far.clean.kept, "places": float(self.far.at.sum()),
                "latent_rate": float((code[:, best] > 0).mean()),
            },
            "random": {"drop": self.far.drop(other), "kl": other.kl},
        }  # fmt: skip
        for arm, basis in (("pca", principal(self.rows)), ("neurons", np.eye(len(self.mean)))):
            figures[arm] = self._subspaces(torch.from_numpy(basis).float(), drop, loss.kl)
        return figures

    def _ablate(self, latent: int) -> Steering:
        return Steering(self.model, ablate=[latent])

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
        reached, taken = self.far.drop(losses[-1]), DIRECTIONS[len(losses) - 1]
        spent = _between([self.far.drop(one) for one in losses], [one.kl for one in losses], drop)
        return {
            "drop": single, "reached": reached, "directions": float(taken), "kl": spent,
            "damage": max(spent, 1e-9) / max(kl, 1e-9),
        }  # fmt: skip


def _between(drops: Sequence[float], damages: Sequence[float], wanted: float) -> float:
    """The damage at a drop, on straight lines from none at no drop; the last where none is enough.

    ``drops`` and ``damages`` are of more and more directions, of which the last alone may reach
    what is wanted.
    """
    before = (max(drops[:-1], default=0.0), damages[-2] if len(damages) > 1 else 0.0)
    if drops[-1] <= wanted or drops[-1] <= before[0]:
        return damages[-1]
    share = (wanted - before[0]) / (drops[-1] - before[0])
    return before[1] + max(0.0, share) * (damages[-1] - before[1])
