"""Codes against priors, and binary images."""

import numpy as np
import pytest
import torch

from isthmus import data
from isthmus.studies import Coded, Trial
from isthmus.studies.benches.samples import binarised, digits, draws_of, moved

needs_mnist = pytest.mark.skipif(not data.is_name("mnist"), reason="MNIST is not there")


def test_codes_are_moved_to_given_moments():
    draw = torch.Generator().manual_seed(0)
    z = torch.rand(500, 2, generator=draw, dtype=torch.float64) @ torch.tensor(
        [[3.0, 1.0], [0.0, 0.5]], dtype=torch.float64
    )
    to = torch.randn(500, 2, generator=draw, dtype=torch.float64) + 2
    found = moved(z, to)
    torch.testing.assert_close(found.mean(0), to.mean(0))
    torch.testing.assert_close(found.T.cov(), to.T.cov())


@needs_mnist
def test_test_images_are_drawn_once_and_training_ones_are_means():
    ground = binarised(rows=400, held=50).open(Trial(3))
    assert ground.rows.shape == (400, 1, 14, 14)
    assert set(np.unique(ground.held)) == {0.0, 1.0}
    assert len(np.unique(ground.rows)) > 100
    again = binarised(rows=400, held=50).open(Trial(3))
    np.testing.assert_array_equal(ground.held, again.held)


@needs_mnist
def test_distances_tell_shape_from_moments():
    bench = digits(rows=100, held=2000)
    ground, trial = bench.open(Trial(1)), Trial(1)
    ring = draws_of("ring").make({}, ground, trial)
    disk = draws_of("disk").make({}, ground, trial)
    blob = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    normal = Coded(lambda rows: blob, lambda z: ground.held)
    names = ("sw_ring", "sw_ring_moved", "sw_disk")
    to_ring, to_disk, far = (bench.measured(one, ground, names) for one in (ring, disk, normal))
    assert to_ring["sw_ring"] < 0.005
    assert to_disk["sw_disk"] < 0.005
    assert to_disk["sw_ring"] > 5 * to_ring["sw_ring"]
    # Brought to the ring's moments a blob is nearer to it, and no ring.
    assert 5 * to_ring["sw_ring"] < far["sw_ring_moved"] < far["sw_ring"]
