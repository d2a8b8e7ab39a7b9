"""Does a language model have what a study looks for? Checks that come before any dictionary.

Induction by head, circles in what stands for days and months, and what a linear probe reads layer
by layer: where these fail, a dictionary that finds nothing says nothing about dictionaries.
"""

from isthmus.interpretation.controls.circles import Circle, circle
from isthmus.interpretation.controls.induction import (
    copy_losses,
    head_attention,
    repeated_tokens,
)
from isthmus.interpretation.controls.probes import Read, read_out, states

__all__ = [
    "Circle", "Read", "circle", "copy_losses", "head_attention", "read_out", "repeated_tokens",
    "states",
]  # fmt: skip
