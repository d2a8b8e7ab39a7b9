"""Features of a dictionary, from a text or from any other activations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.anatomy import Autoencoder, Source
from isthmus.errors import IsthmusError
from isthmus.interpretation.features.collection import Collected, Settings, collect
from isthmus.interpretation.features.format import (
    GROUP,
    Features,
    check_free,
    read_features,
    write_features,
)
from isthmus.interpretation.features.stream import source_blocks, text_blocks
from isthmus.interpretation.features.tables import Text, example_table, latent_table, window_table
from isthmus.interpretation.splice import one_point
from isthmus.language import LanguageModel, Tokens
from isthmus.training.progress import Show


def text_features(
    model: LanguageModel,
    point: str,
    autoencoder: Autoencoder,
    tokens: Tokens,
    out: str | Path,
    *,
    text: str = "",
    settings: Settings | None = None,
    skip_special: bool = True,
    batch: int = 32,
    overwrite: bool = False,
    progress: Show = "auto",
) -> Features:
    """What each latent does, in one pass over a text; written to ``out/features``.

    The model is run up to ``point`` (one point; a transcoder's is where it reads), ``batch`` rows
    at a time, and its activations are encoded. Of each latent there are found

    - how often it fires, its mean and largest value, and a histogram (exact),
    - examples: the strongest, one of a row of text at most, and some of every decile of its
      nonzero activations, half of the rows for explaining it and half for scoring that,
    - the tokens it fires on, by share of its activation,
    - latents that fire with it (phi, on a uniform sample of tokens where they are too many),
    - with a linear dictionary: neighbours by direction, a map of all directions in the plane, and
      with a model whose unembedding reads what is written, the tokens that it raises and lowers,

    and random windows of the text with all that fires in them. A latent fires where its value is
    not zero, in a dense code where it is positive. Memory is some 17 kilobytes a latent, whatever
    the length of the text. The result depends on the text and the settings, not on ``batch``, but
    for rounding. ``text`` says where the text is from. Features that are there already are an
    :class:`IsthmusError` unless ``overwrite``; their labels would go with them.
    """
    point = one_point(model.module, point).name
    settings = settings or Settings()
    out = Path(out)
    check_free(out, overwrite)
    rows_of_text = Text(tokens, model.tokenizer, model.unembedding)
    blocks = text_blocks(model, point, tokens, skip_special=skip_special, batch=batch)
    collected = collect(
        blocks, autoencoder, rows_of_text.vocabulary, settings,
        total=int(tokens.mask.sum()), progress=progress,
    )  # fmt: skip
    about = {
        "model": model.name, "revision": model.revision, "point": point,
        "text": text or ", ".join(tokens.names[:3]) + (", ..." if len(tokens.names) > 3 else ""),
        "tokens": collected.statistics.tokens, "latents": collected.latents,
        "context": tokens.ids.shape[1], "recipe": autoencoder.config.get("recipe"),
    }  # fmt: skip
    return _written(out, collected, autoencoder, rows_of_text, settings, about)


def source_features(
    source: Source,
    autoencoder: Autoencoder,
    out: str | Path,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Show = "auto",
) -> Features:
    """As :func:`text_features`, of the rows of any source, such as the one that it was fitted on.

    A source of a language model's activations (:class:`isthmus.activations.Streamed`, or one of a
    store) knows its text, and the model is opened for its vocabulary. Of other rows the examples
    name row and place only, and nothing is said of tokens.
    """
    settings = settings or Settings()
    out = Path(out)
    check_free(out, overwrite)
    origin = source.origin
    text: Text | None = None
    about: dict[str, Any] = {"model": "", "revision": "", "point": "", "text": "", "context": 1}
    if origin is not None:
        about |= {"model": origin.model, "revision": origin.revision, "text": origin.text}
        about["point"] = ",".join(origin.points)
    if origin is not None and origin.tokens is not None:
        host = origin.open()
        text = Text(origin.tokens, host.tokenizer, host.unembedding)
        about["context"] = int(origin.tokens.ids.shape[1])
    if len(source) == 0:
        raise IsthmusError("the data are empty: pass at least one row")
    collected = collect(
        source_blocks(source), autoencoder, 1 if text is None else text.vocabulary, settings,
        total=len(source), progress=progress,
    )  # fmt: skip
    about |= {
        "tokens": collected.statistics.tokens, "latents": collected.latents,
        "recipe": autoencoder.config.get("recipe"),
    }  # fmt: skip
    return _written(out, collected, autoencoder, text, settings, about)


def _written(
    out: Path,
    collected: Collected,
    autoencoder: Autoencoder,
    text: Text | None,
    settings: Settings,
    about: Mapping[str, Any],
) -> Features:
    """The folder of what was collected, and the features in it."""
    latents = latent_table(collected, _written_rows(autoencoder), text, settings)
    examples = (
        example_table(
            collected,
            np.arange(start, min(start + GROUP, collected.latents)),
            text,
            settings,
        )
        for start in range(0, collected.latents, GROUP)
    )
    windows = None if text is None else window_table(collected, text, settings)
    whole = {**about, **_estimators(collected)}
    return read_features(write_features(out, latents, examples, windows, whole))


def _written_rows(autoencoder: Autoencoder) -> Tensor | None:
    """What each latent writes; of several points what it writes at the last."""
    atoms = autoencoder.atoms()
    rows: Tensor | None = list(atoms.values())[-1] if isinstance(atoms, Mapping) else atoms
    return None if rows is None else rows.float()


def _estimators(collected: Collected) -> dict[str, Any]:
    """How the figures were found, where more than one way is possible."""
    joint, mass = collected.joint, collected.mass
    loss = float((mass.lost / np.maximum(1e-30, mass.total)).max(initial=0.0))
    return {
        "joint": f"phi over {joint.tokens:,} tokens"
        + (" (all)" if joint.share == 1 else f", a uniform sample ({joint.share:g})"),
        "token_shares": "exact"
        if loss == 0
        else f"heaviest tokens kept; shares too small by at most {loss:.3g}",
        "deciles": "of all nonzero activations; examples are a uniform sample of each",
    }
