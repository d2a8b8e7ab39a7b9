"""Every measure that suits a model, in one pass over the data."""

from isthmus.anatomy import Array, Autoencoder, ReportProgress, Source, evaluating
from isthmus.anatomy.randomness import drawing
from isthmus.errors import IsthmusError
from isthmus.evaluation import code_kinds, gaussian_codes  # noqa: F401  (they fill the registry)
from isthmus.evaluation.registry import Measure, MeasuredBatch, MeasureOptions, measures_for
from isthmus.evaluation.result import Result


def evaluate(
    model: Autoencoder,
    X: Array | Source,
    *,
    samples: int = 64,
    batch_size: int = 1024,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> dict[str, Result]:
    """What can be measured of a model on ``X``, by name, in one pass over the data.

    Which measures these are follows from the parts. A decoder: ``fvu`` and ``error_per_element``,
    in the user's units; of tokens instead ``exact_match``, ``token_accuracy``, ``nats_per_token``
    and, of texts, ``bits_per_byte``. A Gaussian code: ``importance_bound`` with ``samples``
    importance samples, ``elbo``, ``bits_per_dim`` where the likelihood is one, ``kl``,
    ``active_units``. A sparse or thresholded code: ``l0``, ``dead_share``, ``dense_share`` (of
    several positions in a row: of a position). A
    discrete code: ``codebook_use``, ``perplexity``. Any code of at most 4096 latents:
    ``latent_rank`` (effective), ``numerical_rank``. No decoder: ``latent_std``. Kinds of code may
    add to these (:func:`isthmus.evaluation.measures`).

    X
        Rows in the user's units, or a source of them. Empty data, another shape or dtype, NaN or
        infinity are an :class:`IsthmusError`.
    samples
        Importance samples per row.
    batch_size
        Rows at once. It changes no value, beyond rounding.
    seed
        Of the importance samples. The global random state is left as it was.
    progress
        Called as ``progress(done, total, "evaluate")`` after each batch.

    The model is put in evaluation mode meanwhile, without gradients (an encoder that needs them
    for itself may switch them on).
    """
    _need_positive("samples", samples)
    _need_positive("batch_size", batch_size)
    built: list[Measure] | None = None
    done, total = 0, len(X)
    with evaluating(model), drawing(model.device, seed):
        for rows in model.batches(X, batch_size):
            batch = MeasuredBatch.of(model, rows)
            if built is None:
                built = measures_for(MeasureOptions(model, batch, samples, seed))
            for measure in built:
                measure.update(batch)
            done += len(rows)
            if progress is not None:
                progress(done, total, "evaluate")
        results = [result for measure in built or [] for result in measure.results()]
    return {result.name: result for result in results}


def _need_positive(option: str, value: int) -> None:
    if value < 1:
        raise IsthmusError(f"{option} is {value}: pass a whole number of at least 1")
