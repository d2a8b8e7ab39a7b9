"""Images in a page, against Pillow's reading of them."""

import base64
import io
import re

import numpy as np
import pytest

from isthmus.pages import kit


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3)])
def test_pixels_come_back(shape):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(kit.png(pixels)))), pixels)


def test_a_picture_says_what_it_shows():
    made = kit.picture(np.zeros((3, 5), np.uint8), '"a" < b', times=4)
    assert 'alt="&quot;a&quot; &lt; b"' in made
    assert 'width="20" height="12"' in made
    held = re.search('base64,(.*?)"', made)[1]
    assert base64.b64decode(held) == kit.png(np.zeros((3, 5), np.uint8))
