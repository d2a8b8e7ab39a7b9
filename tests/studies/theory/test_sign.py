"""The frames and patches that the law is checked on."""

import numpy as np
import pytest

from isthmus.studies.theory.sign import geometry, of_equal_length, tight_frame, whitened


@pytest.mark.parametrize("n", [10, 40, 60, 80])
def test_frames_are_orthonormal_or_tight(n):
    b = tight_frame(n, 40, np.random.default_rng(0))
    found = geometry(b)
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1.0)
    # Unit rows whose B^T B is r I overlap by the Welch bound; fewer rows span a projection.
    overlap = ((n - 40) / (40 * (n - 1))) ** 0.5 if n > 40 else 0.0
    frame = 0.0 if n >= 40 else (1 - n / 40) / (n / 40)
    assert found["overlap"] == pytest.approx(overlap, abs=1e-3)
    assert found["frame"] == pytest.approx(frame, abs=1e-3)


def test_whitened_rows_are_white_and_then_of_one_length():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 3.0
    white, other = whitened(rows, rows[:10])
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6), atol=1e-4)
    np.testing.assert_allclose(other, white[:10], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(of_equal_length(white), axis=1), 6**0.5, rtol=1e-5)
