"""Images at half the resolution."""

import numpy as np

from isthmus.studies.small_images import halved


def test_each_pixel_is_the_mean_of_four():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 8)).astype(np.uint8)
    found = halved(images)
    assert found.shape == (3, 1, 3, 4)
    assert found.dtype == np.float32
    block = images[2, 4:6, 6:8].astype(float)
    assert found[2, 0, 2, 3] == np.float32(block.mean() / 255)
    np.testing.assert_allclose(found.mean(), images.mean() / 255, rtol=1e-6)
