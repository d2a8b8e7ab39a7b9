"""Maps of the directions take most of the time, and nothing here looks at them."""

import pytest

from isthmus.evaluation import tsne


@pytest.fixture(autouse=True, scope="module")
def _rough_maps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsne, "EARLY", 2)
        patch.setattr(tsne, "LATE", 2)
        patch.setattr(tsne, "SCALING", 2)
        yield
