"""What may be cut by latents is what has been shown to be the same on several ranks."""

import pytest

import zoo
from isthmus.errors import IsthmusError
from isthmus.training.sharding import check_shardable, unshardable
from ranks.kinds import KINDS


def test_no_recipe_is_cut_that_was_not_compared_with_one_rank():
    compared = {recipe for recipe, _ in KINDS.values()}
    cut = {name for name in zoo.NAMES if unshardable(zoo.build(name)[0]) is None}
    assert cut == compared


@pytest.mark.parametrize("name", ["mp-sae", "gba", "vae"])
def test_what_looks_at_all_latents_at_once_is_refused(name):
    with pytest.raises(IsthmusError, match="cannot be cut by latents, since"):
        check_shardable(zoo.build(name)[0], 2)
