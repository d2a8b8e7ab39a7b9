import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from isthmus.corruptions import (
    HorizontalFlip,
    Jitter,
    RandomErasing,
    RandomResizedCrop,
    RandomShift,
)
from isthmus.errors import IsthmusError


def images(rows: int = 6, shape: tuple[int, ...] = (2, 9, 13)) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.rand(rows, *shape) + 0.5


def test_shifts_move_by_up_to_pad_pixels_and_bring_in_zeros():
    x = images(500)
    y = RandomShift(2)(x).x
    moves = []
    for before, after in zip(x, y, strict=True):
        found = [
            (down, across)
            for down in range(-2, 3)
            for across in range(-2, 3)
            if np.array_equal(
                ndimage.shift(before.numpy(), (0, down, across), order=0, cval=0.0), after
            )
        ]
        assert len(found) == 1
        moves += found
    counts = [moves.count((i, j)) for i in range(-2, 3) for j in range(-2, 3)]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 27, 31), (2, 1, 1), (1, 5, 64)])
def test_a_crop_of_everything_is_the_image(shape):
    x = images(4, shape)
    y = RandomResizedCrop((1.0, 1.0), (0.5, 2.0))(x).x
    torch.testing.assert_close(y, x, rtol=0, atol=1e-5)


def test_crops_cover_the_drawn_share_and_stay_inside():
    """On a linear ramp a crop is a ramp again: its slope is the width, its ends the place."""
    torch.manual_seed(0)
    side, rows = 64, 2000
    centres = (torch.arange(side) + 0.5) / side
    ramp = torch.stack((centres.expand(side, side), centres[:, None].expand(side, side)))
    y = RandomResizedCrop((0.3, 0.6), (0.5, 2.0))(ramp.expand(rows, -1, -1, -1)).x
    across, down = y[:, 0, 32, :], y[:, 1, :, 32]
    inner = slice(8, 56)  # the outermost pixels repeat the border
    width = (across[:, inner][:, -1] - across[:, inner][:, 0]) / 47 * side
    height = (down[:, inner][:, -1] - down[:, inner][:, 0]) / 47 * side
    area, aspect = (width * height).double().numpy(), (width / height).double().numpy()
    assert stats.kstest(area, stats.uniform(0.3, 0.3).cdf).pvalue > 1e-3
    fits = area < 0.5  # there every aspect between 1/2 and 2 fits
    uniform = stats.uniform(-math.log(2), 2 * math.log(2))
    assert stats.kstest(np.log(aspect[fits]), uniform.cdf).pvalue > 1e-3
    for line, size in ((across, width), (down, height)):
        middle = (line[:, 31] + line[:, 32]) / 2
        assert bool((middle - size / 2 > -1e-3).all())
        assert bool((middle + size / 2 < 1 + 1e-3).all())
        place = ((middle - size / 2) / (1 - size))[size < 0.9].double().numpy()
        assert stats.kstest(place, stats.uniform.cdf).pvalue > 1e-3


def test_flips_mirror_left_and_right_with_their_probability():
    x = images(2000)
    y = HorizontalFlip(0.3)(x).x
    same = (y == x).flatten(1).all(1)
    mirrored = (y == torch.from_numpy(x.numpy()[..., ::-1].copy())).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert abs(int(mirrored.sum()) - 600) < 5 * math.sqrt(2000 * 0.3 * 0.7)


def test_erasing_fills_one_rectangle_of_the_drawn_share():
    torch.manual_seed(0)
    x = images(1, (2, 50, 80)).repeat(400, 1, 1, 1)
    y = RandomErasing(0.8, (0.1, 0.3), (0.5, 2.0), fill=-1.0)(x).x
    gone = y == -1.0
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(y[~gone], x[~gone])
    gone = gone[:, 0]
    chosen = gone.flatten(1).any(1)
    assert abs(int(chosen.sum()) - 320) < 5 * math.sqrt(400 * 0.8 * 0.2)
    area = gone[chosen].sum((1, 2))
    tall, wide = gone[chosen].any(2).sum(1), gone[chosen].any(1).sum(1)
    assert torch.equal(area, tall * wide)
    assert (area / 4000).min().item() == pytest.approx(0.1, abs=0.015)
    assert (area / 4000).max().item() == pytest.approx(0.3, abs=0.015)
    assert (area / 4000).mean().item() == pytest.approx(0.2, abs=0.02)
    edges = gone[chosen].any(1).int().diff(dim=1)
    assert bool(((edges == 1).sum(1) <= 1).all())


def test_jitter_is_affine_for_each_image_with_factors_in_their_ranges():
    x = images(300)
    y = Jitter(0.2, 0.5)(x).x
    bright, contrast = [], []
    for before, after in zip(x.double().flatten(1), y.double().flatten(1), strict=True):
        slope, offset = np.polyfit(before, after, 1)
        np.testing.assert_allclose(slope * before + offset, after, atol=1e-5)
        bright.append(float(after.mean() / before.mean()))
        contrast.append(slope / bright[-1])
    assert stats.kstest(bright, stats.uniform(0.8, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(contrast, stats.uniform(0.5, 1.0).cdf).pvalue > 1e-3


ALL = [RandomShift(2), RandomResizedCrop(), HorizontalFlip(), RandomErasing(), Jitter()]


@pytest.mark.parametrize("corrupt", ALL, ids=lambda c: type(c).__name__)
def test_only_images_are_taken(corrupt):
    with pytest.raises(IsthmusError, match=type(corrupt).__name__ + " works on images"):
        corrupt(torch.randn(3, 10))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomShift(-1), "pad=-1.0"),
        (lambda: RandomResizedCrop((0.0, 1.0)), r"scale=\(0.0, 1.0\) .* at most 1"),
        (lambda: RandomResizedCrop((0.5, 1.5)), "scale="),
        (lambda: HorizontalFlip(2.0), "p=2.0"),
        (lambda: RandomErasing(share=(0.3, 0.1)), "share="),
        (lambda: Jitter(brightness=-1.0), "brightness=-1"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(IsthmusError, match=message):
        make()
