"""Data by a spec with a scheme, ``lm:...``: packages that stand above register theirs here."""

from collections.abc import Callable
from importlib import import_module

from isthmus.anatomy import Source

Opener = Callable[[str], Source]
"""Opens what stands behind the colon."""

_OPENERS: dict[str, Opener] = {}
_PACKAGES = {"lm": "isthmus.activations", "store": "isthmus.activations"}
"""Packages that register a scheme when they are imported: when the first such spec is opened."""


def register(scheme: str, opener: Opener) -> None:
    """Let :func:`isthmus.data.as_source` open ``scheme:rest`` by ``opener(rest)``."""
    _OPENERS[scheme] = opener


def schemes() -> list[str]:
    """The schemes there are."""
    return sorted({*_OPENERS, *_PACKAGES})


def has_scheme(text: object) -> bool:
    """Whether the text begins with a registered scheme."""
    return isinstance(text, str) and text.partition(":")[0] in schemes() and ":" in text


def open_spec(text: str) -> Source:
    """The source that a text with a registered scheme means."""
    scheme, _, rest = text.partition(":")
    if scheme not in _OPENERS:
        import_module(_PACKAGES[scheme])
    return _OPENERS[scheme](rest)
