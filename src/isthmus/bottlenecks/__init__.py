"""What makes it an autoencoder: modules ``(h, sample=False) -> Code``."""

from isthmus.bottlenecks.gaussian import GaussianBottleneck, StandardNormal
from isthmus.bottlenecks.identity import Identity
from isthmus.bottlenecks.sparse import (
    Dictionary,
    DictionaryEncoder,
    FiringCounter,
    geometric_median,
)

__all__ = [
    "Dictionary", "DictionaryEncoder", "FiringCounter", "GaussianBottleneck", "Identity",
    "StandardNormal", "geometric_median",
]  # fmt: skip
