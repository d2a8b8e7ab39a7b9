"""Activations of a resident language model: dictionaries of them, and what the model then loses."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from isthmus.activations import Store, harvest
from isthmus.anatomy import Autoencoder
from isthmus.evaluation import fvu
from isthmus.interpretation import behaviour
from isthmus.language import LanguageModel, Tokens, documents, pack, resident
from isthmus.studies.arms import Bench, Ground, Subject
from isthmus.studies.trial import Trial

Part = Literal["train", "test"]

NEEDS = ("gutenberg12", "masc_pos")
"""Data sets that the resident model's texts are made of, for ``needs=`` of a claim."""

POINT = "layers.1"
"""The residual stream in the middle of the model, width 192."""

TEXTS = {"train": "training", "test": "held-out"}
"""Dictionaries are fitted on text that the model was trained on, and measured on other text."""


def host() -> LanguageModel:
    """The resident model: 4 layers of width 192, MLPs of 768."""
    return resident()


@cache
def tokens(part: Part, seed: int, limit: int | None = None) -> Tokens:
    """English in rows of 256 tokens, its documents in an order drawn by ``seed``.

    "train" has 3.9 million tokens, "test" 174,154 that the model has never seen; a part keeps at
    most ``limit`` tokens.
    """
    model, found = host(), documents(TEXTS[part])
    order = np.random.default_rng([seed, part == "test"]).permutation(len(found))
    return pack([found[i] for i in order], model.tokenizer, model.context, limit)


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


def language(
    point: str = POINT, *, fitted: int = 200_000, held: int = 8192, spliced: int = 8000
) -> Bench:
    """A bench of activations at one point; other documents are fitted for each seed.

    ``fitted`` tokens are learnt from, ``held`` are measured on, and on ``spliced`` the
    reconstructions are put back into the model. ``known`` has ``tokens``, those last ones.
    """

    def open_ground(trial: Trial) -> Ground:
        seen = rows("train", point, trial.seed, trial.rows(fitted))
        unseen = rows("test", point, trial.seed, trial.rows(held))
        text = tokens("test", trial.seed, trial.rows(spliced))
        return Ground(seen, unseen, trial.seed, {"tokens": text, "point": point})

    setting = (
        f"The resident language model's activations after {point} (width 192): {fitted:,} tokens "
        f"of its training text, other documents for each seed; errors on {held:,} tokens of text that "
        f"it has not seen, added_ce on {spliced:,}."
    )
    return Bench("language", setting, open_ground, MEASURES, NEEDS)


def _codes(subject: Subject, ground: Ground) -> np.ndarray:
    return np.asarray(subject.encode(ground.held)) != 0


def _losses(subject: Subject, ground: Ground) -> dict[str, float]:
    """What the model loses, in nats a token, where the reconstruction takes the activation's place.

    For a control that is no model, only its error is known.
    """
    if not isinstance(subject, Autoencoder):
        return {}
    found = behaviour(host(), ground.known["point"], subject, ground.known["tokens"], draws=0)
    return {name: found[name].value for name in ("added_ce", "kl", "loss_recovered_mean")}


MEASURES: Mapping[str, Callable[[Subject, Ground], float | Mapping[str, float]]] = {
    "fvu": lambda subject, ground: float(
        fvu(ground.held, np.asarray(subject.reconstruct(ground.held))).value
    ),
    "l0": lambda subject, ground: float(_codes(subject, ground).sum(1).mean()),
    "dead_share": lambda subject, ground: float(1.0 - _codes(subject, ground).any(0).mean()),
    "losses": _losses,
}
