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

HOST = "resident"
WIDTHS = {HOST: 192, "circuits": 256}
"""Models that ship in the package, and the width of their residual streams."""

NEEDS = ("gutenberg12", "masc_pos")
"""Data sets that the resident model's texts are made of, for ``needs=`` of a claim."""

POINT = "layers.1"
"""The residual stream in the middle of the model, width 192."""

TEXTS = {
    HOST: {"train": "training", "test": "held-out"},
    "circuits": {"train": "circuits-training", "test": "circuits-held-out"},
}
"""Dictionaries are fitted on text that the model was trained on, and measured on other text; for
"circuits" a part of both is generated."""


def host(name: str = HOST) -> LanguageModel:
    """A resident model: "resident" (4 layers of width 192) or "circuits" (6 of width 256)."""
    return resident(name)


@cache
def tokens(part: Part, seed: int, limit: int | None = None, name: str = HOST) -> Tokens:
    """The model's text in rows of 256 tokens, its documents in an order drawn by ``seed``.

    "train" has 3.9 million tokens of English, "test" 174,154 that no resident model has seen; for
    "circuits" there are 4.3 million and 69,000 of generated passages beside. A part keeps at most
    ``limit`` tokens. ``name`` is that of the model here and below.
    """
    model, texts = host(name), documents(TEXTS[name][part])
    order = np.random.default_rng([seed, part == "test"]).permutation(len(texts))
    return pack([texts[i] for i in order], model.tokenizer, model.context, limit)


@cache
def store(
    part: Part, points: tuple[str, ...], seed: int, limit: int | None = None, name: str = HOST
) -> Store:
    """Activations at ``points`` on ``tokens(part, seed, limit, name)``, BOS and padding left out.

    Harvested once in a process, as float16, into a folder that is deleted when the process ends.
    ``.source(point)`` and ``.pair(a, b)`` are training data, ``.rows(point, index)`` float32
    ``(len(index), width)``, ``.where(index)`` says where in the text they are.
    """
    folder = Path(tempfile.mkdtemp(prefix="isthmus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = tokens(part, seed, limit, name)
    return harvest(host(name), text, points, folder / "store", progress=False)


@lru_cache(maxsize=4)
def rows(
    part: Part, point: str, seed: int, limit: int | None = None, name: str = HOST
) -> np.ndarray:
    """Activations at one point, float32 ``(tokens, width)``, in the order of the text.

    They are kept: do not write to them. For several points of the same text, one :func:`store` of
    them all saves passes of the model.
    """
    activations = store(part, (point,), seed, limit, name)
    values: np.ndarray = activations.rows(point, torch.arange(len(activations))).numpy()
    return values


def language(
    point: str = POINT, *, fitted: int = 200_000, held: int = 8192, spliced: int = 8000,
    name: str = HOST,
) -> Bench:  # fmt: skip
    """A bench of activations at one point; other documents are fitted for each seed.

    ``fitted`` tokens are learnt from, ``held`` are measured on, and on ``spliced`` the
    reconstructions are put back into the model ``name``. ``known`` has ``tokens``, those last ones,
    the ``point`` and the ``host``.
    """

    def open_ground(trial: Trial) -> Ground:
        seen = rows("train", point, trial.seed, trial.rows(fitted), name)
        unseen = rows("test", point, trial.seed, trial.rows(held), name)
        text = tokens("test", trial.seed, trial.rows(spliced), name)
        known = {"tokens": text, "point": point, "host": host(name)}
        return Ground(seen, unseen, trial.seed, known)

    setting = (
        f"Activations of the language model {name!r} after {point} (width {WIDTHS[name]}): "
        f"{fitted:,} tokens of its training text, other documents for each seed; errors on "
        f"{held:,} tokens of text that it has not seen, added_ce on {spliced:,}."
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
    measures = behaviour(
        ground.known["host"], ground.known["point"], subject, ground.known["tokens"], draws=0
    )
    return {name: measures[name].value for name in ("added_ce", "kl", "loss_recovered_mean")}


MEASURES: Mapping[str, Callable[[Subject, Ground], float | Mapping[str, float]]] = {
    "fvu": lambda subject, ground: float(
        fvu(ground.held, np.asarray(subject.reconstruct(ground.held))).value
    ),
    "l0": lambda subject, ground: float(_codes(subject, ground).sum(1).mean()),
    "dead_share": lambda subject, ground: float(1.0 - _codes(subject, ground).any(0).mean()),
    "losses": _losses,
}
