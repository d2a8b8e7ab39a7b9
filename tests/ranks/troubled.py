"""A small run on several ranks, whose rows make trouble where they are told to."""

import multiprocessing
import os
import signal
import time

import numpy as np
import torch

import isthmus
from isthmus.anatomy import Signal, Source
from isthmus.ranks import team

FEATURES, BATCH, STEPS = 8, 47, 12
SHARES = (24, 23, 12, 11)
"""Rows of a batch that a rank of two or of four reads; nobody else reads as many."""
OPTIONS = {
    "latent_dim": 25, "k": 4, "steps": STEPS, "batch_size": BATCH, "dead_after": 90, "k_aux": 4,
    "save_every": 3, "log_every": 4, "warmup": 0, "lr": 0.01, "progress": False,
}  # fmt: skip
_DRAW = np.random.default_rng(5)
TABLE = ((_DRAW.random((400, 12)) < 0.2) * _DRAW.random((400, 12))) @ _DRAW.normal(
    size=(12, FEATURES)
)


STRUCK = multiprocessing.Value("d", 0.0)
"""When trouble began, in any of the processes."""


class Rows(Source):
    """The table; ``trouble(rank, step)`` is called where a rank reads its share of a batch, and may
    return other rows. Steps are counted from where the process began."""

    def __init__(self, trouble=None, table=TABLE):
        self.signal = Signal("vector", (FEATURES,))
        self.table = torch.from_numpy(table.astype(np.float32))
        self.trouble, self.steps = trouble, 0

    def __len__(self):
        return len(self.table)

    def rows(self, index):
        here = team()
        x = self.table[index]
        if here is None or self.trouble is None or len(index) not in SHARES:
            return x
        self.steps += 1
        other = self.trouble(here.rank, self.steps - 1)
        return x if other is None else other(x)


def fitted(out, trouble=None, ranks=2, recipe="topk", **options):
    """A run; what makes trouble goes with the rows to every rank."""
    return isthmus.fit(recipe, Rows(trouble), out=out, ranks=ranks, **{**OPTIONS, **options})


def gone_on(out, ranks=2, trouble=None, **options):
    """The same run, from its last checkpoint."""
    return isthmus.resume(out, Rows(trouble), ranks=ranks, progress=False, **options)


def at(rank, step, what):
    """Trouble for one rank at one step."""

    def trouble(here, now):
        if (here, now) != (rank, step):
            return None
        STRUCK.value = time.time()
        return what()

    return trouble


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def spoil():
    """One number of the rows becomes NaN."""

    def spoilt(x):
        x = x.clone()
        x[3, 2] = torch.nan
        return x

    return spoilt


def same(one, other):
    """Whether two folders hold the same weights, byte for byte."""
    name = "model.safetensors"
    return (one / name).read_bytes() == (other / name).read_bytes()
