import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.data import as_source
from isthmus.errors import IsthmusError


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_folder_is_read_recursively_in_order_of_paths(tmp_path):
    raw = pixels(3, 5, 4, 3)
    (tmp_path / "b").mkdir()
    for at, name in enumerate(("a.png", "b/a.png", "c.bmp")):
        Image.fromarray(raw[at]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image either")
    source = as_source(tmp_path)
    assert len(source) == 3
    assert source.signal.shape == (3, 5, 4)
    assert source.signal.is_unit
    rows = source.rows(torch.tensor([2, 0, 1]))
    np.testing.assert_allclose(rows, raw[[2, 0, 1]].transpose(0, 3, 1, 2) / 255, rtol=1e-6)


def test_grey_images_keep_one_channel(tmp_path):
    raw = pixels(2, 5, 4)
    for at in range(2):
        Image.fromarray(raw[at]).save(tmp_path / f"{at}.png")
    source = as_source(str(tmp_path))
    assert source.signal.shape == (1, 5, 4)
    np.testing.assert_allclose(source.rows(torch.tensor([1]))[0, 0], raw[1] / 255, rtol=1e-6)


def test_palette_and_transparent_images_become_rgb(tmp_path):
    colours = np.zeros((4, 4, 4), np.uint8)
    colours[..., 0] = 200
    colours[..., 3] = 10
    Image.fromarray(colours).save(tmp_path / "a.png")
    Image.fromarray(colours[..., :3]).convert("P").save(
        tmp_path / "b.png", transparency=b"\x05" * 9
    )
    rows = as_source(tmp_path).rows(torch.arange(2))
    assert rows.shape == (2, 3, 4, 4)
    assert rows[0, 0].unique().item() == pytest.approx(200 / 255)


@pytest.mark.parametrize("odd", [pixels(5, 3, 3), pixels(5, 4)])
def test_odd_image_is_named(odd, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(5, 4, 3)).save(tmp_path / name)
    Image.fromarray(odd).save(tmp_path / "odd.png")
    with pytest.raises(IsthmusError, match=r"odd.png' is .*, but .*a.png' is coloured 4x5"):
        as_source(tmp_path)


def test_damaged_images_are_named_at_opening_or_reading(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(50, 40, 3)).save(tmp_path / name)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    source = as_source(tmp_path)
    assert source.rows(torch.tensor([0])).shape == (1, 3, 50, 40)
    with pytest.raises(IsthmusError, match=r"b.png' is damaged"):
        source.rows(torch.tensor([1]))
    (tmp_path / "b.png").write_bytes(b"none")
    with pytest.raises(IsthmusError, match=r"b.png' is damaged"):
        as_source(tmp_path)


def test_images_of_more_than_bytes_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(IsthmusError, match="8-bit"):
        as_source(tmp_path).rows(torch.tensor([0]))


def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(IsthmusError, match="no images"):
        as_source(tmp_path)
