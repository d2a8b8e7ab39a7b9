"""Showing what a model does: the page of a run, and pictures."""

from isthmus.report.page import report
from isthmus.report.pictures import latent_directions, picture

__all__ = ["latent_directions", "picture", "report"]
