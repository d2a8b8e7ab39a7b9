"""High-ratio masking and the asymmetric encoder, by linear probes and by the clock."""

# About 130 CPU seconds a seed.

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.evaluation.probing import knn_probe, linear_probe
from isthmus.studies import Primary, Published, Secondary, Trial, experiment, less, ratio
from isthmus.training import Callback, Trainer

STEPS = 1000
BATCH = 128
ROWS = 20_000
WIDTH, DEPTH, HEADS = 48, 2, 4
DECODER_WIDTH, DECODER_DEPTH = 32, 1
PATCH = 4
PER_CLASS = 100
PROBE_ROWS, TEST_ROWS = 5000, 2000
TIMED_STEPS, TIMED_BATCH, TURNS = 6, 64, 3

FEATURES: dict[str, dict[str, Any]] = {
    "mae": {},
    "low-ratio": {"mask_ratio": 0.25},
    "encoder-tokens": {"mask_tokens": "encoder"},
}
CLOCK: dict[str, dict[str, Any]] = {
    "mae": {},
    "encoder-tokens": {"mask_tokens": "encoder"},
    "half": {"mask_tokens": "encoder", "depth": 2},
    "encoder-tokens-again": {"mask_tokens": "encoder"},
}

SAME: dict[str, Any] = {"batch_size": BATCH, "lr": 1e-3, "lr_batch": None}
SMALL: dict[str, Any] = {
    "latent_dim": WIDTH,
    "depth": DEPTH,
    "heads": HEADS,
    "decoder_width": DECODER_WIDTH,
    "decoder_depth": DECODER_DEPTH,
    "patch": PATCH,
}


@experiment(
    "mae",
    family="masked",
    catalogue=33,
    paper="He, Chen, Xie, Li, Dollar, Girshick 2021, Masked Autoencoders Are Scalable Vision "
    "Learners",
    statement="Hiding most patches from an encoder that sees only the rest learns better features "
    "than hiding few, and is at least 3 times faster than giving the encoder mask tokens.",
    headline="ImageNet-1K: 87.8 % after fine-tuning (ViT-H); pretraining 3 times faster or more.",
    setting=f"MNIST, {ROWS} images of 28 x 28 pixels, patches of {PATCH}. Speed: processor time of "
    f"a step of {TIMED_BATCH}, the arms in turn, at an encoder of width 192 with 4 blocks and a "
    f"decoder of width 64 with one. Features: ViT of width {WIDTH} and {DEPTH} blocks, decoder "
    f"{DECODER_WIDTH} and {DECODER_DEPTH}; {STEPS} steps of {BATCH}, AdamW at 0.001 with cosine; "
    f"linear and nearest-neighbour probes on the mean token with {10 * PER_CLASS} labels, "
    f"{TEST_ROWS} test images, which is too small a scale to decide on the paper's features.",
    arms={
        "mae": "75 % hidden, only visible patches encoded, loss on hidden ones",
        "encoder-tokens": "mask tokens in the encoder",
        "encoder-tokens-again": "control: the same, timed once more",
        "half": "positive control: mask tokens in an encoder of half as many blocks",
        "low-ratio": "25 % hidden",
        "untrained": "the encoder before its first step",
    },
    recipes=("mae",),
    needs=("mnist",),
    timed=("ms_per_step",),
    primary=Primary(
        ratio("ms_per_step", "mae", to="encoder-tokens"), below=1.0, positive="half",
        negative="encoder-tokens-again",
        published=Published(1 / 3, "abstract: accelerate training by 3 times or more"),
    ),
    secondary=(
        Secondary(less("probe", "mae", than="low-ratio"), above=0.0),
        Secondary(less("knn", "mae", than="low-ratio"), above=0.0),
        Secondary(less("probe", "mae", than="encoder-tokens"), above=0.0),
        Secondary(less("probe", "mae", than="untrained"), above=0.0),
    ),
)  # fmt: skip
def mae(trial: Trial) -> dict[str, dict[str, float]]:
    """Three masked models with a probe each, and four for the clock."""
    found = data.load("mnist")
    assert found.test is not None
    assert found.train_labels is not None
    assert found.test_labels is not None
    rng = np.random.default_rng(trial.seed)
    chosen = rng.permutation(len(found.train))[: trial.rows(ROWS)]
    tested = rng.permutation(len(found.test))[: trial.rows(TEST_ROWS)]
    rows, test = found.train[chosen], found.test[tested]
    labels, truth = found.train_labels[chosen], found.test_labels[tested]

    def probed(encode: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        part = slice(PROBE_ROWS)
        seen = encode(rows[part]), labels[part], encode(test), truth
        linear = linear_probe(*seen, per_class=PER_CLASS, seeds=trial.seed)
        near = knn_probe(*seen, per_class=PER_CLASS, seeds=trial.seed)
        return {"probe": 100.0 * linear.value, "knn": 100.0 * near.value}

    figures: dict[str, dict[str, float]] = {}
    for arm, options in FEATURES.items():
        model = trial.fit("mae", rows, steps=STEPS, **SMALL, **SAME, **options)
        figures[arm] = probed(model.encode)
    untrained = trial.fit("mae", rows, steps=1, **{**SMALL, **SAME, "lr": 1e-12})
    figures["untrained"] = probed(untrained.encode)
    for arm, milliseconds in _timed(rows, trial).items():
        figures.setdefault(arm, {})["ms_per_step"] = milliseconds
    return figures


class _Stopwatch(Callback):
    """Processor time after every step, in seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, trainer: Trainer, step: int) -> None:
        self.times.append(time.process_time())


def _timed(rows: np.ndarray, trial: Trial) -> dict[str, float]:
    """The median step of each arm; the arms in turn, the first steps of each warm up."""
    steps: dict[str, list[float]] = {arm: [] for arm in CLOCK}
    for _ in range(1 if trial.probing else TURNS):
        for arm, options in CLOCK.items():
            watch = _Stopwatch()
            isthmus.fit(
                "mae", rows, patch=PATCH, steps=(1 if trial.probing else TIMED_STEPS) + 3,
                batch_size=8 if trial.probing else TIMED_BATCH,
                seed=trial.seed, progress=False, callbacks=[watch], latent_dim=192, heads=4,
                decoder_width=64, decoder_depth=1, **{"depth": 4, **options},
            )  # fmt: skip
            steps[arm] += np.diff(watch.times)[2:].tolist()
    return {arm: 1000.0 * median(found) for arm, found in steps.items()}
