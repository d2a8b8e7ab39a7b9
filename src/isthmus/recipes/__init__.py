"""One page per published system. A page composes parts; it holds what only it uses."""

import sys
import warnings
from types import ModuleType

from isthmus.recipes.registry import (
    Recipe,
    RecipeLike,
    as_recipe,
    broken_recipes,
    get_recipe,
    list_recipes,
    option_table,
    recipe,
    recipes,
)

__all__ = [
    "Recipe", "RecipeLike", "as_recipe", "broken_recipes", "get_recipe", "list_recipes",
    "option_table", "recipe", "recipes",
]  # fmt: skip


class _Callable(ModuleType):
    """``isthmus.recipes`` was a function for those who had not imported the package."""

    def __call__(self, word: str | None = None) -> dict[str, Recipe]:
        warnings.warn(
            "isthmus.recipes() is now isthmus.list_recipes()", DeprecationWarning, stacklevel=2
        )
        return list_recipes(word)


sys.modules[__name__].__class__ = _Callable
