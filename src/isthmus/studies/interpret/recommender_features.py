"""Latents of a recommender's last hidden vector against its elements, as genres tell them."""

# About 50 CPU seconds a seed: a recommender of 400 steps at 60 ms, two dictionaries.

import numpy as np

from isthmus.evaluation import fvu
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, less, value
from isthmus.studies.benches.films import NEEDS, films
from isthmus.studies.benches.recommender import hidden, popularity, recall, recommender, rows_of

PLACES, HELD_USERS, TRAINING = 50, 140, 400
WIDTH, ACTIVE, STEPS = 2048, 32, 1500
TOP = 0.02
"""Share of the sequences on which a unit is called active, or fewer where it is active on fewer."""
FEWEST = 20


@experiment(
    "recommender-features",
    family="interpret",
    catalogue=216,
    paper="Wang, Zhang, Ma, Zhang 2024, Interpret the Internal States of Recommendation Model "
    "with Sparse Autoencoder, arXiv:2411.06112",
    statement="Latents of a dictionary on the last hidden vector of a recommender that knows films "
    "by number alone follow concepts better than the vector's own elements do.",
    headline="SASRec and others on several data sets: latents that are described more confidently "
    "(precision and recall of a description on new sequences) than the model's neurons; hundreds "
    "of concepts.",
    recipes=("topk",),
    needs=NEEDS,
    reading="Elements of the vector follow genres slightly better than latents (0.474, 0.454, on "
    "every seed), and both a little better than what an untrained recommender gives (0.379). With "
    "706 users a genre is no concept of its own to this model; neither kind of unit describes one "
    "well (the mean over genres of the best F1 is 0.28 and 0.30).",
    setting=f"MovieLens (706 users, films with five ratings or more); a causal transformer of "
    f"width 64 and two blocks, {TRAINING} steps on sequences of {PLACES} films, measured on "
    f"{HELD_USERS} users that nothing was fitted to. The dictionary: width {WIDTH}, k = {ACTIVE}, "
    f"{STEPS} steps of 512 vectors. The concept of a unit is one of the genres of the film just "
    "watched, in the place of a description by a language model: the genre with the highest F1 on "
    "sequences that end in one half of the films, judged on those that end in the other half, so "
    f"that a unit that knows single films gains nothing. A unit is active on the {TOP:.0%} of the "
    "sequences where it is largest; F1 is of active and other sequences in equal numbers. Elements "
    "count with both signs.",
    arms={
        "latents": "the dictionary's latents",
        "neurons": "the elements of the hidden vector, each with both signs",
        "untrained": "control: latents of a dictionary on the recommender before its first step",
        "genres": "positive control: the genres of the film just watched, as units",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "fvu", ("latents",)),
    primary=Primary(
        less("confidence", "latents", than="neurons"),
        above=0.0, positive="genres", negative="untrained",
    ),
    premises=(
        Premise(
            value("lift", "neurons").named("recall at 10 of the recommender over popularity's"),
            above=0.0,
            why="a recommender that has learnt nothing has no features",
        ),
        Premise(value("fvu", "latents"), below=0.3, why="the dictionary has learnt the vectors"),
    ),
    secondary=(
        Secondary(less("units", "latents", than="neurons"), above=0.0),
        Secondary(less("best", "latents", than="neurons"), above=0.0),
    ),
)  # fmt: skip
def recommender_features(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: a recommender, its dictionary, and what genres say of the units of both."""
    rng = np.random.default_rng(trial.seed)
    data = films()
    order = rng.permutation(len(data.sequences))
    held, seen = ([data.sequences[i] for i in part] for part in np.split(order, [HELD_USERS]))
    training, test = (rows_of(part, PLACES) for part in (seen, held))
    half = rng.random(len(data.genres)) < 0.5
    last = test[test > 0]
    known = data.genres[last]
    figures: dict[str, dict[str, float]] = {}
    for arm, steps in (("latents", TRAINING), ("untrained", 0)):
        model = recommender(training, len(data.genres), trial, steps)
        vectors, unseen = hidden(model, training), hidden(model, test)
        dictionary = trial.fit(
            "topk", vectors[: trial.rows(len(vectors))], steps=STEPS, k=ACTIVE, latent_dim=WIDTH,
            batch_size=512, average=None, lr=trial.rate("latents", 2.4e-3),
        )  # fmt: skip
        codes = np.asarray(dictionary.encode(unseen))
        figures[arm] = described(codes, known, half[last])
        figures[arm]["fvu"] = float(fvu(unseen, np.asarray(dictionary.reconstruct(unseen))).value)
        if arm == "latents":
            centred = unseen - unseen.mean(0)
            figures["neurons"] = described(np.hstack([centred, -centred]), known, half[last])
            figures["neurons"]["lift"] = recall(model, test) - popularity(training, test)
    figures["genres"] = described(known.astype(np.float32), known, half[last])
    return figures


def described(units: np.ndarray, known: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """How well genres ``known`` ``(rows, genres)`` tell where ``units`` ``(rows, units)`` are on.

    ``confidence`` is the mean F1 of the units that are on often enough in both halves, ``best`` the
    mean over genres of the unit that tells it best, ``units`` how many have an F1 of 0.8 or more.
    """
    scores = np.stack([_scores(units[part], known[part]) for part in (~half, half)])
    usable = ~np.isnan(scores).any((0, 2))
    if not usable.any():
        return {"confidence": float("nan"), "best": float("nan"), "units": 0.0}
    first, second = scores[:, usable]
    confidence = second[np.arange(len(second)), first.argmax(1)]
    best = second[first.argmax(0), np.arange(second.shape[1])]
    return {
        "confidence": float(confidence.mean()),
        "best": float(best.mean()),
        "units": float((confidence >= 0.8).sum()),
    }


def _scores(units: np.ndarray, known: np.ndarray) -> np.ndarray:
    """F1 ``(units, genres)`` of each genre as a sign of each unit, nan for a unit seldom on."""
    rows, width = units.shape
    top = max(FEWEST, round(TOP * rows))
    scores = np.full((width, known.shape[1]), np.nan)
    for unit in range(width):
        largest = np.argpartition(units[:, unit], -top)[-top:]
        on = largest[units[largest, unit] > 0]
        if len(on) < FEWEST:
            continue
        off = np.ones(rows, bool)
        off[on] = False
        p, q = known[on].mean(0), known[off].mean(0)
        # Of as many sequences where it is off, so many are taken for it as have the genre.
        scores[unit] = 2.0 * p / (1.0 + p + q)
    return scores
