"""TopK against a ReLU dictionary with an L1 penalty, at equal L0."""

import numpy as np

import isthmus
from isthmus.anatomy import linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import recovery
from isthmus.studies import Check, Trial, study

WIDTH = 512
ACTIVE = 8
STEPS = 1500


@study(
    "topk",
    family="sparse",
    catalogue=30,
    paper="Gao et al. 2024, Scaling and evaluating sparse autoencoders",
    statement="TopK rebuilds better than ReLU with an L1 penalty at equal L0, and tied "
    "initialisation with AuxK keeps nearly all latents alive.",
    headline="GPT-2 small, 32k latents: lower normalised MSE than ReLU at every L0 (figure 2); "
    "7 % dead of 16 million latents.",
    setting="Planted data: 256 directions in 64 dimensions, 8 active; width 512, 1500 steps of "
    "512 rows; held-out rows. The ReLU dictionary is held at L0 = 8 by its control.",
    arms={
        "topk": "TopK with k = 8",
        "relu-l1": "the ReLU dictionary at L0 = 8",
        "random": "control: TopK's dictionary, with 8 latents of each row drawn at random",
    },
    recipes=("topk", "relu-l1"),
    checks=(
        Check(
            "FVU of the ReLU dictionary divided by that of TopK",
            lambda f: f["relu-l1"]["fvu"] / f["topk"]["fvu"],
            at_least=1.1,
            control=lambda f: f["relu-l1"]["fvu"] / f["random"]["fvu"],
        ),
        Check("dead latents of TopK", lambda f: f["topk"]["dead_share"], at_most=0.1),
        Check(
            "the ReLU dictionary's L0, relative to k",
            lambda f: abs(f["relu-l1"]["l0"] / ACTIVE - 1.0),
            at_most=0.05,
            premise=True,
        ),
    ),
)
def topk(trial: Trial) -> dict[str, dict[str, float]]:
    """Both dictionaries on the same rows, and what a random choice of latents rebuilds."""
    planted = Planted(width=64, truths=256, active=float(ACTIVE), seed=trial.seed)
    rows, held = planted.sample(1 << 16, 0)[0], planted.sample(8192, 1)[0]
    models = isthmus.fit_many(
        {
            "topk": {"recipe": "topk", "k": ACTIVE},
            "relu-l1": {"recipe": "relu-l1", "l0": float(ACTIVE)},
        },
        rows, latent_dim=WIDTH, steps=trial.steps(STEPS), batch_size=512, lr=1e-3, average=None,
        seed=trial.seed, progress=False,
    )  # fmt: skip
    figures = {}
    for name, model in models.items():
        found = isthmus.evaluate(model, held)
        figures[name] = {m: found[m].value for m in ("fvu", "l0", "dead_share")}
        atoms = linear_decoder(model).atoms().detach().numpy()
        figures[name]["recovered"] = recovery(atoms, planted.directions).value
    figures["random"] = {"fvu": _random_choice(models["topk"], held, trial.seed)}
    return figures


def _random_choice(model: isthmus.Autoencoder, held: np.ndarray, seed: int) -> float:
    """FVU with the same values at latents drawn at random."""
    z = np.asarray(model.encode(held))
    shuffled = np.random.default_rng(seed).permuted(z, axis=1)
    error = held - np.asarray(model.decode(shuffled))
    return float((error**2).sum() / ((held - held.mean(0)) ** 2).sum())
