"""Samples by themselves and in blocks hold the same tokens, and activations are a plain pass's."""

import numpy as np
import torch

from isthmus.language import resident
from isthmus.studies.interpret.per_sample_harvest import (
    Sample,
    activations,
    alone,
    blocks,
    cross_entropies,
)

MODEL = resident()
RNG = np.random.default_rng(0)
SAMPLES = [
    Sample(RNG.integers(300, 4000, size=length), np.arange(length) < 5)
    for length in (40, 90, 150, 200)
]


def test_both_ways_hold_the_same_tokens_in_the_same_order():
    joined = np.concatenate([sample.ids for sample in SAMPLES])
    for text in (alone(SAMPLES, MODEL), blocks(SAMPLES, MODEL)):
        assert (text.ids[:, 0] == MODEL.tokenizer.bos).all()
        assert text.ids.shape[1] <= MODEL.context
        tokens = text.ids[:, 1:][text.mask[:, 1:]]
        np.testing.assert_array_equal(tokens.numpy(), joined)


def test_activations_of_a_sample_are_those_of_a_pass_of_it_alone():
    values = activations(MODEL, alone(SAMPLES[:2], MODEL))
    assert len(values) == 130
    captured = []
    layer = MODEL.module.get_submodule("layers.1")
    hook = layer.register_forward_hook(lambda *call: captured.append(call[2]))
    row = torch.tensor([[MODEL.tokenizer.bos, *SAMPLES[1].ids]])
    with torch.no_grad():
        logits = MODEL.module(row)
    hook.remove()
    # Activations are stored as float16.
    np.testing.assert_allclose(values[40:], captured[0][0, 1:], rtol=2e-3, atol=2e-3)
    expected = -logits[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
    with torch.no_grad():
        losses = cross_entropies(MODEL.module, alone(SAMPLES[:2], MODEL))
    torch.testing.assert_close(losses[40:], expected, rtol=1e-4, atol=1e-4)
