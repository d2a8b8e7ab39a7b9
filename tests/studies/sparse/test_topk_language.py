"""The joint scaling law."""

from itertools import product

import numpy as np
import pytest

from isthmus.studies.sparse.topk_language import joint_law

GRID = np.array(list(product((256, 512, 1024, 2048), (4, 8, 16, 32))), np.float64)


def errors():
    n, k = np.log(GRID.T)
    return np.exp(0.5 - 0.6 * k - 0.1 * n - 0.02 * n * k) + np.exp(-2.0 - 0.2 * k)


def test_errors_that_follow_the_law_are_explained_wholly():
    assert joint_law(*GRID.T, errors()) == pytest.approx(1.0, abs=1e-4)


def test_errors_in_disorder_are_not():
    dealt = np.random.default_rng(0).permutation(errors())
    assert joint_law(*GRID.T, dealt) < 0.9


def test_the_logarithm_alone_would_not_do():
    # A sum of two powers is no straight line: the second term of the law is needed.
    n, k = np.log(GRID.T)
    design = np.stack([np.ones_like(n), k, n, k * n], 1)
    logs = np.log(np.exp(3.0 - 1.5 * k - 0.05 * n) + np.exp(-2.0 - 0.1 * k))
    line = design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    linear = 1 - ((logs - line) ** 2).sum() / ((logs - logs.mean()) ** 2).sum()
    assert joint_law(*GRID.T, np.exp(logs)) > linear + 1e-3
