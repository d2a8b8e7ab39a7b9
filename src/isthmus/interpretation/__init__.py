"""Looking into a model through a dictionary: what is kept of it, features, labels and steering."""

from isthmus.interpretation._losses import Losses
from isthmus.interpretation._where import Places
from isthmus.interpretation.behaviour import Batch, behaviour, losses, losses_on
from isthmus.interpretation.latents import (
    Example,
    Features,
    Settings,
    features,
    read_features,
    source_features,
)
from isthmus.interpretation.splice import Edit, Splice, spliced
from isthmus.interpretation.steering import Steering, steered_generate

__all__ = [
    "Batch",
    "Edit",
    "Example",
    "Features",
    "Losses",
    "Places",
    "Settings",
    "Splice",
    "Steering",
    "behaviour",
    "features",
    "losses",
    "losses_on",
    "read_features",
    "source_features",
    "spliced",
    "steered_generate",
]
