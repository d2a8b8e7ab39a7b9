"""Options that the sparse recipes share: rows of any norm, and a bias that is not subtracted."""

import pytest
import torch

import isthmus
from isthmus.recipes import get_recipe

NAMES = ["topk", "abstopk", "batchtopk", "relu-l1", "gated", "jumprelu"]
K = {"topk": {"k": 4}, "abstopk": {"k": 4}, "batchtopk": {"k": 4}}
PENALISED = {"relu-l1": "l1", "gated": "l1"}


def rows(n=256, d=8):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0)) + 1.0


def fitted(name, **options):
    return isthmus.fit(
        name, rows(), latent_dim=24, steps=8, batch_size=64, lr=1e-2, progress=False,
        **K.get(name, {}), **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_bias_that_is_not_subtracted_does_not_reach_the_code(name):
    model = fitted(name, subtract_bias=False)
    before = model.encode(rows())
    with torch.no_grad():
        model.decoder.bias += 1.0
    torch.testing.assert_close(model.encode(rows()), before)
    model.encoder.subtract_bias = True
    assert not torch.equal(model.encode(rows()), before)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_free_where_asked_and_have_norm_one_elsewhere(name):
    free = fitted(name, unit=False).decoder.weight.norm(dim=1)
    kept = fitted(name).decoder.weight.norm(dim=1)
    torch.testing.assert_close(kept, torch.ones_like(kept))
    assert (free - 1).abs().max() > 1e-3


@pytest.mark.parametrize("name", PENALISED)
def test_a_price_by_lengths_does_not_change_with_the_scale_of_a_latent(name):
    model = fitted(name, unit=False)
    term = next(t for t in model.objective.terms if t.name == "l1")
    before = term(model, model(rows())).mean()
    scale = torch.linspace(0.5, 2.0, 24)
    with torch.no_grad():
        model.encoder.weight *= scale[:, None]
        model.encoder.bias *= scale
        model.decoder.weight /= scale[:, None]
    torch.testing.assert_close(term(model, model(rows())).mean(), before)
    assert get_recipe(name).model_options.model_fields["unit"].default is True
