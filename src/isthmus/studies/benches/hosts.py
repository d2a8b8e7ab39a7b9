"""A language model with other weights (tuned, or before its first step), and its activations."""

import tempfile
from dataclasses import replace

import numpy as np
import torch

from isthmus.activations import harvest
from isthmus.language import Decoder, LanguageModel, Tokens
from isthmus.language.weight_fingerprint import fingerprint


def with_weights(model: LanguageModel, module: Decoder) -> LanguageModel:
    """The model's tokenizer and context with another decoder, which is frozen."""
    module.eval().requires_grad_(False)
    return replace(
        model, name=f"{model.name}, other weights", revision=fingerprint(module), module=module,
        unembedding=module.embed.weight * module.norm.weight, opened="",
    )  # fmt: skip


def untrained(model: LanguageModel, seed: int) -> LanguageModel:
    """A model of the same shape before its first step."""
    module = model.module
    assert isinstance(module, Decoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Decoder(module.shape)
    return with_weights(model, fresh)


def activations(model: LanguageModel, text: Tokens, point: str) -> np.ndarray:
    """Activations ``(tokens, width)``, float32, of every token but BOS, in the order of the rows.

    None is left out for its length, so that two models have rows of the same tokens.
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        kept = harvest(model, text, (point,), f"{folder}/store", max_norm=None, progress=False)
        values: np.ndarray = kept.rows(point, torch.arange(len(kept))).numpy()
    return values
