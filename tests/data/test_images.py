import numpy as np
import pytest
import torch
from PIL import Image

from isthmus import notices
from isthmus.data import Subset, as_source, given_source
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


def opened(folder, kind=None, **how):
    with notices.collected(quiet=True) as said:
        return as_source(folder, kind, **how), said


def test_sizes_and_modes_are_brought_to_one(tmp_path):
    for name, size, mode in (("a.jpg", (40, 30), "RGB"), ("b.jpg", (32, 64), "L")):
        Image.new(mode, size, 200 if mode == "L" else (200, 10, 10)).save(tmp_path / name)
    with pytest.raises(IsthmusError, match=r"add size=30 .* and mode=grey or mode=rgb"):
        opened(tmp_path)
    with pytest.raises(IsthmusError, match="add mode="):
        opened(tmp_path, size=32)
    source, _ = opened(tmp_path, size="20x10", mode="rgb")
    assert source.signal.shape == (3, 10, 20)
    assert source.names == ["a.jpg", "b.jpg"]
    rows = source.rows(torch.arange(2))
    assert rows[0, 0].mean() == pytest.approx(200 / 255, abs=0.02)
    assert opened(tmp_path, size=8, mode="grey")[0].signal.shape == (1, 8, 8)
    assert as_source(tmp_path, size=8, mode="grey").names == ["a.jpg", "b.jpg"]


def test_the_middle_is_cut_out_in_proportion(tmp_path):
    raw = np.zeros((8, 24), np.uint8)
    raw[:, 8:16] = 255
    Image.fromarray(raw).save(tmp_path / "a.png")
    assert opened(tmp_path, size=8)[0].rows(torch.arange(1)).min() == 1.0


def test_pictures_are_rotated_as_their_header_says(tmp_path):
    raw = pixels(6, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(raw).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.rot90(raw, -1)).save(tmp_path / "b.png")
    source, _ = opened(tmp_path)
    assert source.signal.shape == (3, 4, 6)
    rows = source.rows(torch.arange(2))
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize(("most", "top"), [(65000, 65535), (4000, 4095), (900, 1023)])
def test_sixteen_bits(tmp_path, most, top):
    raw = np.linspace(0, most, 48).reshape(2, 6, 4).astype(np.uint16)
    for name, one in zip("ab", raw, strict=True):
        Image.fromarray(one).save(tmp_path / f"{name}.png")
    source, said = opened(tmp_path)
    assert f"0 to {top} are read as 0 to 255" in said[0]
    np.testing.assert_allclose(source.rows(torch.arange(2))[:, 0], raw / top, atol=0.5 / 255 + 1e-6)


def test_other_modes_and_animations(tmp_path):
    colours = pixels(6, 4, 3)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.tif")
    Image.fromarray(colours).convert("P").save(tmp_path / "b.png")
    frames = [Image.fromarray(np.full((6, 4), n, np.uint8)) for n in (0, 250)]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:])
    source, said = opened(tmp_path, mode="rgb")
    assert len(source) == 3
    assert source.rows(torch.arange(3)).shape == (3, 3, 6, 4)
    assert "has 2 frames, of which the first is read" in said[0]
    assert source.rows(torch.tensor([2])).max() < 0.1


def test_subfolders_can_be_given_as_labels(tmp_path):
    for at, name in enumerate(("cat/a.png", "cat/b.png", "dog/a.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(4, 4) // (at + 1)).save(tmp_path / name)
    source, columns = given_source(str(tmp_path), {"label": "folder"})
    assert source.batch(torch.arange(3)).given["label"].tolist() == [0, 0, 1]
    assert list(columns.levels["label"]) == ["cat", "dog"]
    assert Subset(source, [2, 0]).names == ["dog/a.png", "cat/a.png"]
    with pytest.raises(IsthmusError, match="did you mean 'folder'"):
        given_source(str(tmp_path), {"label": "foldr"})


def test_names_with_kinds_that_images_are_not(tmp_path):
    Image.fromarray(pixels(4, 4)).save(tmp_path / "a.png")
    with pytest.raises(IsthmusError, match="images are read as images"):
        opened(tmp_path, "series")
