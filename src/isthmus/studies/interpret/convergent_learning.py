"""Two networks that differ in their seed alone: do their units match, one by one?"""

# About 60 CPU seconds a seed: two classifiers of 500 steps at 40 ms, and regressions of units.

from dataclasses import replace

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit

from isthmus.evaluation.similarity import matched_units
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches.classifier import FEATURES, accuracy, classifier, features
from isthmus.studies.benches.images import images

BENCH = images("mnist", rows=20_000, held=4000, side=14)
STEPS, FEW = 500, 5
OTHER = 1000
"""What is added to the seed for the second network of a pair."""


@experiment(
    "convergent-learning",
    family="interpret",
    catalogue=51,
    paper="Li, Yosinski, Clune, Lipson, Hopcroft 2016, Convergent Learning: Do different neural "
    "networks learn the same representations?, arXiv:1511.07543",
    statement="Networks that differ in their initialisation learn some units in common, one by "
    "one, and others that are common only as mixtures of a few units.",
    headline="Four AlexNets on ImageNet: some features are learnt reliably by several networks, "
    "others are not; units span common low-dimensional subspaces; codes mix local and distributed "
    "parts (abstract, without a number).",
    needs=BENCH.needs,
    setting=f"{BENCH.setting} Two convolutional classifiers from other seeds, {STEPS} steps; the "
    f"{FEATURES} penultimate units, on the test images, by the correlation with the most "
    "correlated unit of the other network (semi-matching). Networks before their first step see "
    "the same images through as many random units: what two networks have in common without "
    f"having learnt. Prediction from {FEW} units by orthogonal matching pursuit, in place of the "
    "paper's L1 regression, on half of the images, judged on the rest.",
    arms={
        "trained": "two trained networks",
        "untrained": "two networks before their first step",
        "untrained again": "control: two others before their first step",
        "copy": "positive control: one trained network and a copy, its units in another order",
    },
    primary=Primary(
        less("semi", "trained", than="untrained"), above=0.0, positive="copy",
        negative="untrained again",
    ),
    premises=(
        Premise(value("accuracy", "trained"), above=0.95, why="both networks have learnt the task"),
    ),
    secondary=(
        Secondary(less("one_to_one", "trained", than="untrained"), above=0.0),
        Secondary(
            value("gain", "trained").named(
                f"share of variance that {FEW} units of the other explain beyond the best one"
            ),
            above=0.0,
        ),
    ),
)  # fmt: skip
def convergent_learning(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: pairs of networks, and how far their units match."""
    ground = BENCH.open(trial)
    units, shares = {}, {}
    for name, seed, steps in (
        ("first", trial.seed, STEPS), ("second", trial.seed + OTHER, STEPS),
        ("start", trial.seed, 0), ("other start", trial.seed + OTHER, 0),
        ("third start", trial.seed + 2 * OTHER, 0), ("fourth start", trial.seed + 3 * OTHER, 0),
    ):  # fmt: skip
        trunk, head = classifier(
            ground.rows, ground.known["classes"], replace(trial, seed=seed), steps
        )
        units[name] = features(trunk, ground.held)
        shares[name] = accuracy(head, units[name], ground.known["truth"])
    order = np.random.default_rng(trial.seed).permutation(FEATURES)
    figures = {
        "trained": matched(units["first"], units["second"]),
        "untrained": matched(units["start"], units["other start"]),
        "untrained again": matched(units["third start"], units["fourth start"]),
        "copy": matched(units["first"], units["first"][:, order]),
    }
    figures["trained"]["accuracy"] = min(shares["first"], shares["second"])
    figures["trained"]["gain"] = gain(units["first"], units["second"], FEW)
    return figures


def matched(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Mean correlation of units of ``a`` with their partners in ``b``, in both of the pairings."""
    return {
        "semi": float(matched_units(a, b, matching="semi").value),
        "one_to_one": float(matched_units(a, b).value),
    }


def gain(a: np.ndarray, b: np.ndarray, few: int) -> float:
    """Mean share of a unit's variance that a few units of ``a`` explain beyond the best single one.

    Units of ``b`` that do not vary are left out. Fitted on the first half of the rows, measured on
    the second.
    """
    half = len(a) // 2
    varies = (b[:half].std(0) > 0) & (b[half:].std(0) > 0)
    a, b = a[:, a[:half].std(0) > 0].astype(float), b[:, varies].astype(float)
    errors = []
    for count in (few, 1):
        fitted = OrthogonalMatchingPursuit(n_nonzero_coefs=count).fit(a[:half], b[:half])
        left = (b[half:] - fitted.predict(a[half:])).var(0)
        errors.append(left / b[half:].var(0))
    return float((errors[1] - errors[0]).mean())
