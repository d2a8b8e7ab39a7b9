"""Codebook features against loops over codes: the choice, what is rebuilt, what moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
from isthmus.anatomy import Batch, Signal, SparseCode
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.quantised.codebook import Codebook

RECIPE = get_recipe("codebook")


def rows(n=200, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def build(d=6, **options):
    chosen, _ = RECIPE.parse({"latent_dim": 12, "k": 3, "scaling": "none", **options})
    return RECIPE.build(Signal("vector", (d,)), chosen)


def nearest(x, codes, k):
    """The k codes of highest cosine, by loops in double precision."""
    sets = []
    for row in np.asarray(x, dtype=float):
        cosines = [
            float(row @ code) / (np.linalg.norm(row) * np.linalg.norm(code))
            for code in np.asarray(codes, dtype=float)
        ]
        sets.append(sorted(sorted(range(len(cosines)), key=lambda j: -cosines[j])[:k]))
    return sets


@pytest.mark.parametrize("k", [1, 3, 12])
def test_a_row_is_the_mean_of_its_k_codes_of_highest_cosine(k):
    model, x = build(k=k, start="normal").eval(), rows()
    codes = model.decoder.weight.detach().numpy()
    code = model.encode(x, code=True)
    assert isinstance(code, SparseCode)
    expected = nearest(x, codes, k)
    assert [sorted(some) for some in code.indices.tolist()] == expected
    assert (code.values == np.float32(1 / k)).all()
    rebuilt = np.stack([codes[some].mean(0) for some in expected])
    np.testing.assert_allclose(model.reconstruct(x), rebuilt, atol=1e-5)


def test_with_codes_of_one_length_and_k_of_one_it_is_the_nearest_vector():
    """Plain vector quantisation of rows of length 1, by distances."""
    model = build(k=1, start="normal").eval()
    with torch.no_grad():
        model.decoder.weight.copy_(F.normalize(model.decoder.weight, dim=1))
    x = rows(seed=3)
    distances = np.square(
        x[:, None].astype(float) - model.decoder.weight.detach().numpy()[None].astype(float)
    ).sum(2)
    code = model.encode(x, code=True)
    np.testing.assert_array_equal(code.indices[:, 0], distances.argmin(1))


def test_only_chosen_codes_move_and_only_towards_what_chose_them():
    """The gradient of each code is that of its rows' squared errors, as a loop adds them up."""
    model, x = build(start="normal"), torch.from_numpy(rows(20)).requires_grad_()
    out = model(Batch(x))
    model.objective(model, out).total.backward()
    codes = model.decoder.weight.detach().double()
    expected = torch.zeros_like(codes)
    for row, chosen in zip(x.detach().double(), nearest(x.detach(), codes, 3), strict=True):
        error = codes[chosen].mean(0) - row
        for code in chosen:
            expected[code] += 2 * error / (3 * 6 * 20)
    torch.testing.assert_close(model.decoder.weight.grad.double(), expected, rtol=1e-4, atol=1e-6)
    assert model.decoder.bias.grad is None


def test_codes_start_at_rows_each_once_while_there_are_enough():
    x, model = rows(9), build(start="rows")
    model.prepare(model.signal.batch(x))
    codes = model.decoder.weight.detach().numpy()
    found = [np.flatnonzero((x == code).all(1)).item() for code in codes]
    assert sorted(set(found)) == list(range(9))
    assert max(np.bincount(found)) == 2


def test_planted_prototypes_become_codes():
    rng = np.random.default_rng(0)
    centres = 4.0 * rng.normal(size=(5, 8))
    which = rng.integers(5, size=1500)
    x = (centres[which] + 0.05 * rng.normal(size=(1500, 8))).astype(np.float32)
    model = isthmus.fit(
        "codebook", x, latent_dim=40, k=1, steps=400, batch_size=128, lr=3e-3, progress=False
    )
    codes = model.encode(x, code=True).indices[:, 0].numpy()
    for code in np.unique(codes):
        assert len(np.unique(which[codes == code])) == 1, "one code, two prototypes"
    assert np.square(model.reconstruct(x) - x).sum(1).mean() < 0.1


def test_more_codes_than_there_are_is_one_sentence():
    with pytest.raises(IsthmusError, match="k=9 is more than latent_dim=4"):
        isthmus.fit("codebook", rows(), latent_dim=4, k=9, progress=False)
    model = build()
    model.bottleneck.k = 13
    with pytest.raises(IsthmusError, match="from 1 to 12"):
        model.eval().encode(rows())


def test_what_is_published():
    assert RECIPE.defaults == {"steps": 15_000, "lr": 5e-4, "batch_size": 3072}
    options, _ = RECIPE.parse({})
    assert (options["latent_dim"], options["k"]) == (10_000, 8)
    normal = Codebook(4000, (6,), "normal").weight
    assert normal.std().item() == pytest.approx(1.0, abs=0.02)
