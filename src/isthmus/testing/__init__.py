"""Contracts that every recipe and every bottleneck keeps, as checks for one's own.

They raise ``AssertionError`` with a sentence that says which contract broke and what to do, and
need no test runner: ``check_recipe(mine)``. With pytest each check can be a test of its own::

    @pytest.mark.parametrize("check", recipe_checks(mine), ids=str)
    def test_contract(check):
        check()
"""

from isthmus.testing.bottlenecks import bottleneck_checks, check_bottleneck
from isthmus.testing.checks import Check
from isthmus.testing.recipes import check_recipe, recipe_checks

__all__ = ["Check", "bottleneck_checks", "check_bottleneck", "check_recipe", "recipe_checks"]
