"""Contracts that hold for every recipe, in a small size: those of ``isthmus.testing``."""

import pytest

import zoo
from isthmus.testing import recipe_checks


@pytest.mark.parametrize(
    "check", [check for name in zoo.NAMES for check in recipe_checks(name)], ids=str
)
def test_contract(check):
    check()
