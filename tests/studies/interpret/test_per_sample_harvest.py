"""The loss that a host is tuned by."""

import numpy as np
import torch

from isthmus.language import resident
from isthmus.studies.benches.dialogues import Sample, alone
from isthmus.studies.interpret.per_sample_harvest import cross_entropies, template_loss

MODEL = resident()
RNG = np.random.default_rng(0)
SAMPLES = [
    Sample(RNG.integers(300, 4000, size=length), np.arange(length) < 5) for length in (40, 90)
]


def test_a_samples_losses_are_those_of_a_pass_of_it_alone():
    row = torch.tensor([[MODEL.tokenizer.bos, *SAMPLES[1].ids]])
    with torch.no_grad():
        logits = MODEL.module(row)
        losses = cross_entropies(MODEL.module, alone(SAMPLES, MODEL))
    expected = -logits[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
    assert len(losses) == 130
    torch.testing.assert_close(losses[40:], expected, rtol=1e-4, atol=1e-4)
    template = np.concatenate([sample.template for sample in SAMPLES])
    some = torch.cat([losses[:5], losses[40:45]]).mean().item()
    assert abs(template_loss(MODEL, alone(SAMPLES, MODEL), template) - some) < 1e-5
