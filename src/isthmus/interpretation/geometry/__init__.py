"""The geometry of codes: errors, planes, groups and families of latents."""

from isthmus.interpretation.geometry.clusters import direction_clusters, rebuilt_by
from isthmus.interpretation.geometry.errors import ErrorParts, error_decomposition, split_error
from isthmus.interpretation.geometry.families import Family, feature_families
from isthmus.interpretation.geometry.irreducible import (
    Irreducibility,
    irreducibility,
    mixture,
    separability,
)
from isthmus.interpretation.geometry.pursuit import gradient_pursuit

__all__ = [
    "ErrorParts",
    "Family",
    "Irreducibility",
    "direction_clusters",
    "error_decomposition",
    "feature_families",
    "gradient_pursuit",
    "irreducibility",
    "mixture",
    "rebuilt_by",
    "separability",
    "split_error",
]
