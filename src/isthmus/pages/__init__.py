"""Pages that show what a model does.

:func:`report` writes the page of a run, :mod:`isthmus.pages.kit` is what every page is made of,
:mod:`isthmus.pages.interesting` says which latents come first, and :func:`traversed` decodes along
a latent.
"""

from isthmus.pages.run_page import report
from isthmus.pages.traversals import traversed

__all__ = ["report", "traversed"]
