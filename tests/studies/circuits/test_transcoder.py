"""The transcoder's study: equal L0 by interpolation, and the ranks of edges."""

import numpy as np
import pytest

from isthmus.studies.circuits.transcoder import LEVELS, _correlations, added_at, ratio


def arm(l0, added):
    named = zip(LEVELS, l0, added, strict=True)
    return {k: v for at, x, y in named for k, v in {f"l0_{at}": x, f"added_ce_{at}": y}.items()}


def test_added_loss_is_read_off_between_sparsities():
    """A power law is a straight line in logarithms."""
    figures = {"sae": arm(LEVELS, [4.0 / level for level in LEVELS])}
    assert added_at(figures, "sae", 11.3) == pytest.approx(4.0 / 11.3)
    assert added_at(figures, "sae", 8.0) == pytest.approx(0.5)


def test_the_ratio_is_that_at_equal_l0():
    apart = [1.2 * level for level in LEVELS[:-1]] + [0.9 * LEVELS[-1]]
    figures = {
        "sae": arm(LEVELS, [4.0 / level for level in LEVELS]),
        "transcoder": arm(apart, [1.3 * 4.0 / l0 for l0 in apart]),
        "untrained": {"l0_24": 16.0, "added_ce_24": 2.0},
    }
    assert ratio(figures, "transcoder") == pytest.approx(1.3)
    assert ratio(figures, "untrained") == pytest.approx(8.0)
    assert ratio(figures, "sae") == pytest.approx(1.0)


def test_correlations_are_of_ranks_with_signs_and_of_sizes():
    weight = np.array([3.0, 2.0, 1.0, -1.0, -2.0, -3.0])
    found = _correlations(weight, weight**3)
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["rank_correlation_of_sizes"] == pytest.approx(1.0)
    assert found["same_sign"] == 1.0
    signs_only = _correlations(weight, np.array([1.0, 2.0, 3.0, -3.0, -2.0, -1.0]))
    assert signs_only["rank_correlation"] > 0.5
    assert signs_only["rank_correlation_of_sizes"] == pytest.approx(-1.0)
