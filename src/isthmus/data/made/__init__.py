"""Made data with known truth, drawn from a seed alone."""

from isthmus.data.made.planted import Planted, PlantedSource
from isthmus.data.made.sprites import Sprites

__all__ = ["Planted", "PlantedSource", "Sprites"]
