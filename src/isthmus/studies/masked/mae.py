"""High-ratio masking and the asymmetric encoder, by linear probes and by the clock."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus import data
from isthmus.anatomy import Signal
from isthmus.evaluation.probing import knn_probe, linear_probe
from isthmus.networks import TransformerDecoder, TransformerEncoder
from isthmus.studies import Check, Figures, Trial, study
from isthmus.training import Callback, Trainer

STEPS = 1000
BATCH = 128
ROWS = 20_000
WIDTH, DEPTH, HEADS = 48, 2, 4
DECODER_WIDTH, DECODER_DEPTH = 32, 1
PATCH = 4
PER_CLASS = 100
PROBE_ROWS, TEST_ROWS = 5000, 2000
TIMED_STEPS, TIMED_BATCH = 10, 64

SAME: dict[str, Any] = {"batch_size": BATCH, "lr": 1e-3, "lr_batch": None, "progress": False}
SMALL: dict[str, Any] = {
    "latent_dim": WIDTH,
    "depth": DEPTH,
    "heads": HEADS,
    "decoder_width": DECODER_WIDTH,
    "decoder_depth": DECODER_DEPTH,
    "patch": PATCH,
}


def _points(arm: str, of: str = "mae") -> Callable[[Figures], float]:
    """Percentage points of probe accuracy that ``of`` is above ``arm``."""
    return lambda f: 100.0 * (f[of]["probe"] - f[arm]["probe"])


@study(
    "mae",
    family="masked",
    catalogue=33,
    paper="He, Chen, Xie, Li, Dollar, Girshick 2021, Masked Autoencoders Are Scalable Vision "
    "Learners",
    statement="Hiding most patches from an encoder that sees only the rest learns better features "
    "than hiding few, and is at least 3 times faster than giving the encoder mask tokens.",
    headline="ImageNet-1K: 87.8 % after fine-tuning (ViT-H); pretraining 3 times faster or more.",
    setting=f"MNIST, {ROWS} images of 28 x 28 pixels, patches of {PATCH}; ViT of width {WIDTH} and "
    f"{DEPTH} blocks, decoder {DECODER_WIDTH} and {DECODER_DEPTH}; {STEPS} steps of {BATCH}, AdamW "
    f"at 0.001 with cosine. Linear probe on the mean token with {10 * PER_CLASS} labels, "
    f"{TEST_ROWS} test images. Speed: CPU time of a step of {TIMED_BATCH} at width 96, 4 blocks, "
    "decoder 64 and 2; the check asks for 2 times, the sizes being small.",
    arms={
        "mae": "75 % hidden, only visible patches encoded, loss on hidden ones",
        "low-ratio": "25 % hidden",
        "encoder-tokens": "mask tokens in the encoder",
        "loss-on-all": "loss on all patches",
        "ae": "the same transformer as a plain autoencoder",
        "untrained": "control: the encoder before its first step",
        "pixels": "the probe on the pixels themselves",
    },
    recipes=("mae", "plain"),
    needs=("mnist",),
    checks=(
        Check(
            "points of the probe that hiding 75 % gains on hiding 25 %",
            _points("low-ratio"),
            at_least=3.0,
            control=_points("low-ratio", "untrained"),
        ),
        Check(
            "points of the probe above the plain autoencoder",
            _points("ae"),
            at_least=5.0,
            control=_points("ae", "untrained"),
        ),
        Check(
            "points of the probe above mask tokens in the encoder",
            _points("encoder-tokens"),
            at_least=0.0,
        ),
        Check(
            "points of the probe that a loss on hidden patches alone gains on a loss on all",
            _points("loss-on-all"),
            at_least=0.0,
        ),
        Check(
            "how many times faster a step is than with mask tokens in the encoder",
            lambda f: f["encoder-tokens"]["ms_per_step"] / f["mae"]["ms_per_step"],
            at_least=2.0,
        ),
    ),
)
def mae(trial: Trial) -> dict[str, dict[str, float]]:
    """Four masked models and a plain one, a probe each, and two models for the clock."""
    found = data.load("mnist")
    assert found.test is not None
    assert found.train_labels is not None
    assert found.test_labels is not None
    rng = np.random.default_rng(trial.seed)
    chosen = rng.permutation(len(found.train))[:ROWS]
    tested = rng.permutation(len(found.test))[:TEST_ROWS]
    rows, test = found.train[chosen], found.test[tested]
    labels, truth = found.train_labels[chosen], found.test_labels[tested]

    def probed(encode: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        part = slice(PROBE_ROWS)
        seen = encode(rows[part]), labels[part], encode(test), truth
        linear = linear_probe(*seen, per_class=PER_CLASS, seeds=trial.seed)
        near = knn_probe(*seen, per_class=PER_CLASS, seeds=trial.seed)
        return {"probe": linear.value, "knn": near.value}

    variants: dict[str, dict[str, Any]] = {
        "mae": {},
        "low-ratio": {"mask_ratio": 0.25},
        "encoder-tokens": {"mask_tokens": "encoder"},
        "loss-on-all": {"loss_on": "all"},
    }
    steps, figures = trial.steps(STEPS), {}
    for arm, options in variants.items():
        model = isthmus.fit("mae", rows, steps=steps, seed=trial.seed, **SMALL, **SAME, **options)
        figures[arm] = probed(model.encode)
    for arm in ("mae", "encoder-tokens"):
        figures[arm]["ms_per_step"] = _milliseconds(rows, variants[arm], trial.seed)
    encoder, decoder = _transformer(data.as_source(rows).signal, trial.seed)
    plain = isthmus.fit(
        "plain", rows, steps=steps, seed=trial.seed, encoder=encoder, decoder=decoder,
        optimiser="adamw", optimiser_options={"betas": [0.9, 0.95]}, weight_decay=0.05,
        lr_schedule="cosine", warmup=steps // 10, **SAME,
    )  # fmt: skip
    figures["ae"] = probed(plain.encode)
    untrained = isthmus.fit("mae", rows, steps=1, seed=trial.seed, **{**SMALL, **SAME, "lr": 1e-12})
    figures["untrained"] = probed(untrained.encode)
    figures["pixels"] = probed(lambda images: images.reshape(len(images), -1) / 255.0)
    return figures


def _transformer(signal: Signal, seed: int) -> tuple[TransformerEncoder, TransformerDecoder]:
    """The same encoder with a head, and a decoder of the same size, for a plain autoencoder."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return (
            TransformerEncoder(signal, WIDTH, WIDTH, DEPTH, HEADS, PATCH),
            TransformerDecoder(signal, WIDTH, DECODER_WIDTH, DECODER_DEPTH, HEADS, PATCH),
        )


class _Stopwatch(Callback):
    """CPU time after every step, in seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, trainer: Trainer, step: int) -> None:
        self.times.append(time.process_time())


def _milliseconds(rows: np.ndarray, options: dict[str, Any], seed: int) -> float:
    """The median step at the recipe's own sizes; the first ones warm up."""
    watch = _Stopwatch()
    isthmus.fit(
        "mae", rows, patch=PATCH, steps=TIMED_STEPS + 3, batch_size=TIMED_BATCH, seed=seed,
        progress=False, callbacks=[watch], **options,
    )  # fmt: skip
    return 1000.0 * median(np.diff(watch.times)[2:])
