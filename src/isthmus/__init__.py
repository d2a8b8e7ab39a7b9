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
    from isthmus.anatomy import Autoencoder, Signal
    from isthmus.api import evaluate, fit, load, resume, save
    from isthmus.many import fit_many, resume_many
    from isthmus.recipes import recipes
    from isthmus.reproduction import reproduce

_FROM = {
    "fit": "isthmus.api",
    "load": "isthmus.api",
    "save": "isthmus.api",
    "resume": "isthmus.api",
    "fit_many": "isthmus.many",
    "resume_many": "isthmus.many",
    "evaluate": "isthmus.api",
    "recipes": "isthmus.recipes",
    "reproduce": "isthmus.reproduction",
    "Autoencoder": "isthmus.anatomy",
    "Signal": "isthmus.anatomy",
}
_MODULES = ("activations", "data", "estimators", "evaluation", "anatomy", "studies", "training")


def __getattr__(name: str) -> Any:
    """Load a public name on first use: ``import isthmus`` stays quick."""
    from importlib import import_module

    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    if name == "data":
        import_module("isthmus.activations")  # lets it open lm: and store:
    if name in _MODULES:
        return import_module(f"isthmus.{name}")
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")


__all__ = [
    "Autoencoder", "IsthmusError", "Signal", "data", "estimators", "evaluate", "evaluation",
    "fit", "fit_many", "load", "recipes", "reproduce", "resume", "resume_many",
    "save",
]  # fmt: skip
