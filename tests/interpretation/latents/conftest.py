"""Maps of the directions take most of the time, and one file alone looks at them."""

import pytest

from isthmus.interpretation.latents import layout


@pytest.fixture(autouse=True, scope="module")
def _rough_maps(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name != "test_directions.py":
            patch.setattr(layout, "EARLY", 2)
            patch.setattr(layout, "LATE", 2)
        yield
