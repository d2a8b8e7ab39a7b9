"""Pictures of a model: what it rebuilds, what it samples, what its latents do, how it was fitted.

Every function returns a :class:`Picture`: a notebook shows it, ``picture.save("x.png")`` writes
it, and ``picture.figure()`` is matplotlib's own. Matplotlib is the extra ``viz``.
"""

from isthmus.pictures.plotting import plot, portrait
from isthmus.pictures.reconstructing import reconstructions
from isthmus.pictures.sampling import samples
from isthmus.pictures.sheet import Panel, Picture
from isthmus.pictures.traversal import traverse

__all__ = ["Panel", "Picture", "plot", "portrait", "reconstructions", "samples", "traverse"]
