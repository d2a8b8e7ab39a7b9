"""Features: what each latent of a dictionary fires on, does, and stands beside."""

from isthmus.interpretation.features.collection import Settings
from isthmus.interpretation.features.format import Example, Features, read_features
from isthmus.interpretation.features.pipeline import source_features, text_features

__all__ = ["Example", "Features", "Settings", "read_features", "source_features", "text_features"]
