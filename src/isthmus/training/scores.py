"""The scores of the training rows, kept with a run for thresholds."""

from typing import Any

import numpy as np
import torch

from isthmus import notices
from isthmus.anatomy import AnySparseCode, Autoencoder, Batch, Source
from isthmus.anatomy.dictionary import LinearDecoder
from isthmus.anatomy.scoring import DRAWS, kind_of_score
from isthmus.anatomy.thresholds import summary
from isthmus.errors import IsthmusError
from isthmus.training.seeding import seeded

ROWS = 10_000
"""Most training rows whose scores are kept: the share of anomalies is known to a tenth of a %."""

ELEMENTS = 2**23
"""Elements that are decoded for it, over draws and rows."""

LEAST = 256
"""Rows that are scored however large they are."""

KINDS = ("vector", "image", "series", "set", "coordinates")


def keep_training_scores(
    model: Autoencoder, source: Source, config: dict[str, Any], first: Batch
) -> None:
    """Write ``config["scores"]``: a summary of the scores of rows spread evenly over the source.

    ``first`` are rows at hand, which show what kind of code the model has.
    Not of models without a decoder, of dictionaries (sparse codes), whose rows are tokens of
    language models by the million, and of texts, graphs and collections. Nothing random is drawn
    from the global state.
    """
    if not config or model.decoder is None or model.signal.kind not in KINDS:
        return
    total = len(source)
    seed = int((config.get("training") or {}).get("seed") or 0)
    # Nothing is to be said of these rows, such as that one image is dim.
    with notices.tried(), seeded(model.device, seed, 10):
        code = model.encode(first, code=True)
        if isinstance(code, AnySparseCode):
            return
        kind = kind_of_score(model, code, "auto")
        draws = DRAWS if kind == "bound" else 1
        rows = _rows(model, total, draws)
        index = torch.linspace(0, total - 1, rows).round().long()
        try:
            scores = np.asarray(model.score(source.batch(index)))
        except IsthmusError:
            return
    if np.isfinite(scores).all():
        config["scores"] = summary(scores, kind, total)


def _rows(model: Autoencoder, total: int, draws: int) -> int:
    return min(total, ROWS, max(LEAST, ELEMENTS // (draws * model.signal.numel)))


def expected_seconds(model: Autoencoder, total: int, seconds: float) -> float:
    """What keeping the scores of ``total`` rows takes, roughly, where training on a row takes so
    many seconds: a quarter of that for a reconstruction, half of it for each draw of a code."""
    sparse = isinstance(model.decoder, LinearDecoder)
    if model.decoder is None or sparse or model.signal.kind not in KINDS:
        return 0.0
    draws = 1 if model.prior is None else DRAWS
    return _rows(model, total, draws) * seconds * (1 + draws / 2) / 4
