"""Activations of any model: taken at chosen points, kept on disk, read as training data."""

from isthmus.activations import spec
from isthmus.activations.harvest import harvest, text_tokens
from isthmus.activations.hooks import Activations
from isthmus.activations.modules import open_module
from isthmus.activations.origin import Origin
from isthmus.activations.store import Store, StoreSource
from isthmus.activations.streamed import Streamed

__all__ = [
    "Activations",
    "Origin",
    "Store",
    "StoreSource",
    "Streamed",
    "harvest",
    "open_module",
    "spec",
    "text_tokens",
]
