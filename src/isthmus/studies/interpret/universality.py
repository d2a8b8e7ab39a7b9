"""Dictionaries of two language models: are their atoms alike once latents are paired by firing?"""

# About 70 CPU seconds a seed: four fits of 1000 steps at 8 ms, activations of three models.

import numpy as np

from isthmus.evaluation import fvu
from isthmus.evaluation.similarity import matched_units, rsa, svcca, unit_pairs
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches.atoms import atoms_of
from isthmus.studies.benches.hosts import activations, untrained
from isthmus.studies.benches.language import NEEDS, host, tokens

FIRST, SECOND = "resident", "circuits"
POINTS = {FIRST: "layers.1", SECOND: "layers.2"}
"""The residual stream in the middle of either model, width 192 of 4 layers and 256 of 6."""
TOKENS, HELD = 60_000, 8000
WIDTH, ACTIVE, STEPS, RATE = 2048, 16, 1000, 2.4e-3
LEAST = 0.1
"""Pairs of a smaller correlation are left out, as in the paper."""
NULLS, FEW = 20, 400

Rows = np.ndarray


@experiment(
    "universality",
    family="interpret",
    catalogue=46,
    paper="Lan, Torr, Meek, Khakzar, Krueger, Barez 2024, Sparse Autoencoders Reveal Universal "
    "Feature Spaces Across Large Language Models, arXiv:2410.06981",
    statement="Once latents of two language models are paired by their activations, the geometry "
    "of their atoms is far more alike than in random pairs.",
    headline="Pythia-70M and 160M, Gemma-1-2B and 2-2B and others: significant similarities by "
    "SVCCA after matching, against random pairings of the same latents (abstract, no number).",
    needs=NEEDS,
    recipes=("topk",),
    setting=f"The language models {FIRST!r} and {SECOND!r} of this library, of other sizes and "
    "seeds, with common tokens and a common half of their text; residual stream in the middle of "
    f"either, the same {TOKENS:,} tokens; width {WIDTH}, k = {ACTIVE}, {STEPS} steps of 512 rows. "
    f"Each latent's partner is the one of the highest correlation on {HELD:,} other tokens, above "
    f"{LEAST}; of several latents with one partner the best is kept. The gain is SVCCA of the "
    f"atoms of the pairs, less its mean over {NULLS} random pairings of the same atoms.",
    arms={
        "models": "the two models",
        "shuffled": "control: the second model's activations dealt out to other tokens before "
        "latents are paired",
        "starts": "positive control: two dictionaries of the first model, from other seeds",
        "untrained": "the first model, and a model like the second before its first step",
        "elements": "the elements of the two residual streams in place of latents",
    },
    primary=Primary(
        value("gain", "models"), above=0.0, positive="starts", negative="shuffled"
    ),
    premises=(
        Premise(
            value("pairs", "models"), above=600.0,
            why="CCA of 192 and 256 elements needs more rows than both have together",
        ),
        Premise(value("fvu", "models"), below=0.5, why="the dictionaries have learnt the rows"),
    ),
    secondary=(
        Secondary(value("gain_rsa", "models"), above=0.0),
        Secondary(less("correlation", "models", than="elements"), above=0.0),
        Secondary(less("gain", "models", than="untrained"), above=0.0),
    ),
)  # fmt: skip
def universality(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: dictionaries of two models, and how alike their atoms are."""
    text = [
        tokens(part, trial.seed, trial.rows(count, least=1024), FIRST)
        for part, count in (("train", TOKENS), ("test", HELD))
    ]  # fmt: skip
    models = {
        "first": (host(FIRST), POINTS[FIRST], trial.seed),
        "again": (host(FIRST), POINTS[FIRST], trial.seed + 1000),
        "second": (host(SECOND), POINTS[SECOND], trial.seed),
        "start": (untrained(host(SECOND), trial.seed), POINTS[SECOND], trial.seed),
    }
    codes, atoms, held, errors = {}, {}, {}, {}
    for name, (model, point, seed) in models.items():
        seen, held[name] = (activations(model, part, point) for part in text)
        fitted = trial.fit("topk", seen, steps=STEPS, seed=seed, k=ACTIVE, latent_dim=WIDTH,
                           batch_size=512, lr=RATE, average=None)  # fmt: skip
        codes[name], atoms[name] = np.asarray(fitted.encode(held[name])), atoms_of(fitted)
        errors[name] = float(fvu(held[name], np.asarray(fitted.reconstruct(held[name]))).value)
    rng = np.random.default_rng([trial.seed, 1])
    dealt = codes["second"][rng.permutation(len(codes["second"]))]
    figures = {
        "models": alike(codes["first"], codes["second"], atoms["first"], atoms["second"], rng),
        "shuffled": alike(codes["first"], dealt, atoms["first"], atoms["second"], rng, least=-1.0),
        "starts": alike(codes["first"], codes["again"], atoms["first"], atoms["again"], rng),
        "untrained": alike(codes["first"], codes["start"], atoms["first"], atoms["start"], rng),
    }
    figures["models"]["fvu"] = max(errors["first"], errors["second"])
    best = matched_units(held["first"], held["second"], matching="semi", absolute=True)
    figures["elements"] = {"correlation": float(best.value)}
    return figures


def alike(
    codes: Rows,
    others: Rows,
    atoms: Rows,
    other_atoms: Rows,
    rng: np.random.Generator,
    least: float = LEAST,
) -> dict[str, float]:
    """How much more alike atoms of pairs are than those of random pairs, by SVCCA and RSA."""
    left, right, correlation = pairs(codes, others, least)
    a, b = atoms[left], other_atoms[right]
    orders = [rng.permutation(len(b)) for _ in range(NULLS)]
    few = slice(FEW)
    return {
        "gain": _less_null(svcca(a, b).value, [svcca(a, b[order]).value for order in orders]),
        "gain_rsa": _less_null(
            rsa(a[few], b[few]).value, [rsa(a[few], b[few][order]).value for order in
                                        (rng.permutation(len(b[few])) for _ in range(3))]
        ),
        "correlation": float(correlation.mean()),
        "pairs": float(len(left)),
    }  # fmt: skip


def _less_null(measured: float, null: list[float]) -> float:
    return float(measured - np.mean(null))


def pairs(codes: Rows, others: Rows, least: float) -> tuple[Rows, Rows, Rows]:
    """Latents of both, paired by correlation above ``least``, once each; and the correlations.

    A latent's partner is the one of the highest correlation; of several latents with one partner
    that of the highest correlation is kept.
    """
    partner, correlation = unit_pairs(codes, others, matching="semi")
    latents = np.flatnonzero((partner >= 0) & (correlation > least))
    latents = latents[np.argsort(-correlation[latents], kind="stable")]
    _, first = np.unique(partner[latents], return_index=True)
    kept = np.sort(latents[first])
    return kept, partner[kept], correlation[kept]
