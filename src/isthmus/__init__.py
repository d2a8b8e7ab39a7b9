"""Isthmus: every autoencoder from the same few parts.

>>> import isthmus
>>> model = isthmus.fit("topk", X, latent_dim=256, k=16, seed=0)
>>> codes = model.encode(X)
>>> isthmus.evaluate(model, X)
>>> isthmus.report("run")  # of fit(..., out="run")

Every package is an attribute, imported when it is first named: ``isthmus.interpretation``.
"""

from typing import TYPE_CHECKING

from isthmus import threads
from isthmus.errors import IsthmusError

threads.settle()  # before anything imports PyTorch

if TYPE_CHECKING:
    from isthmus import activations as activations
    from isthmus import anatomy as anatomy
    from isthmus import bottlenecks as bottlenecks
    from isthmus import cli as cli
    from isthmus import comparison as comparison
    from isthmus import corruptions as corruptions
    from isthmus import data as data
    from isthmus import demo as demo
    from isthmus import dictionary_benchmark as dictionary_benchmark
    from isthmus import errors as errors
    from isthmus import estimators as estimators
    from isthmus import evaluation as evaluation
    from isthmus import formats as formats
    from isthmus import interpretation as interpretation
    from isthmus import kernels as kernels
    from isthmus import language as language
    from isthmus import likelihoods as likelihoods
    from isthmus import networks as networks
    from isthmus import notices as notices
    from isthmus import objectives as objectives
    from isthmus import pages as pages
    from isthmus import pictures as pictures
    from isthmus import ranks as ranks
    from isthmus import recipes as recipes
    from isthmus import reproduction as reproduction
    from isthmus import roofline as roofline
    from isthmus import runs as runs
    from isthmus import shapes as shapes
    from isthmus import spelling as spelling
    from isthmus import storage as storage
    from isthmus import studies as studies
    from isthmus import tables as tables
    from isthmus import testing as testing
    from isthmus import threads as threads
    from isthmus import training as training
    from isthmus import workers as workers
    from isthmus.anatomy import Autoencoder, Signal
    from isthmus.comparison import compare
    from isthmus.formats import from_pretrained
    from isthmus.pages import report
    from isthmus.recipes import list_recipes
    from isthmus.reproduction import reproduce
    from isthmus.runs import encode, evaluate, fit, fit_many, load, resume, resume_many, save

__all__ = [
    "Autoencoder", "IsthmusError", "Signal", "compare", "data", "encode", "evaluate", "fit",
    "fit_many", "from_pretrained", "list_recipes", "load", "recipes", "report", "reproduce",
    "resume", "resume_many", "save",
]  # fmt: skip

_HOMES = {
    "Autoencoder": "anatomy",
    "Signal": "anatomy",
    "compare": "comparison",
    "encode": "runs",
    "evaluate": "runs",
    "fit": "runs",
    "fit_many": "runs",
    "from_pretrained": "formats",
    "list_recipes": "recipes",
    "load": "runs",
    "report": "pages",
    "reproduce": "reproduction",
    "resume": "runs",
    "resume_many": "runs",
    "save": "runs",
}
"""Where what is no package is defined."""


def _packages() -> list[str]:
    """The packages and modules of this one, as they lie on disk."""
    import pkgutil

    names = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in names if not name.startswith("_") and name not in _HOMES]


def __getattr__(name: str) -> object:
    """Load a public name on first use: ``import isthmus`` stays quick."""
    import random
    from importlib import import_module

    if name not in _HOMES and (name.startswith("_") or name not in _packages()):
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    # A package that is imported on the way draws from Python's generator, which is the user's.
    state = random.getstate()
    try:
        module = import_module(f"isthmus.{_HOMES.get(name, name)}")
    finally:
        random.setstate(state)
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_packages()})
