"""Variants of every kind that fit_many treats differently, and ways to stop them."""

import os
import signal

import zoo
from isthmus.data import ArraySource
from isthmus.training import Callback

SHARED = {
    "steps": 14, "batch_size": 16, "log_every": 1, "progress": False, "device": "cpu",
    "validation": 0.2, "validate_every": 3,
}  # fmt: skip
SMALL = {"latent_dim": 12, "k": 2, "k_aux": 4, "dead_after": 20}
VARIANTS = {
    "sparse": ("topk", SMALL),
    "again": ("topk", {**SMALL, "seed": 5}),
    "short": {"recipe": "topk", **SMALL, "k": 3, "steps": 8, "average": 0.8},
    "noisy": ("denoising", {"latent_dim": 3, "hidden": (5,), "seed": 2, "accumulate": 2}),
    "stopping": ("plain", {"latent_dim": 3, "hidden": (5,), "lr": 3.0, "patience": 1}),
    "sampled": ("beta-vae", {"latent_dim": 3, "hidden": (5,), "seed": 3}),
}


def without_rate(history):
    return [{k: v for k, v in record.items() if k != "rows_per_second"} for record in history]


def assert_same(models, expected):
    assert list(models) == list(expected)
    for name, model in models.items():
        assert zoo.sha(model) == zoo.sha(expected[name]), name
        assert not model.training


class Counted(ArraySource):
    """Rows, and how often which of them were read."""

    def __init__(self, rows):
        super().__init__(rows)
        self.calls = []

    def rows(self, index):
        self.calls.append(index.tolist())
        return super().rows(index)


class Killed(BaseException):
    """As a kill: no variant's failure, but the end of all."""


class At(Callback):
    """Does something after a step of one variant."""

    def __init__(self, name, step, action):
        self.name, self.step, self.action = name, step, action

    def on_step(self, trainer, step):
        if (trainer.title, step) == (self.name, self.step):
            self.action()


def kill():
    raise Killed


def fail():
    raise RuntimeError("broken")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
