"""The made tree: levels are orthogonal, siblings are not, and a row has one parent."""

import numpy as np

from isthmus.studies.sparse.mp_sae import (
    ALIKE,
    EACH,
    FOLLOWED,
    PARENTS,
    TRUTHS,
    coefficients,
    directions,
)  # fmt: skip


def test_levels_are_orthogonal_and_features_of_one_level_are_alike():
    rows = directions(np.random.default_rng(0))
    cosines = rows @ rows.T
    level = np.arange(TRUTHS) < PARENTS
    np.testing.assert_allclose(cosines[level][:, ~level], 0.0, atol=1e-12)
    for part in (cosines[level][:, level], cosines[~level][:, ~level]):
        np.testing.assert_allclose(part, np.where(np.eye(len(part)) == 1, 1.0, ALIKE), atol=1e-12)


def test_a_row_has_one_parent_and_no_child_of_another():
    on = coefficients(4000, np.random.default_rng(1)) > 0
    parent, children = on[:, :PARENTS], on[:, PARENTS:].reshape(-1, PARENTS, EACH)
    assert (parent.sum(1) == 1).all()
    assert not children[~parent].any()
    share = children[parent].any(1).mean()
    assert children.sum((1, 2)).max() == 1
    # Three standard deviations of a share of 4000 rows.
    assert abs(share - FOLLOWED) < 0.021
