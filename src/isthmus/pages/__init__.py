"""Showing what a model does: the page of a run, and pictures."""

from isthmus.pages.pictures import latent_directions, picture
from isthmus.pages.run_page import report

__all__ = ["latent_directions", "picture", "report"]
