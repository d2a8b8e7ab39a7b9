"""A language model with other weights: tuned, or as it was before its first step."""

from dataclasses import replace

import torch

from isthmus.language import Decoder, LanguageModel
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
