"""Lists of rows, of batches, of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from isthmus import notices
from isthmus.anatomy import Reading
from isthmus.data import as_source
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
DIGITS = torch.from_numpy(load_digits().images[:90]).float() / 16


def opened(X, kind=None, **how):
    with notices.collected(quiet=True) as said:
        return as_source(X, kind, **how), said


@pytest.mark.parametrize(
    ("batches", "shape"),
    [
        ([torch.randn(100, 24)] * 5, (500, 24)),
        ([torch.randn(100, 24)] * 3 + [torch.randn(7, 24)], (307, 24)),
        (list(DataLoader(torch.randn(250, 6), batch_size=100)), (250, 6)),
        (list(DataLoader(TensorDataset(torch.randn(250, 6), torch.zeros(250)), 100)), (250, 6)),
        ([torch.rand(32, 1, 8, 8)] * 4, (128, 1, 8, 8)),
        ([RNG.random((32, 3, 8, 8))] * 4, (128, 3, 8, 8)),
        ([DIGITS[:30], DIGITS[30:60], DIGITS[60:]], (90, 1, 8, 8)),
    ],
)
def test_batches_are_joined_and_it_is_said(batches, shape):
    source, said = opened(batches)
    assert (len(source), *source.signal.shape) == shape
    assert "read as batches and joined" in said[0]
    assert "kind=series" in said[0]
    first = batches[0][0] if isinstance(batches[0], (list, tuple)) else batches[0]
    want = torch.as_tensor(np.asarray(first)).float().reshape(len(first), *shape[1:])
    torch.testing.assert_close(source.rows(torch.arange(len(first))), want)


@pytest.mark.parametrize(
    ("rows", "kind", "shape"),
    [
        (list(DIGITS), None, (90, 1, 8, 8)),
        ([torch.randn(9, 2) for _ in range(40)], None, (40, 9, 2)),
        ([RNG.normal(size=(100, 24))] * 5, None, (5, 100, 24)),
        ([torch.randn(100, 24)] * 5, "series", (5, 100, 24)),
        ([RNG.random((3, 8, 8))] * 6, None, (6, 3, 8, 8)),
        ([[1.0, 2.0]] * 3, None, (3, 2)),
        ([torch.randn(4)] * 6, None, (6, 4)),
    ],
)
def test_rows_stay_rows(rows, kind, shape):
    source, _ = opened(rows, kind)
    assert (len(source), *source.signal.shape) == shape


def test_sequences_are_rows_of_features_for_a_dictionary():
    ragged = [RNG.normal(size=(5 + i % 3, 4)) for i in range(9)]
    source, said = opened(ragged, Reading(features=True))
    assert (len(source), source.signal.shape) == (sum(map(len, ragged)), (4,))
    assert said
    assert opened(ragged)[0].signal.ragged


def test_pictures_of_one_size():
    pictures = [Image.fromarray(RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)) for _ in range(4)]
    source, _ = opened(pictures)
    raw = np.stack([np.asarray(one) for one in pictures])
    np.testing.assert_allclose(
        source.rows(torch.arange(4)), raw.transpose(0, 3, 1, 2) / 255, rtol=1e-6
    )


def test_pictures_of_several_sizes_need_one():
    arrays = [RNG.integers(0, 256, (10 + i, 12, 3), dtype=np.uint8) for i in range(3)]
    for given in (arrays, [Image.fromarray(one) for one in arrays],
                  [torch.from_numpy(one) for one in arrays]):  # fmt: skip
        with pytest.raises(IsthmusError, match=r"add size=10 \(or size=WIDTHxHEIGHT\)"):
            opened(given)
        assert opened(given, size="8x6")[0].signal.shape == (3, 6, 8)
        assert opened(given, size=8, mode="grey")[0].signal.shape == (1, 8, 8)


def test_pixels_that_are_no_picture_are_one_sentence():
    with pytest.raises(IsthmusError, match="image 1 of the list has values from"):
        opened([np.zeros((5, 5)), np.full((5, 5), 3.5)], size=4)
    with pytest.raises(IsthmusError, match="size and mode are for image files"):
        opened(np.zeros((3, 5, 5)), size=4)


def test_paths_of_pictures(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "zab"]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    source, _ = opened([str(path) for path in paths])
    assert source.names == [str(path) for path in paths]
    assert (source.rows(torch.arange(3))[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 2]
    assert len(opened(paths[0])[0]) == 1
    with pytest.raises(IsthmusError, match="there is no image"):
        opened([str(paths[0]), "nowhere.png"])
