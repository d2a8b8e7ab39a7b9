"""Activations of vision models are shown as the patches of images that they stand for."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.activations import harvest
from isthmus.data import ArraySource, Subset, as_source
from isthmus.pages import report
from isthmus.pages.image_patches import behind, patches
from pages.browser import Browser, program


class Patches(nn.Module):
    """A vector for each of four patches of 4x4 pixels, after a token that is no patch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.read = nn.Conv2d(1, 6, 4, 4)

    def forward(self, x):
        tokens = self.read(x).flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


@pytest.mark.parametrize(
    ("places", "expected"),
    [(4, (0, 2)), (5, (1, 2)), (197, (1, 14)), (201, (5, 14)), (256, (0, 16)), (3, (0, 0)),
     (1, (0, 0))],
)  # fmt: skip
def test_a_square_after_a_few_other_tokens(places, expected):
    assert patches(places) == expected


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).random((30, 1, 8, 8), np.float32))
    return path


@pytest.fixture(scope="module")
def store(images):
    return harvest(
        Patches(), as_source(images), ".", images.parent / "acts", text=str(images),
        dtype="float32", batch=8, progress=False,
    )  # fmt: skip


def test_an_activation_knows_its_image(store, images):
    chosen = torch.tensor([149, 0, 7])
    found = behind(Subset(store.source("."), chosen), 3)
    assert (found.image.tolist(), found.place.tolist()) == ([29, 0, 1], [4, 0, 2])
    assert (found.rows == np.load(images)).all()
    whole = behind(store.source("."), len(store))
    assert whole.setting() | {"leading": 1, "side": 2, "height": 8, "width": 8} == whole.setting()


def test_nothing_is_behind_other_rows(store, tmp_path):
    assert behind(ArraySource(np.zeros((4, 3), np.float32)), 4) is None
    rows = ArraySource(np.random.default_rng(0).random((3, 1, 8, 8), np.float32))
    gone = harvest(
        Patches(), rows, ".", tmp_path / "acts", text=str(tmp_path / "gone.npy"), batch=3,
        progress=False,
    )  # fmt: skip
    assert behind(gone.source("."), 15) is None


def test_other_images_in_their_place_are_not_shown(tmp_path):
    path = tmp_path / "images.npy"
    rows = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    np.save(path, rows)
    held = harvest(
        Patches(), as_source(path), ".", tmp_path / "acts", text=str(path), batch=3, progress=False
    )
    assert behind(held.source("."), 30) is not None
    np.save(path, rows[::-1].copy())
    assert behind(held.source("."), 30) is None


@pytest.mark.skipif(program() is None, reason="no browser to open the page in")
def test_only_the_patch_keeps_its_contrast(store, tmp_path):
    run = tmp_path / "run"
    spec = f"store:{store.path}@."
    isthmus.fit("topk", spec, out=run, latent_dim=16, k=1, steps=30, batch_size=32, progress=False)
    page = report(run, progress=False)
    codes = isthmus.load(run).encode(store.rows(".", torch.arange(150)))
    latent = int(codes.abs().sum(0).argmax())
    with Browser(tmp_path / "profile") as browser:
        shown = browser.open(page, f"#latent={latent}")
        shown.until("document.querySelectorAll('.strip canvas').length > 0")
        found = shown.run(
            "JSON.stringify([...document.querySelectorAll('.strip figure')].map((figure) => ["
            "figure.title, [...figure.querySelector('canvas').getContext('2d')"
            ".getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)]))"
        )
        assert not shown.complaints()
    pixels = np.load(store.path.parent / "images.npy")[:, 0]
    for title, drawn in json.loads(found):
        image, kind, place = re.fullmatch(r"image (\d+), (patch|token) (\d+)", title).groups()
        lit = np.ones((8, 8), bool)
        if kind == "patch":
            row, column = divmod(int(place), 2)
            lit[:] = False
            lit[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
        grey = (pixels[int(image)] - pixels.min()) / (pixels.max() - pixels.min()) * 255
        expected = np.where(lit, grey, 168 + 0.3 * (grey - 168))
        np.testing.assert_allclose(np.array(drawn).reshape(8, 8), expected, atol=4)
