import math

import numpy as np
import pytest

from isthmus.data import Planted
from isthmus.evaluation.description import coded_bits
from isthmus.studies.sparse.mdl_sae import SPLIT, reaching, small, split


def test_the_l0_at_the_cap_is_interpolated(monkeypatch):
    tried = [{"fvu": f, "l0": k} for k, f in ((4.0, 0.4), (8.0, 0.2), (16.0, 0.1))]
    for cap, expected in ((0.25, 7.0), (0.1, 16.0), (0.5, 4.0)):
        monkeypatch.setattr("isthmus.studies.sparse.mdl_sae.CAP", cap)
        assert reaching(tried) == pytest.approx(expected)
    monkeypatch.setattr("isthmus.studies.sparse.mdl_sae.CAP", 0.05)
    assert math.isnan(reaching(tried))


def test_images_shrink_to_means_of_blocks():
    images = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    got = small(images)
    assert got.shape == (2, 196)
    assert got.dtype == np.float32
    assert got[1, 15] == pytest.approx(images[1, 2:4, 2:4].mean() / 255)


def test_split_features_rebuild_the_same_with_as_many_active():
    made = Planted(8, 12, 2.0, seed=1)
    rows, codes = made.sample(4000, 0)
    parts = split(codes, 0)
    assert parts.shape == (4000, 12 * SPLIT)
    assert parts.nnz == codes.nnz
    atoms = np.repeat(made.directions, SPLIT, 0)
    np.testing.assert_allclose(parts @ atoms, rows, atol=1e-5)
    # Each value moreover has to say in which of eight places it stands.
    more = coded_bits(parts, 0.25).value - coded_bits(codes, 0.25).value
    assert more == pytest.approx(np.log2(SPLIT) * codes.nnz / 4000, rel=0.1)
