"""Temporal dictionaries: what each position may see, the loss by hand, texts of other lengths."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.recipes.sequence.temporal import NoveltyLength, PredictedEnergy

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 10, 6)).astype(np.float32)


def fitted(rows=X, **options):
    options = {
        "latent_dim": 24,
        "k": 3,
        "steps": 20,
        "batch_size": 16,
        "progress": False,
        **options,
    }
    return isthmus.fit("temporal", rows, kind="series", **options)


def test_no_position_sees_a_later_one():
    model = fitted()
    changed = X.copy()
    changed[:, 6:] += 1.0
    for one, other in (
        (model.encode(X), model.encode(changed)),
        (model.reconstruct(X), model.reconstruct(changed)),
    ):
        np.testing.assert_array_equal(np.asarray(one)[:, :6], np.asarray(other)[:, :6])
        assert not np.allclose(np.asarray(one)[:, 6:], np.asarray(other)[:, 6:])
    with torch.no_grad():
        predicted = [model.encode(rows, code=True).predicted for rows in (X, changed)]
    # What is predicted of a position is scaled by its own activation, and read by its own query.
    assert torch.equal(predicted[0][:, :6], predicted[1][:, :6])
    assert not predicted[0][:, 0].isnan().any()


def test_the_loss_and_what_it_is_made_of():
    model = fitted(activation="relu", k=None, sparsity=0.5, scaling="none")
    code = model.encode(X, code=True)
    decoder = model.decoder
    rebuilt = decoder.predicted(code) + code.z @ decoder.atoms() + decoder.offset
    error = (rebuilt - torch.from_numpy(X)).square().mean((1, 2))
    price = code.z.norm(dim=-1).mean(1)
    with torch.no_grad():
        out = model(torch.from_numpy(X))
        found = model.objective(model, out).total
    torch.testing.assert_close(found, (error + 0.5 * price).mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(X), rebuilt.detach(), rtol=1e-4, atol=1e-5)


def test_texts_of_different_lengths_are_read_as_each_by_itself():
    lengths = RNG.integers(3, 11, size=64)
    texts = [x[:n] for x, n in zip(X, lengths, strict=True)]
    model = fitted(texts)
    whole = model.encode(texts, code=True)
    for i in (0, 7, 30):
        alone = model.encode([texts[i]], code=True)
        n = lengths[i]
        torch.testing.assert_close(whole.z[i, :n], alone.z[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(whole.predicted[i, :n], alone.predicted[0], rtol=1e-4, atol=1e-6)
        assert not whole.z[i, n:].any()
        assert not whole.predicted[i, n:].any()
    assert len(whole.by_position()) == lengths.sum()
    assert isthmus.evaluate(model, texts)["l0"].value <= 3.0
    rebuilt = model.reconstruct(texts)
    assert [len(one) for one in rebuilt] == [*lengths]


def test_a_text_has_the_same_terms_beside_a_longer_one():
    model, texts = fitted(), [X[0, :3], X[1]]

    def terms(*chosen):
        source = isthmus.data.as_source([texts[i] for i in chosen])
        with torch.no_grad():
            out = model(source.batch(torch.arange(len(chosen))))
            return {t.name: t(model, out)[0] for t in (MSE(), PredictedEnergy(), NoveltyLength())}

    alone, beside = terms(0), terms(0, 1)
    for name, value in alone.items():
        torch.testing.assert_close(beside[name], value, rtol=1e-4, atol=1e-6)


def test_what_follows_from_before_need_not_be_in_the_code():
    """One new latent leaves less of slow walks than of the same rows in any order."""
    slow = np.cumsum(0.05 * RNG.standard_normal((256, 12, 8)), axis=1)
    slow += RNG.standard_normal((256, 1, 8))
    mixed = slow.reshape(-1, 8)[RNG.permutation(256 * 12)].reshape(slow.shape)
    error = {}
    for name, rows in {"slow": slow, "mixed": mixed}.items():
        rows = rows.astype(np.float32)
        model = fitted(rows, latent_dim=32, k=1, steps=150, batch_size=32, lr=1e-2)
        error[name] = isthmus.evaluate(model, rows)["fvu"].value
    assert error["slow"] < 0.5 * error["mixed"], error


def test_l0_is_of_a_position_and_features_of_a_text():
    model = fitted()
    figures = isthmus.evaluate(model, X)
    assert figures["l0"].value == 3.0
    code = model.encode(X, code=True)
    assert code.width == 24
    row, latent, value = code.active()
    assert int(row.max()) == 63
    assert int(latent.max()) < 24
    assert len(value) == int((code.z != 0).sum())


def test_what_cannot_be_is_one_sentence():
    for options, said in (
        ({"latent_dim": 25}, "25 latents do not divide into heads=4 with narrow=1"),
        ({"k": 25}, "k=25 is more than latent_dim=24"),
        ({"activation": "relu"}, "k is for activation=topk"),
    ):
        with pytest.raises(IsthmusError, match=said):
            fitted(**options)
    with pytest.raises(IsthmusError, match="temporal reads rows of positions"):
        isthmus.fit("temporal", X[:, 0], steps=1, progress=False)
    with pytest.raises(IsthmusError, match=r"and the data are tokens \(text\)"):
        isthmus.fit("temporal", ["a text", "another"], steps=1, progress=False)
    with pytest.raises(IsthmusError, match="whole code"):
        fitted(steps=1).decode(np.zeros((2, 10, 24), np.float32))
