"""Answers known in advance that take longer than the fast tests allow."""

import pytest
from benchmarks.recovery import RECIPES, SETTINGS, recover

EASY = next(iter(SETTINGS.values()))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_dictionaries_recover_planted_directions(recipe):
    """At least 90 % of 512 directions in 64 dimensions (cosine above 0.9) where it is easy."""
    assert recover(recipe, EASY)["recovered"] >= 0.9
