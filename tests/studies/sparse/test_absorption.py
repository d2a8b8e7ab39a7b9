import numpy as np
import pytest

from isthmus.evaluation import Absorption
from isthmus.studies.sparse.absorption import (
    TOY,
    TOY_FREQUENCIES,
    TOY_SIZES,
    TREE,
    TREE_FREQUENCIES,
    _absorbed,
    _planted,
)


@pytest.fixture
def toy():
    return _planted(TOY, TOY_FREQUENCIES, TOY_SIZES, 5)


def test_the_absorbing_dictionary_rebuilds_exactly_with_fewer_latents(toy):
    rows, truth = toy.sample(4000, 1)
    made = _absorbed(toy)
    np.testing.assert_allclose(made.reconstruct(rows), rows, atol=1e-5)
    active = (made.encode(rows) != 0).sum()
    both = (truth.toarray()[:, 1] != 0).sum()
    assert active == truth.nnz - both


def test_it_is_silent_wherever_the_child_is_on(toy):
    rows, truth = toy.sample(4000, 1)
    judged = Absorption(_absorbed(toy), rows, truth, np.array(TOY))
    assert judged.silence().value == 1.0
    assert judged.child_cosine(toy.directions).value == pytest.approx(np.sqrt(0.5))


def test_children_of_the_tree_may_fire_as_often_as_they_do():
    made = _planted(TREE, TREE_FREQUENCIES, (0.9, 1.1), 0)
    assert made.frequencies.sum() == pytest.approx(2.4)
    assert (np.bincount(made.parents[made.parents >= 0]) == 4).all()
