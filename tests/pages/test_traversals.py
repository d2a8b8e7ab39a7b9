"""Traversals, against decoding by hand."""

import numpy as np
import pytest

import isthmus
from isthmus.data import ArraySource
from isthmus.pages.codes import codes_of
from isthmus.pages.traversals import most_informative, traversed

X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    model = isthmus.fit("vae", X, latent_dim=3, steps=5, batch_size=32, progress=False)
    return model, codes_of(model, ArraySource(X))


@pytest.mark.parametrize("span", [None, 2.0])
def test_one_latent_is_moved_and_the_others_stay_at_their_means(fitted, span):
    model, codes = fitted
    z = model.encode(X)
    second, first = traversed(model, codes, [2, 0], span, steps=5)
    assert (second.latent, first.latent) == (2, 0)
    if span is None:
        low, high = np.quantile(z[:, 0], [0.005, 0.995])
    else:
        low, high = z[:, 0].mean() + np.array([-span, span]) * z[:, 0].std()
    assert first.values == pytest.approx(np.linspace(low, high, 5), rel=1e-4)
    by_hand = np.tile(z.mean(0), (5, 1))
    by_hand[:, 0] = first.values
    assert first.rows == pytest.approx(model.decode(by_hand), abs=1e-5)


def test_the_most_informative_are_those_of_the_largest_divergence(fitted):
    model, codes = fitted
    per = np.asarray(isthmus.evaluate(model, X)["kl"].per)
    assert most_informative(codes, 2) == np.argsort(-per)[:2].tolist()


def test_a_latent_that_never_fires_is_left_out():
    model = isthmus.fit("topk", X, latent_dim=64, k=1, steps=2, batch_size=32, progress=False)
    codes = codes_of(model, ArraySource(X[:20]))
    dead = int(np.flatnonzero(codes.counts == 0)[0])
    alive = int(np.argmax(codes.counts))
    ways = traversed(model, codes, [dead, alive])
    assert [way.latent for way in ways] == [alive]
    assert ways[0].values[0] == 0.0


def test_a_model_that_decodes_whole_codes_only_is_told_so():
    model = isthmus.fit("gated", X, latent_dim=8, steps=2, batch_size=32, progress=False)
    codes = codes_of(model, ArraySource(X))
    model.decoder = None
    with pytest.raises(isthmus.IsthmusError, match="single latents"):
        traversed(model, codes, [0])
