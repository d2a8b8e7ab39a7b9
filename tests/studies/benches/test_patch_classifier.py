"""A classifier of scenes learns, and its tokens are those of patches."""

import numpy as np
import pytest
import torch

from isthmus.data.made.tiled_scenes import tiled
from isthmus.studies import Trial
from isthmus.studies.benches.patch_classifier import POINT, patch_classifier

LABELS = np.arange(100) % 10
RNG = np.random.default_rng(0)
KINDS = RNG.random((10, 1, 14, 14))
IMAGES = (KINDS[LABELS] + 0.1 * RNG.random((100, 1, 14, 14))).astype(np.float32)


def draw(count, rng):
    return tiled(IMAGES, LABELS, count, rng)


@pytest.mark.slow
def test_easy_scenes_are_learnt():
    scenes = draw(200, np.random.default_rng(1))
    right = []
    for steps in (0, 80):
        model = patch_classifier(draw, 10, Trial(1), steps)
        with torch.no_grad():
            named = model(torch.from_numpy(scenes.pixels)).argmax(1).numpy()
        right.append((named == scenes.main).mean())
    assert right[0] < 0.4
    assert right[1] > 0.7


def test_the_same_seed_gives_the_same_model_and_training_moves_it():
    models = [patch_classifier(draw, 10, Trial(1), steps) for steps in (2, 2, 0)]
    weights = [model.head.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_token_of_the_first_block_is_that_of_its_patch():
    model = patch_classifier(draw, 10, Trial(1), 0)
    assert model.get_submodule(POINT) is model.encoder.blocks[1]
    pixels = torch.from_numpy(draw(1, np.random.default_rng(2)).pixels)
    other = pixels.clone()
    other[..., 7:14, 14:21] += 1.0  # row 1, column 2 of the grid of 6 x 6
    patches = [model.encoder.patches.patchify(x)[0] for x in (pixels, other)]
    assert (patches[0] != patches[1]).any(1).nonzero().tolist() == [[8]]
