"""Models with other weights, and activations of them."""

import numpy as np
import torch

from isthmus.language import resident
from isthmus.studies.benches.dialogues import Sample, alone
from isthmus.studies.benches.hosts import activations, untrained


def test_an_untrained_model_has_the_shape_and_none_of_the_weights():
    model = resident()
    state = torch.random.get_rng_state()
    fresh, again, other = untrained(model, 1), untrained(model, 1), untrained(model, 2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert fresh.module.shape == model.module.shape
    assert fresh.tokenizer is model.tokenizer
    assert fresh.revision == again.revision
    assert len({fresh.revision, other.revision, model.revision}) == 3
    assert fresh.unembedding.shape == model.unembedding.shape
    row = torch.arange(8)[None] + 300
    with torch.no_grad():
        assert not torch.allclose(fresh.module(row), model.module(row))


def test_activations_of_a_row_are_those_of_a_pass_of_it_alone():
    model, rng = resident(), np.random.default_rng(0)
    rows = [Sample(rng.integers(300, 4000, size=n), np.zeros(n, bool)) for n in (40, 90)]
    values = activations(model, alone(rows, model), "layers.1")
    assert values.shape == (130, 192)
    captured = []
    layer = model.module.get_submodule("layers.1")
    hook = layer.register_forward_hook(lambda *call: captured.append(call[2]))
    with torch.no_grad():
        model.module(torch.tensor([[model.tokenizer.bos, *rows[1].ids]]))
    hook.remove()
    # Activations are stored as float16.
    np.testing.assert_allclose(values[40:], captured[0][0, 1:], rtol=2e-3, atol=2e-3)
