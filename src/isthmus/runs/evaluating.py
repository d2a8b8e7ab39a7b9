"""What a model is worth on data that it has not seen."""

from collections.abc import Mapping
from typing import Any

from isthmus import data, evaluation
from isthmus.anatomy import Autoencoder, Source
from isthmus.runs.data import DataLike, kind_of, opened


def evaluate(
    model: Autoencoder,
    X: DataLike,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    samples: int = 64,
    seed: int = 0,
    batch_size: int = 1024,
) -> dict[str, evaluation.Result]:
    """The measures that suit the model's code, each a :class:`~isthmus.evaluation.Result`.

    For the name of a set with a test part, that part is evaluated. ``samples`` importance samples
    bound the log-likelihood where there is one. ``given`` and ``mask`` are as in :func:`fit`;
    columns that were given by name are taken again.
    """
    source = held_out_source(X, model, given=given, mask=mask)
    return evaluation.evaluate(model, source, samples=samples, seed=seed, batch_size=batch_size)


def held_out_source(
    X: DataLike,
    model: Autoencoder | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
) -> Source:
    """The held-out part of a named set that has one; otherwise the data themselves.

    What the ``model`` was given from columns is taken from the same columns.
    """
    if data.is_name(X):
        X = data.load(X)
    if isinstance(X, data.Data):
        X = X.train if X.test is None else X.test
    config = None if model is None else model.config
    source, _ = opened(X, given, mask, config, kind=kind_of(model))
    return source
