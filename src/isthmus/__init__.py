"""Isthmus: every autoencoder from the same few parts.

>>> import isthmus
>>> model = isthmus.fit("topk", X, latent_dim=256, k=16, seed=0)
>>> codes = model.encode(X)
>>> isthmus.evaluate(model, X)
"""

from typing import TYPE_CHECKING, Any

from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    import isthmus.data as data
    import isthmus.estimators as estimators
    import isthmus.evaluation as evaluation
    import isthmus.pages as pages
    import isthmus.recipes as recipes
    from isthmus.anatomy import Autoencoder, Signal
    from isthmus.comparison import compare
    from isthmus.pages import report
    from isthmus.recipes import list_recipes
    from isthmus.reproduction import reproduce
    from isthmus.runs import evaluate, fit, fit_many, load, resume, resume_many, save

_FROM = {
    "fit": "isthmus.runs",
    "load": "isthmus.runs",
    "save": "isthmus.runs",
    "resume": "isthmus.runs",
    "fit_many": "isthmus.runs",
    "resume_many": "isthmus.runs",
    "evaluate": "isthmus.runs",
    "list_recipes": "isthmus.recipes",
    "compare": "isthmus.comparison",
    "report": "isthmus.pages",
    "reproduce": "isthmus.reproduction",
    "Autoencoder": "isthmus.anatomy",
    "Signal": "isthmus.anatomy",
}
_MODULES = (
    "activations", "anatomy", "data", "estimators", "evaluation", "pages", "recipes", "studies",
    "testing", "training",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name on first use: ``import isthmus`` stays quick."""
    import random
    from importlib import import_module

    # A package that is imported on the way draws from Python's generator, which is the user's.
    state = random.getstate()
    try:
        return _loaded(name, import_module)
    finally:
        random.setstate(state)


def _loaded(name: str, import_module: Any) -> Any:
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    if name == "data":
        import_module("isthmus.activations")  # lets it open lm: and store:
    if name in _MODULES:
        return import_module(f"isthmus.{name}")
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")


__all__ = [
    "Autoencoder", "IsthmusError", "Signal", "compare", "data", "estimators", "evaluate",
    "evaluation", "fit", "fit_many", "list_recipes", "load", "pages", "recipes", "report",
    "reproduce", "resume", "resume_many", "save",
]  # fmt: skip
