import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.anatomy import Source
from isthmus.data import Sprites
from isthmus.errors import IsthmusError

from ..shared_data import shared_folder


def original_sequence():
    """The factors that the frames of the original animation step through."""
    up, down = list(range(6)), list(range(5, -1, -1))
    turns = [(5, turn, 0, 0) for turn in range(40)]
    frames = [(2, s, 0, 0, 0) for s in up + down + up] + [(2, *t) for t in turns]
    frames += [(2, 5, 0, 0, y) for y in range(32)] + [(2, 5, 0, x, 31) for x in range(32)]
    frames += [(2, 5, 0, 31, y) for y in range(31, -1, -1)]
    frames += [(2, 5, 0, x, 0) for x in range(31, -1, -1)] + [(2, s, 0, 0, 0) for s in down]
    for shape in (1, 0):
        frames += [(shape, s, 0, 0, 0) for s in up + down + up] + [(shape, *t) for t in turns]
        frames += [(shape, s, 0, 0, 0) for s in down]
    return torch.tensor(frames)


def test_rendering_overlaps_the_original_frames():
    with np.load(shared_folder() / "images" / "dsprites_reference.npz") as archive:
        frames = archive["frames"].astype(bool)
    source = Sprites()
    ours = source.rows(source.index(original_sequence()))[:, 0].numpy() > 0.5
    overlap = (ours & frames).sum((1, 2)) / (ours | frames).sum((1, 2))
    assert overlap.mean() > 0.998
    assert overlap.min() > 0.985


def test_source_holds_every_combination_of_factors():
    source = Sprites()
    assert isinstance(source, Source)
    assert len(source) == 737_280
    assert source.factors(torch.tensor([0, 1, 32, len(source) - 1])).tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [2, 5, 39, 31, 31],
    ]  # fmt: skip


@given(st.lists(st.integers(0, 737_279), min_size=1, max_size=6))
def test_index_inverts_factors_and_rows_depend_on_their_number_alone(rows):
    source, index = Sprites(16), torch.tensor(rows)
    assert torch.equal(source.index(source.factors(index)), index)
    together = source.rows(index)
    assert all(
        torch.equal(source.rows(i[None])[0], x) for i, x in zip(index, together, strict=True)
    )


@pytest.mark.parametrize("size", [16, 64, 128])
def test_areas_and_centres_are_those_of_the_shapes(size):
    source = Sprites(size)
    unit = size / 64
    for shape, area in ((0, 19.2**2), (1, np.pi * 12.77 * 7.21)):
        for scale, x, y in ((0, 3, 30), (5, 17, 9)):
            picture = source.rows(source.index(torch.tensor([[shape, scale, 7, x, y]])))[0, 0]
            assert picture.unique().tolist() == [0, 1]
            down, across = (picture.nonzero().double() + 0.5).mean(0).tolist()
            expected = area * (0.5 + 0.1 * scale) ** 2 * unit**2
            # The boundary's pixels may fall either way: about one per pixel of perimeter.
            assert picture.sum().item() == pytest.approx(expected, abs=2 * np.sqrt(expected))
            assert across == pytest.approx(unit * (16 + 32 * x / 31), abs=0.3)
            assert down == pytest.approx(unit * (16 + 32 * y / 31), abs=0.3)


def test_heart_points_down_and_is_symmetric():
    source = Sprites(256)
    picture = source.rows(source.index(torch.tensor([[2, 5, 0, 0, 0]])))[0, 0]
    widths = picture.sum(1)[picture.sum(1) > 0]
    assert widths[: len(widths) // 2].sum() > 1.5 * widths[len(widths) // 2 :].sum()
    assert torch.equal(picture[:, :64], picture[:, 64:128].flip(1))


def test_orientations_turn_counterclockwise_and_close():
    source = Sprites(128)
    at = source.index(torch.tensor([[2, 5, turn, 0, 0] for turn in (0, 39, 10)]))
    first, last, quarter = source.rows(at)[:, 0]
    assert torch.equal(first, last)
    # A quarter turn counterclockwise brings the tip from below to the right, the mass to the left.
    across = quarter.nonzero()[:, 1].double()
    assert across.mean() < (across.min() + across.max()) / 2 - 1


@pytest.mark.parametrize("bad", [[-1], [737_280]])
def test_rows_out_of_range_are_errors(bad):
    with pytest.raises(IsthmusError, match="rows 0 to 737279"):
        Sprites().rows(torch.tensor(bad))
    with pytest.raises(IsthmusError, match="rows 0 to 737279"):
        Sprites().factors(torch.tensor(bad))


def test_bad_settings_are_errors():
    with pytest.raises(IsthmusError, match="at least 16"):
        Sprites(8)
    with pytest.raises(IsthmusError, match="levels below"):
        Sprites().index(torch.tensor([[3, 0, 0, 0, 0]]))
