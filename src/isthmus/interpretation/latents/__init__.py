"""Features: what each latent of a dictionary fires on, does, and stands beside."""

from isthmus.interpretation.latents.reading import Example, Features, read_features
from isthmus.interpretation.latents.run import features, source_features
from isthmus.interpretation.latents.settings import Settings

__all__ = ["Example", "Features", "Settings", "features", "read_features", "source_features"]
