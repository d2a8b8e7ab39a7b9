"""What makes it an autoencoder: modules ``(h, sample=False) -> Code``."""

from isthmus.bottlenecks.batchtopk import BatchTopK
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.bottlenecks.gated import Gated
from isthmus.bottlenecks.gaussian import GaussianBottleneck, StandardNormal
from isthmus.bottlenecks.group_maximum import GroupMax
from isthmus.bottlenecks.identity import Identity
from isthmus.bottlenecks.jumprelu import JumpReLUBottleneck
from isthmus.bottlenecks.matching_pursuit import MatchingPursuit, matching_pursuit
from isthmus.bottlenecks.mixture import GaussianMixturePrior
from isthmus.bottlenecks.nearest_atom import NearestAtom
from isthmus.bottlenecks.projection import Projection
from isthmus.bottlenecks.proximal_gradient import PricedCode, priced_codes
from isthmus.bottlenecks.relu import ReLU
from isthmus.bottlenecks.resampling import Resampling
from isthmus.bottlenecks.topk import TopK
from isthmus.bottlenecks.topk_threshold import ThresholdTopK
from isthmus.bottlenecks.vector_quantiser import VectorQuantiser

__all__ = [
    "BatchTopK", "FiringCounter", "Gated", "GaussianBottleneck", "GaussianMixturePrior", "GroupMax",
    "Identity", "JumpReLUBottleneck", "MatchingPursuit", "NearestAtom", "PricedCode", "Projection",
    "ReLU", "Resampling", "StandardNormal", "ThresholdTopK", "TopK", "VectorQuantiser",
    "matching_pursuit", "priced_codes",
]  # fmt: skip
