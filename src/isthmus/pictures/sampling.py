"""Pictures of what a model draws from its prior."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.pictures.examples import COLUMNS, drawn_of, opened, some
from isthmus.pictures.sheet import Panel, Picture, need_matplotlib

MOST = {"image": 400, "series": 64, "vector": 64, "tokens": 40}
"""How many are drawn of each kind."""
COMPARED = 2000
"""Rows of the data that stand beside samples of a table."""


def can_sample(model: Autoencoder) -> bool:
    """Whether there is a prior to draw codes from, and a decoder to make examples of them."""
    return model.prior is not None and model.decoder is not None


def check_samples(model: Autoencoder, n: int) -> None:
    """An error for a model that cannot sample, and for a number that is none."""
    if not can_sample(model):
        raise IsthmusError(
            "this model has no prior to draw codes from, so it cannot sample: isthmus traverse and "
            "isthmus plot show what it has learnt, and isthmus recipes variational lists recipes "
            "that sample"
        )
    if n < 1:
        raise IsthmusError(f"{n} samples are none: ask for 1 or more")


def samples(
    model: Autoencoder,
    n: int = 64,
    *,
    seed: int = 0,
    given: Mapping[str, Any] | None = None,
    against: Any = None,
    across: int | None = None,
    columns: int = COLUMNS,
) -> Picture:
    """``n`` examples from the prior, the same for the same ``seed``.

    Images in a square, in the units and colours of the data; series as curves; of a table each
    column's histogram, beside that of the rows ``against`` where these are passed; texts as texts.
    ``given`` is what a conditional model asks for, ``across`` how many images stand in a row,
    ``columns`` how many columns of a table are drawn. A model without a prior is an
    :class:`IsthmusError`.
    """
    need_matplotlib()
    check_samples(model, n)
    examples = model.sample(n, seed=seed, given=given, as_read=True)
    source = None if against is None else opened(model, against)
    all_panels: list[Panel] = []
    about = f"{n} samples from the prior, seed {seed}"
    for name, drawn in drawn_of(model, examples, source).items():
        rows, beside = examples[name] if name else examples, None
        if drawn.columns:
            if len(drawn.columns) > columns:
                about += f", the first {columns} of {len(drawn.columns)} columns"
            if source is not None:
                beside = np.asarray(source.rows(some(source, COMPARED)))
                about += " (grey: the data)"
        elif n > (most := MOST.get(drawn.signal.kind, n)):
            rows = rows[:most]
            about = f"{most} of {n} samples from the prior, seed {seed}"
        all_panels.append(drawn.many(name, rows, beside, across, columns))
    return Picture(tuple(all_panels), about)
