from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isthmus.anatomy import Signal
from isthmus.corruptions import BlockMask, CausalMask, RandomPatchMask
from isthmus.errors import IsthmusError
from isthmus.networks import Patches


def grid(*shape: int) -> SimpleNamespace:
    return SimpleNamespace(grid=shape)


def hidden(visible: torch.Tensor, count: int) -> torch.Tensor:
    """Which patches are hidden, ``(rows, count)``; checks the form of ``visible`` on the way."""
    assert visible.dtype == torch.int64
    assert bool((visible.diff(dim=1) > 0).all())
    assert bool(((visible >= 0) & (visible < count)).all())
    return torch.ones(len(visible), count, dtype=torch.bool).scatter(1, visible, False)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 60), ratio=st.floats(0, 0.999), rows=st.integers(1, 5))
def test_random_masks_keep_exactly_their_share(count, ratio, rows):
    x = torch.randn(rows, 3)
    view = RandomPatchMask(count, ratio)(x)
    assert view.x is x
    assert view.visible.shape == (rows, max(1, round(count * (1 - ratio))))
    assert hidden(view.visible, count).sum() == rows * (count - view.visible.shape[1])


def test_random_masks_hide_every_patch_equally_often_and_rows_differ():
    torch.manual_seed(0)
    view = RandomPatchMask(16)(torch.randn(8000, 1))
    gone = hidden(view.visible, 16)
    assert stats.chisquare(gone.sum(0).numpy()).pvalue > 1e-3
    both = (gone[:, 0] & gone[:, 1]).float().mean().item()
    assert both == pytest.approx(12 / 16 * 11 / 15, abs=0.025)


def test_masks_read_the_grid_of_patches():
    patches = Patches(Signal("image", (1, 8, 12)), 4)
    x = torch.randn(3, 1, 8, 12)
    assert RandomPatchMask(patches, 0.5)(x).visible.shape == (3, 3)
    assert CausalMask(patches, 0.5)(x).visible.tolist() == [[0, 1, 2]] * 3
    assert hidden(BlockMask(patches, 0.3)(x).visible, 6).any(1).all()


@settings(max_examples=60, deadline=None)
@given(tall=st.integers(1, 9), wide=st.integers(1, 9), ratio=st.floats(0, 0.99))
def test_blocks_are_solid_rectangles_and_leave_something(tall, wide, ratio):
    if tall * wide == 1:
        return
    view = BlockMask(grid(tall, wide), ratio)(torch.randn(4, 1))
    gone = hidden(view.visible, tall * wide).reshape(4, tall, wide)
    areas = gone.sum((1, 2))
    assert 0 < areas[0] < tall * wide
    assert bool((areas == areas[0]).all())
    spans = [gone.any(axis).sum(1) for axis in (1, 2)]
    assert torch.equal(spans[0] * spans[1], areas)
    for axis in (1, 2):
        edges = gone.any(axis).int().diff(dim=1)
        assert bool((edges.abs().sum(1) <= 2).all())
        assert bool(((edges == 1).sum(1) <= 1).all())


def test_blocks_have_about_their_share_and_their_aspect():
    torch.manual_seed(0)
    mask = BlockMask(grid(40, 40), 0.25, (0.5, 2.0))
    shapes = []
    for _ in range(200):
        gone = hidden(mask(torch.randn(1, 1)).visible, 1600).reshape(40, 40)
        shapes.append((int(gone.any(1).sum()), int(gone.any(0).sum())))
    areas = [h * w / 1600 for h, w in shapes]
    assert sum(areas) / 200 == pytest.approx(0.25, abs=0.01)
    aspects = sorted(h / w for h, w in shapes)
    assert 0.45 < aspects[0] < 0.6
    assert 1.7 < aspects[-1] < 2.2
    assert aspects[100] == pytest.approx(1.0, abs=0.15)


def test_blocks_lie_everywhere_equally_often():
    torch.manual_seed(0)
    view = BlockMask(10, 0.3)(torch.randn(8000, 1))
    starts = hidden(view.visible, 10).int().argmax(1).bincount(minlength=8)
    assert starts.shape == (8,)
    assert stats.chisquare(starts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 8), (0.5, 4), (0.9, 1), (0.999, 1)])
def test_causal_masks_keep_the_beginning(ratio, kept):
    view = CausalMask(8, ratio)(torch.randn(2, 1))
    assert view.visible.tolist() == [list(range(kept))] * 2


def test_a_range_of_causal_masks_is_used_up():
    torch.manual_seed(0)
    mask = CausalMask(10, (0.2, 0.6))
    kept = {mask(torch.randn(1, 1)).visible.shape[1] for _ in range(100)}
    assert kept == {4, 5, 6, 7, 8}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomPatchMask(10, 1.0), "ratio=1.0 must be a share: at least 0 and below 1"),
        (lambda: RandomPatchMask(0), "patches=0"),
        (lambda: BlockMask(1), "at least 2 patches"),
        (lambda: BlockMask(4, aspect=(2.0, 1.0)), r"aspect=\(2.0, 1.0\) must be a range"),
        (lambda: CausalMask(4, (0.5, 0.2)), "does not fall"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(IsthmusError, match=message):
        make()
