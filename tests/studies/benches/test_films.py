"""Films, who watched them, and their genres."""

import numpy as np
import pytest

from isthmus import data
from isthmus.studies.benches.films import LEAST, NEEDS, films


@pytest.mark.skipif(not all(map(data.is_name, NEEDS)), reason=f"needs {NEEDS}")
def test_films_are_numbered_from_one_and_have_genres():
    found = films()
    assert len(found.sequences) == 706
    watched = np.concatenate(found.sequences)
    counts = np.bincount(watched, minlength=len(found.genres))
    assert counts[0] == 0
    assert counts[1:].min() >= LEAST
    assert not found.genres[0].any()
    assert found.genres[1:].any(1).mean() > 0.99
    drama = found.genres[:, found.names.index("Drama")].mean()
    assert 0.3 < drama < 0.6
