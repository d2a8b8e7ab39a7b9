"""What happens to the input first: modules from a batch to a ``View``, or a list of them.

They draw from the global torch generator only, so that a seeded run repeats exactly; they never
change the batch in place; and they are active at every call: the autoencoder decides when.
"""

from isthmus.corruptions.blur import GaussianBlur
from isthmus.corruptions.image_changes import (
    HorizontalFlip,
    Jitter,
    RandomErasing,
    RandomResizedCrop,
    RandomShift,
)
from isthmus.corruptions.mixing import Mixup
from isthmus.corruptions.noise import Binarise, GaussianNoise, MaskingNoise, SaltAndPepper
from isthmus.corruptions.patch_masks import BlockMask, CausalMask, Grid, RandomPatchMask
from isthmus.corruptions.views import Compose, TwoViews, two_views

__all__ = [
    "Binarise", "BlockMask", "CausalMask", "Compose", "GaussianBlur", "GaussianNoise", "Grid",
    "HorizontalFlip", "Jitter", "MaskingNoise", "Mixup", "RandomErasing", "RandomPatchMask",
    "RandomResizedCrop", "RandomShift", "SaltAndPepper", "TwoViews",
    "two_views",
]  # fmt: skip
