"""Data by a spec with a scheme, ``lm:...``: packages that stand above register theirs here."""

from collections.abc import Callable

from isthmus.anatomy import Source

Opener = Callable[[str], Source]
"""Opens what stands behind the colon."""

_OPENERS: dict[str, Opener] = {}


def register(scheme: str, opener: Opener) -> None:
    """Let :func:`isthmus.data.as_source` open ``scheme:rest`` by ``opener(rest)``."""
    _OPENERS[scheme] = opener


def schemes() -> list[str]:
    """The schemes there are."""
    return sorted(_OPENERS)


def has_scheme(text: object) -> bool:
    """Whether the text begins with a registered scheme."""
    return isinstance(text, str) and text.partition(":")[0] in _OPENERS and ":" in text


def open_spec(text: str) -> Source:
    """The source that a text with a registered scheme means."""
    scheme, _, rest = text.partition(":")
    return _OPENERS[scheme](rest)
