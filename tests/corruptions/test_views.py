import pytest
import torch
from torch import nn

from isthmus import corruptions
from isthmus.anatomy import View
from isthmus.corruptions import (
    Binarise,
    BlockMask,
    CausalMask,
    Compose,
    GaussianBlur,
    GaussianNoise,
    HorizontalFlip,
    Jitter,
    MaskingNoise,
    Mixup,
    RandomErasing,
    RandomPatchMask,
    RandomResizedCrop,
    RandomShift,
    SaltAndPepper,
    TwoViews,
)
from isthmus.errors import IsthmusError

EVERY = [
    Binarise(),
    BlockMask(9),
    CausalMask(9, (0.1, 0.9)),
    Compose(RandomShift(1), GaussianNoise(0.1)),
    GaussianBlur(1.0),
    GaussianNoise(0.5),
    HorizontalFlip(),
    Jitter(),
    MaskingNoise(0.5),
    Mixup(0.5),
    RandomErasing(1.0),
    RandomPatchMask(9),
    RandomResizedCrop(),
    RandomShift(2),
    SaltAndPepper(0.5),
    TwoViews(GaussianNoise(0.5), MaskingNoise(0.5)),
]


class Plus(nn.Module):
    def __init__(self, by: float, factor: float = 1.0) -> None:
        super().__init__()
        self.by, self.factor = by, factor

    def forward(self, x: torch.Tensor) -> View:
        return View(x * self.factor + self.by)


def views(corrupt: nn.Module, x: torch.Tensor) -> list[View]:
    result = corrupt(x)
    return result if isinstance(result, list) else [result]


def test_every_corruption_is_listed_here():
    listed = {n: getattr(corruptions, n) for n in corruptions.__all__}
    public = {n for n, c in listed.items() if isinstance(c, type) and issubclass(c, nn.Module)}
    assert public == {type(c).__name__ for c in EVERY}


@pytest.mark.parametrize("corrupt", EVERY, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("training", [True, False])
def test_the_batch_stays_as_it_was_and_the_view_keeps_its_form(corrupt, training):
    torch.manual_seed(0)
    x = torch.rand(5, 2, 12, 12)
    before = x.clone()
    for view in views(corrupt.train(training), x):
        assert view.x.shape == x.shape
        assert view.x.dtype == x.dtype
        assert view.visible is not None or not torch.equal(view.x, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("corrupt", EVERY, ids=lambda c: type(c).__name__)
def test_the_global_seed_alone_decides(corrupt):
    x = torch.rand(5, 2, 12, 12)
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        runs.append([*views(corrupt, x), *views(corrupt, x)])
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first.x, second.x)
        assert (first.visible is None) == (second.visible is None)
        if first.visible is not None:
            assert torch.equal(first.visible, second.visible)


def test_corruptions_hold_nothing_that_a_checkpoint_would_store():
    assert [type(c).__name__ for c in EVERY if c.state_dict()] == []


def test_compose_goes_from_left_to_right():
    x = torch.rand(3, 4)
    torch.testing.assert_close(Compose(Plus(1.0), Plus(0.0, 10.0))(x).x, 10 * (x + 1))
    assert Compose()(x).x is x


def test_compose_keeps_the_last_mask():
    x = torch.rand(3, 4)
    view = Compose(CausalMask(8, 0.5), Plus(1.0), CausalMask(8, 0.75), Plus(1.0))(x)
    assert view.visible.tolist() == [[0, 1]] * 3
    torch.testing.assert_close(view.x, x + 2)


def test_compose_takes_single_views_only():
    with pytest.raises(IsthmusError, match="TwoViews inside Compose"):
        Compose(TwoViews(Plus(1.0)))(torch.rand(2, 2))


def test_two_views_are_drawn_independently():
    torch.manual_seed(0)
    first, second = TwoViews(GaussianNoise(1.0))(torch.zeros(200, 50))
    correlation = torch.corrcoef(torch.stack((first.x.flatten(), second.x.flatten())))[0, 1]
    assert abs(correlation.item()) < 0.05


def test_the_second_view_may_have_its_own_augmentation():
    first, second = TwoViews(Plus(1.0), Plus(2.0))(torch.zeros(2, 2))
    assert torch.equal(first.x + 1.0, second.x)
