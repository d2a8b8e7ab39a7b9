import numpy as np
import pytest

from isthmus.evaluation import seed_stability
from isthmus.studies.sparse.seed_overlap import moved


def test_copies_keep_a_cosine_of_nine_tenths_and_are_all_shared():
    rng = np.random.default_rng(0)
    rows = (3.0 * rng.standard_normal((300, 192)), 0.1 * rng.standard_normal((300, 192)))
    copies = moved(rows, 1)
    for own, copy in zip(rows, copies, strict=True):
        cosine = (own * copy).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(copy, axis=1)
        assert cosine.mean() == pytest.approx(0.9, abs=0.01)
    assert seed_stability([rows, copies]).value == 1.0
    others = tuple(rng.standard_normal((300, 192)) for _ in range(2))
    assert seed_stability([rows, others]).value == 0.0
