"""Models with other weights."""

import torch

from isthmus.language import resident
from isthmus.studies.benches.hosts import untrained


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
