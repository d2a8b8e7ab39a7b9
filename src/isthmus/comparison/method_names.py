"""Names for what is compared, and what an own recipe is made of."""

import hashlib
import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.notices import say
from isthmus.recipes import Recipe, RecipeLike, as_recipe


def named(
    recipes: Sequence[RecipeLike] | Mapping[str, RecipeLike] | RecipeLike,
    baselines: Collection[str],
) -> dict[str, Recipe]:
    """Each recipe by the name that it has in the comparison.

    That is its own name, or where another one or a baseline has it too ``package.module:function``.
    A recipe of this library that is a baseline already is left to it, which is said.
    Raises :class:`IsthmusError` for two of one name, and for an autoencoder that was trained
    already.
    """
    if isinstance(recipes, Mapping):
        pairs = [(name, as_recipe(one)) for name, one in recipes.items()]
    elif isinstance(recipes, Sequence) and not isinstance(recipes, str):
        entries = [as_recipe(one) for one in recipes]
        pairs = [(_name(one, entries, baselines), one) for one in entries]
    else:
        return named([recipes], baselines)
    by_name: dict[str, Recipe] = {}
    for name, recipe in pairs:
        if recipe.builtin and recipe.name == name and name in baselines:
            say(f"{name} is a baseline of every comparison: the recipe is not fitted beside it")
            continue
        reserved = name in baselines or (name == "plain" and not recipe.builtin)
        if reserved or (name in by_name and by_name[name] is not recipe):
            other = "a baseline is" if reserved else "two recipes are"
            raise IsthmusError(f"{other} called {name!r}: pass a mapping with names of your choice")
        if recipe.model is not None and recipe.model.history:
            raise IsthmusError(
                f"the autoencoder {name} has been trained: pass it as it was before, or the "
                "function that builds it"
            )
        by_name[name] = recipe
    return by_name


def _name(recipe: Recipe, others: Sequence[Recipe], baselines: Collection[str]) -> str:
    """A built-in recipe keeps its name; "plain" in particular is what a baseline builds on."""
    clash = recipe.name in baselines or recipe.name == "plain"
    alike = any(one.name == recipe.name and one is not recipe for one in others)
    external = not recipe.builtin and recipe.source
    return recipe.source if external and (clash or alike) else recipe.name


def fingerprint(recipe: Recipe) -> str:
    """A hash of what an own recipe is made of, so that fits of another one are not taken for its.

    Of a function its module's text and its defaults, of an autoencoder its parts and weights; empty
    for a recipe of this library.
    """
    if recipe.builtin:
        return ""
    digest = hashlib.sha256(recipe.source.encode())
    if recipe.model is not None:
        digest.update(f"{recipe.model}{recipe.model.objective.describe()}".encode())
        for name, tensor in sorted(recipe.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    else:
        digest.update(_text(recipe.build_function))
        digest.update(repr(sorted(recipe.defaults.items())).encode())
    return digest.hexdigest()[:20]


def _text(function: Any) -> bytes:
    try:
        return Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):  # typed in, or no function
        code = getattr(function, "__code__", None)
        return b"" if code is None else bytes(code.co_code) + repr(code.co_consts).encode()
