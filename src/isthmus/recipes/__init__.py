"""One page per published system. A page composes parts; it holds what only it uses."""

from isthmus.recipes.registry import Recipe, get_recipe, option_table, recipe, recipes

__all__ = ["Recipe", "get_recipe", "option_table", "recipe", "recipes"]
