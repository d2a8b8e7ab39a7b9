import numpy as np
import pytest

from isthmus.data.made.topic_tree import topic_corpus
from isthmus.studies.sparse.text_retrieval import Embedding, f1_matrix, nearest, neighbour_overlap


def test_embeddings_put_a_field_together():
    corpus = topic_corpus(400, 0)
    rows = Embedding(corpus.texts, 0)(corpus.texts)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    near = nearest(rows, rows, np.arange(len(rows)))
    assert not (near == np.arange(len(rows))[:, None]).any()
    assert (corpus.field[near] == corpus.field[:, None]).mean() > 0.9


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
