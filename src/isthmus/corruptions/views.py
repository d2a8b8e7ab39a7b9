"""Several views of one batch, and corruptions one after another."""

from torch import Tensor, nn

from isthmus.anatomy import Signal, View
from isthmus.corruptions.image_changes import RandomErasing, RandomResizedCrop
from isthmus.corruptions.noise import GaussianNoise, MaskingNoise
from isthmus.errors import IsthmusError
from isthmus.shapes import Float


class Compose(nn.Module):
    """Corruptions one after another, each on what the one before returned.

    The visible patches are those of the last mask among them, the target that of the last one
    that redraws the data.
    """

    def __init__(self, *corruptions: nn.Module) -> None:
        super().__init__()
        self.corruptions = nn.ModuleList(corruptions)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        view = View(x)
        for corruption in self.corruptions:
            following = corruption(view.x)
            if not isinstance(following, View):
                raise IsthmusError(
                    f"{type(corruption).__name__} inside Compose returns several views: put it "
                    "outside, as in TwoViews(Compose(...))"
                )
            visible = view.visible if following.visible is None else following.visible
            target = view.target if following.target is None else following.target
            view = View(following.x, visible, target)
        return view


class TwoViews(nn.Module):
    """Two views of each row: the augmentation drawn twice, or it and ``other``.

    Two different ones are from Grill et al. (2020). Any corruption serves: those of images, or
    noise for vectors.
    """

    def __init__(self, augmentation: nn.Module, other: nn.Module | None = None) -> None:
        super().__init__()
        self.first = augmentation
        self.second = augmentation if other is None else other

    def forward(self, x: Float[Tensor, "rows *shape"]) -> list[View]:
        return [self.first(x), self.second(x)]


def two_views(signal: Signal, crop: float, noise: float, erase: float) -> TwoViews:
    """Two views of each row, drawn alike.

    Images are cropped, noised and erased in part, which any image allows; everything else gets
    Gaussian noise and masked elements.
    """
    if signal.kind == "image":
        return TwoViews(
            Compose(
                RandomResizedCrop(scale=(crop, 1.0)), GaussianNoise(noise), RandomErasing(erase)
            )
        )
    return TwoViews(Compose(GaussianNoise(noise), MaskingNoise(erase)))
