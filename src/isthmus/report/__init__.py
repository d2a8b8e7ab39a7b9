"""Showing what a model does: pictures."""

from isthmus.report.pictures import latent_directions, picture

__all__ = ["latent_directions", "picture"]
