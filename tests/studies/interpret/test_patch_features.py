"""What is made of concepts of units, and of latents that are clamped."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.data.made.tiled_scenes import Scenes
from isthmus.interpretation.regions import Concepts
from isthmus.studies.interpret import patch_features
from isthmus.studies.interpret.patch_features import KINDS, clamps, covered, turned

CONCEPTS = Concepts(np.array([3, 3, -1, 7]), np.full(4, 0.5), np.array([0.2, 0.6, np.nan, 0.4]))


def test_units_are_averaged_and_concepts_have_their_best_one():
    figures = covered(CONCEPTS, np.array([0.9, 0.3, np.nan, 0.5]))
    assert figures["iou"] == pytest.approx((0.9 + 0.3 + 0.5) / 3)
    assert figures["best"] == pytest.approx((0.3 + 0.5) / KINDS)
    assert figures["units"] == 3
    assert covered(CONCEPTS, np.array([0.9, np.nan, np.nan, 0.5]))["best"] == 0.5 / KINDS


def test_a_class_is_clamped_by_its_best_latent_or_by_any():
    maps = np.arange(24.0).reshape(2, 3, 4)
    latents, values = clamps(CONCEPTS, maps)
    assert latents == {3: 1, 7: 3}
    np.testing.assert_allclose(values, 2 * maps[1, 2])
    drawn = [clamps(CONCEPTS, maps, np.random.default_rng(i))[0] for i in range(20)]
    assert {latent for one in drawn for latent in one.values()} == {0, 1, 3}
    assert all(set(one) == {3, 7} for one in drawn)


class Reader(nn.Module):
    """The class of a scene is the largest element of its mean token."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, pixels):
        tokens = torch.zeros(len(pixels), 4, KINDS)
        tokens[:, :, 0] = 1.0
        return self.inner(tokens).mean(1)


def test_scenes_are_turned_by_latents_that_write_their_class(monkeypatch):
    from isthmus.anatomy import Signal
    from isthmus.recipes import get_recipe

    page = get_recipe("topk")
    dictionary = page.build(
        Signal("vector", (KINDS,)), page.parse({"latent_dim": KINDS, "k": 2, "scaling": "none"})[0]
    ).eval()
    with torch.no_grad():
        dictionary.decoder.weight.copy_(torch.eye(KINDS))
    monkeypatch.setattr(patch_features, "POINT", "inner")
    scenes = Scenes(
        np.zeros((6, 1, 2, 2), np.float32), np.zeros((6, 3, 3), int), np.array([0, 3, 0, 0, 7, 0])
    )
    values = np.full(KINDS, 50.0)
    # Latents 3 and 7 write their classes; in the place of 9 there is another one's.
    assert turned(Reader(), dictionary, scenes, {3: 3, 7: 7}, values) == pytest.approx(2 / KINDS)
    assert turned(Reader(), dictionary, scenes, {3: 3, 9: 8}, values) == pytest.approx(1 / KINDS)
