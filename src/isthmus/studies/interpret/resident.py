"""What studies of the resident language model share: text in two parts, and its activations."""

import atexit
import shutil
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from isthmus.activations import Store, harvest
from isthmus.language import Document, LanguageModel, Tokens, documents, pack, resident

Part = Literal["train", "test"]

NEEDS = ("gutenberg12", "masc_pos")
"""Data sets that ``held-out`` is made of, for ``needs=`` of a study."""

TEST_SHARE = 1 / 3
"""Share of the tokens that the test part has at least."""

POINT = "layers.1"
"""The residual stream in the middle of the model, width 192."""


def host() -> LanguageModel:
    """The resident model: 4 layers of width 192, MLPs of 768."""
    return resident()


@cache
def tokens(part: Part, seed: int, limit: int | None = None) -> Tokens:
    """English that the resident model was not trained on (174,154 tokens), or a part of it.

    ``seed`` deals the 51 documents out to two parts: no document is in both, at least a third of
    the tokens are for ``test``. A part keeps at most ``limit`` tokens, in rows of 256 that are
    spread evenly over its documents.
    """
    model = host()
    return pack(_dealt(seed)[part], model.tokenizer, model.context, limit)


@cache
def _dealt(seed: int) -> dict[Part, list[Document]]:
    """The documents of each part, in random order; sizes are measured in characters."""
    found = documents("held-out")
    wanted = TEST_SHARE * sum(len(one.text) for one in found)
    dealt: dict[Part, list[Document]] = {"train": [], "test": []}
    filled = 0
    for number in np.random.default_rng([seed, 0]).permutation(len(found)):
        one = found[number]
        # A document of that size would leave too little to train on.
        fits = filled < wanted and filled + len(one.text) < 1.3 * wanted
        dealt["test" if fits else "train"].append(one)
        filled += len(one.text) if fits else 0
    return dealt


@cache
def store(part: Part, points: tuple[str, ...], seed: int, limit: int | None = None) -> Store:
    """Activations at ``points`` on ``tokens(part, seed, limit)``, BOS and padding left out.

    Harvested once in a process, as float16, into a folder that is deleted when the process ends.
    ``.source(point)`` and ``.pair(a, b)`` are training data, ``.rows(point, index)`` float32
    ``(len(index), width)``, ``.where(index)`` says where in the text they are.
    """
    folder = Path(tempfile.mkdtemp(prefix="isthmus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return harvest(host(), tokens(part, seed, limit), points, folder / "store", progress=False)


@lru_cache(maxsize=4)
def rows(part: Part, point: str, seed: int, limit: int | None = None) -> np.ndarray:
    """Activations at one point, float32 ``(tokens, width)``, in the order of the text.

    They are kept: do not write to them. For several points of the same text, one :func:`store` of
    them all saves passes of the model.
    """
    found = store(part, (point,), seed, limit)
    values: np.ndarray = found.rows(point, torch.arange(len(found))).numpy()
    return values
