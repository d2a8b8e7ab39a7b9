import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
from isthmus import IsthmusError
from isthmus.anatomy import Scaler
from isthmus.evaluation import cosines as _dictionaries
from isthmus.evaluation import seed_stability
from isthmus.networks import Dictionary, DictionaryEncoder

from .tiny import Dense, TopK, tiny


def rows(n=12, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def pair(decoder, encoder=None):
    return decoder, decoder if encoder is None else encoder


@pytest.mark.parametrize("matching", ["hungarian", "mutual"])
def test_order_and_length_of_rows_do_not_matter(matching):
    decoder, encoder = rows(), rows(seed=1)
    order = np.random.default_rng(2).permutation(12)
    other = decoder[order] * np.arange(1, 13)[:, None], encoder[order] / 7
    got = seed_stability([(decoder, encoder), other], matching=matching)
    assert got.value == 1
    np.testing.assert_array_equal(got.per, np.ones(12))


@pytest.mark.parametrize("matching", ["hungarian", "mutual"])
def test_only_common_latents_are_shared(matching):
    # Orthogonal to the rest, so that the other latents' pairing cannot disturb these.
    common, own, foreign = np.eye(20)[:4], np.eye(20)[4:10], np.eye(20)[10:16]
    first, second = np.concatenate([common, own]), np.concatenate([foreign, common])
    got = seed_stability([pair(first), pair(second)], matching=matching)
    assert got.value == pytest.approx(0.4)
    np.testing.assert_array_equal(got.per, [1] * 4 + [0] * 6)


def test_both_pairings_must_agree():
    decoder, encoder = np.eye(6), np.eye(6)
    swapped = encoder[[1, 0, 2, 3, 4, 5]]
    got = seed_stability([(decoder, encoder), (decoder, swapped)])
    assert got.value == pytest.approx(4 / 6)
    np.testing.assert_array_equal(got.per, [0, 0, 1, 1, 1, 1])


def test_the_decoder_cosine_must_exceed_the_threshold():
    first, second = np.eye(3, 4), np.eye(3, 4)
    second[0] = [0.69, 0, 0, np.sqrt(1 - 0.69**2)]
    second[1] = [0, 0.71, 0, np.sqrt(1 - 0.71**2)]
    assert seed_stability([pair(first), pair(second)]).value == pytest.approx(2 / 3)
    assert seed_stability([pair(first), pair(second)], threshold=0.6).value == 1


def test_several_models_are_compared_in_pairs():
    a, b, c = np.eye(8)[:4], np.eye(8)[[0, 1, 4, 5]], np.eye(8)[[0, 6, 7, 2]]
    got = seed_stability([pair(a), pair(b), pair(c)])
    assert got.value == pytest.approx(np.mean([2, 2, 1]) / 4)  # a-b {0, 1}, a-c {0, 2}, b-c {0}
    np.testing.assert_array_equal(got.per, [1, 0.5, 0.5, 0])
    assert got.n == 3


def test_widths_may_differ_and_the_dead_are_left_out():
    wide, narrow = np.eye(6), np.eye(6)[:3]
    assert seed_stability([pair(wide), pair(narrow)]).value == pytest.approx(6 / 9)
    assert seed_stability([pair(narrow), pair(wide)]).value == pytest.approx(6 / 9)
    living = [np.arange(6) < 4, torch.tensor([True, True, False])]
    got = seed_stability([pair(wide), pair(narrow)], alive=living)
    assert got.value == pytest.approx(4 / 6)
    np.testing.assert_array_equal(got.per, [1, 1, 0, 0, np.nan, np.nan])
    assert "3 latents were left out" in got.note


def test_wide_dictionaries_are_matched_by_mutual_neighbours(monkeypatch):
    models = [pair(rows()), pair(rows())]
    assert "Hungarian" in seed_stability(models).estimator
    monkeypatch.setattr(_dictionaries, "LARGEST_ASSIGNMENT", 143)
    assert "mutual nearest" in seed_stability(models).estimator
    assert "Hungarian" in seed_stability(models, matching="hungarian").estimator


def test_both_rules_agree_on_noisy_copies():
    base = rows(60, 24)
    noisy = [pair(base + 0.12 * rows(60, 24, seed)) for seed in (5, 6)]
    exact, cheap = (seed_stability(noisy, matching=m) for m in ("hungarian", "mutual"))
    assert exact.value > 0.9
    assert cheap.value == pytest.approx(exact.value, abs=0.05)


def dictionary_model(seed, scaler=None):
    torch.manual_seed(seed)
    dictionary = Dictionary(10, (5,))
    encoder = DictionaryEncoder(dictionary)
    return tiny(TopK(2), encoder=encoder, decoder=dictionary, scaler=scaler)


def test_models_are_read_in_the_users_units():
    scaler = Scaler((5,), "columns")
    scaler.fit(torch.tensor(np.random.default_rng(0).normal(0, [1, 5, 9, 1, 2], (50, 5))))
    scaled, plain = dictionary_model(0, scaler), dictionary_model(1)
    with torch.no_grad():
        plain.decoder.weight.copy_(F.normalize(scaled.decoder.weight * scaler.scale, dim=1))
        plain.encoder.weight.copy_(scaled.encoder.weight / scaler.scale)
    assert seed_stability([scaled, plain]).value == 1
    given = plain.decoder.weight, plain.encoder.weight
    assert seed_stability([scaled, given]).value == 1
    assert seed_stability([scaled, dictionary_model(1)]).value < 1


@pytest.mark.parametrize("name", ["transcoder", "k-sparse"])
def test_transcoders_and_tied_encoders_have_rows_too(name):
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    data = {"in": X[:, :3], "out": X[:, 3:]} if name == "transcoder" else X
    models = [
        isthmus.fit(name, data, latent_dim=8, k=2, steps=2, seed=s, progress=False) for s in (0, 1)
    ]
    given = [(model.atoms(), model.read_rows()[0]) for model in models]
    assert seed_stability(models).value == seed_stability(given).value
    assert seed_stability([models[0]] * 2).value > 0.8


def test_misuse_is_one_sentence():
    good = pair(np.eye(3))
    with pytest.raises(IsthmusError, match="1 is not enough"):
        seed_stability([good])
    with pytest.raises(IsthmusError, match="did you mean 'mutual'"):
        seed_stability([good, good], matching="mutal")
    with pytest.raises(IsthmusError, match="one mask"):
        seed_stability([good, good], alive=[np.ones(3, bool)])
    with pytest.raises(IsthmusError, match="not boolean"):
        seed_stability([good, good], alive=[np.ones(3)] * 2)
    with pytest.raises(IsthmusError, match="model 1 has no latent that is alive"):
        seed_stability([good, good], alive=[np.ones(3, bool), np.zeros(3, bool)])
    with pytest.raises(IsthmusError, match="pass both as"):
        seed_stability([good, (np.eye(3), np.eye(2))])
    with pytest.raises(IsthmusError, match="no dictionary"):
        seed_stability([good, tiny(Dense())])
