"""What makes it an autoencoder: modules ``(h, sample=False) -> Code``."""

from isthmus.bottlenecks.gaussian import GaussianBottleneck, StandardNormal
from isthmus.bottlenecks.identity import Identity
from isthmus.bottlenecks.jumprelu import JumpReLUBottleneck
from isthmus.bottlenecks.sparse import (
    Dictionary,
    DictionaryEncoder,
    FiringCounter,
    geometric_median,
)
from isthmus.bottlenecks.topk import BatchTopK, TopK

__all__ = [
    "BatchTopK", "Dictionary", "DictionaryEncoder", "FiringCounter", "GaussianBottleneck",
    "Identity", "JumpReLUBottleneck", "StandardNormal", "TopK", "geometric_median",
]  # fmt: skip
