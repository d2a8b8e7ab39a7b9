"""A text with its name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A text and what to call it."""

    name: str
    text: str
