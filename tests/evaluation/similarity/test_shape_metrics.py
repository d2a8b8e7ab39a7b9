"""Shape metrics: SciPy's Procrustes, canonical correlations, and the triangle inequality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipys
from scipy.stats import ortho_group

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import cca, procrustes, shape_distance


def arrays(n=40, d=5, e=5, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d)) * np.linspace(1, 3, d)
    return a, a[:, :e] @ rng.normal(size=(min(d, e), e)) + rng.normal(size=(n, e))


def test_it_is_scipys_disparity():
    a, b = arrays()
    assert procrustes(a, b).value == pytest.approx(scipys(a, b)[2])
    narrow = b[:, :3]
    padded = np.hstack([narrow, np.zeros((40, 2))])
    assert procrustes(a, narrow).value == pytest.approx(scipys(a, padded)[2])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_rotations_and_a_factor_change_nothing(alpha):
    a, b = arrays()
    turned = 4.0 * a @ ortho_group.rvs(5, random_state=1) + 2.0
    assert shape_distance(a, turned, alpha=alpha).value == pytest.approx(0.0, abs=1e-6)
    expected = shape_distance(a, b, alpha=alpha).value
    assert shape_distance(turned, b, alpha=alpha).value == pytest.approx(expected)
    assert shape_distance(b, a, alpha=alpha).value == pytest.approx(expected)


def test_its_ends_are_procrustes_and_canonical_correlations():
    a, b = arrays()
    assert np.cos(shape_distance(a, b).value) ** 2 == pytest.approx(1 - procrustes(a, b).value)
    angle = shape_distance(a, b, alpha=0.0).value
    assert np.cos(angle) == pytest.approx(cca(a, b).value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_the_triangle_inequality_holds(seed, alpha):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=(12, d)) for d in (3, 4, 5))
    between = [shape_distance(x, y, alpha=alpha).value for x, y in ((a, b), (b, c), (a, c))]
    assert between[2] <= between[0] + between[1] + 1e-9


def test_an_alpha_that_is_no_share_is_refused():
    with pytest.raises(IsthmusError, match="alpha=2"):
        shape_distance(*arrays(), alpha=2)
