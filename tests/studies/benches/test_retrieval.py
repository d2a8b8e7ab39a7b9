import numpy as np
import pytest

from isthmus import data
from isthmus.studies import Coded, Ground, Trial
from isthmus.studies.benches import retrieval
from isthmus.studies.benches.retrieval import (
    MEASURES,
    Embedding,
    Utterances,
    coordinates,
    f1_matrix,
    intent_means,
    nearest,
    neighbour_overlap,
    parent_match,
    telling_words,
)

DOMAINS, INTENTS = 4, 3
DOMAIN_OF = np.repeat(np.arange(DOMAINS), INTENTS)


def made(texts, seed):
    """Utterances of five words: two of the intent, one of the domain, two that all share."""
    rng = np.random.default_rng(seed)
    intent = rng.integers(0, len(DOMAIN_OF), texts)
    found = [
        f"intent{i}a intent{i}b domain{DOMAIN_OF[i]} "
        + " ".join(f"common{j}" for j in rng.integers(0, 20, 2))
        for i in intent
    ]
    return Utterances(found, intent, DOMAIN_OF)


@pytest.fixture(scope="module")
def ground():
    seen, held = made(600, 0), made(80, 1)
    embed = Embedding(seen.texts, 0, dimensions=24)
    known = {"seen": seen, "held": held, "embed": embed}
    return Ground(embed(seen.texts), embed(held.texts), 0, known)


def topics(rows):
    """Codes that are the intents themselves, and the domains."""
    return np.concatenate([2.0 * rows.intents, rows.domains], 1).astype(np.float32)


@pytest.fixture(scope="module")
def known(ground):
    """A ground whose embeddings are the topics, and the dictionary of its axes."""
    seen, held = ground.known["seen"], ground.known["held"]
    same = Coded(lambda rows: rows, lambda z: z)
    return Ground(topics(seen), topics(held), 0, ground.known), same


def test_embeddings_put_a_domain_together(ground):
    np.testing.assert_allclose(np.linalg.norm(ground.rows, axis=1), 1.0, rtol=1e-5)
    near = nearest(ground.rows, ground.rows, np.arange(len(ground.rows)))
    assert not (near == np.arange(len(ground.rows))[:, None]).any()
    domain = DOMAIN_OF[ground.known["seen"].intent]
    assert (domain[near] == domain[:, None]).mean() > 0.9


def test_the_nearest_are_those_of_a_full_sort():
    rng = np.random.default_rng(0)
    queries, rows = rng.standard_normal((5, 4)), rng.standard_normal((50, 4))
    cosines = queries @ rows.T / np.linalg.norm(rows, axis=1)
    expected = np.sort(np.argsort(-cosines, axis=1)[:, :10], axis=1)
    np.testing.assert_array_equal(np.sort(nearest(queries, rows), axis=1), expected)


def test_neighbours_are_kept_by_scaling_and_lost_by_noise():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 8))
    assert neighbour_overlap(x, 3 * x) == 1.0
    assert neighbour_overlap(x, rng.standard_normal((200, 8))) == pytest.approx(10 / 199, abs=0.03)


def test_f1_of_each_latent_and_label():
    fired = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    on = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], bool)
    np.testing.assert_allclose(f1_matrix(fired, on), [[2 * 2 / 5, 0.0], [2 * 1 / 5, 0.0]])


def test_latents_that_are_the_topics_follow_them_and_have_their_parents(known):
    ground, same = known
    assert MEASURES["follows"](same, ground) == {"f1_intents": 1.0, "f1_domains": 1.0}
    found = MEASURES["families"](same, ground)
    assert found["parent_match"] == 1.0
    assert found["parent_match_by_chance"] < 0.5
    alone = ground.known["seen"].intents
    assert parent_match(alone, alone, ground.known["seen"]) == 0.0


def test_steering_exchanges_the_latents_of_two_intents(known):
    """Codes that are the topics: the edit lands on the other intent, exactly."""
    ground, same = known
    assert MEASURES["unsteered"](same, ground) == {"target": 0.0, "own": 1.0, "domain": 1.0}
    assert MEASURES["steered"](same, ground) == {"target": 1.0, "own": 0.0, "domain": 1.0}
    rng = np.random.default_rng(0)
    stray = Coded(lambda rows: rows[rng.permutation(len(rows))], lambda z: z)
    assert MEASURES["steered"](stray, ground)["target"] < 0.6


def test_edits_have_the_length_of_the_query(known):
    """Atoms of other lengths change nothing: a latent is given what makes up for it."""
    ground, _ = known
    scale = np.linspace(0.1, 10.0, ground.rows.shape[1]).astype(np.float32)
    other = Coded(lambda rows: rows / scale, lambda z: z * scale)
    assert MEASURES["steered"](other, ground)["target"] == 1.0


def test_means_of_intents_steer_and_rebuild(ground):
    means = intent_means().make({}, ground, Trial(0))
    np.testing.assert_allclose(means.reconstruct(ground.held), ground.held, atol=1e-5)
    before = MEASURES["unsteered"](means, ground)["target"]
    assert MEASURES["steered"](means, ground)["target"] > before + 0.8


def test_dimensions_in_both_directions_rebuild_the_row(ground):
    every = coordinates(24).make({}, ground, Trial(0))
    np.testing.assert_allclose(every.reconstruct(ground.held), ground.held, atol=1e-5)
    some = coordinates(5).make({}, ground, Trial(0)).encode(ground.held)
    assert ((some != 0).sum(1) == 5).all()
    assert (some >= 0).all()


def test_queries_are_rewritten_by_the_words_of_the_intent(ground):
    words = telling_words(ground.known["embed"], ground.known["seen"])
    for intent, found in enumerate(words):
        assert {f"intent{intent}a", f"intent{intent}b"} <= set(found)
    found = MEASURES["rewritten"](None, ground)
    assert found["target"] > 0.9
    assert found["own"] < 0.1


@pytest.mark.skipif(not data.is_name("clinc150"), reason="needs clinc150")
def test_intents_are_real_and_each_has_one_domain():
    every = retrieval.utterances()
    assert len(every.texts) == len(every.intent) == 22_500
    assert np.bincount(every.intent).tolist() == [150] * 150
    assert np.bincount(every.domain_of).tolist() == [15] * 10
