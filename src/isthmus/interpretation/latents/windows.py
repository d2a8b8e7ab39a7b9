"""What a latent does around one of its activations, kept in 16 bits a token."""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.latents.entries import Entries


@dataclass(frozen=True)
class Span:
    """Tokens shown around a place: so many before it and so many after."""

    before: int
    after: int

    @property
    def length(self) -> int:
        return self.before + 1 + self.after


def windows(entries: Entries, which: np.ndarray, span: Span) -> np.ndarray:
    """The values of a latent around some of its entries, ``(len(which), length)``, as bfloat16.

    The entry itself is in column ``span.before``; places where the latent is silent, and those
    outside the row, are zero. As entries are in the order of latents and tokens, what is near in
    the text is near in the list.
    """
    block = entries.block
    reach = span.before + span.after + 1
    # A gap between rows keeps windows out of the neighbouring row, another that between latents.
    _, row = np.unique(block.row, return_inverse=True)
    row_length = int(block.place.max(initial=0)) + 1 + reach
    line = (row * row_length + block.place)[entries.token]
    key = entries.latent * np.int64((int(row.max(initial=0)) + 1) * row_length + reach) + line
    short = short_floats(entries.value)
    shown = np.zeros((len(which), span.length), np.uint16)
    shown[:, span.before] = short[which]
    for step, most in ((-1, span.before), (1, span.after)):
        left = np.arange(len(which))
        for far in range(1, most + 1):
            other = which[left] + step * far
            inside = (other >= 0) & (other < len(key))
            left, other = left[inside], other[inside]
            apart = key[other] - key[which[left]]
            near = np.abs(apart) <= most
            left, other, apart = left[near], other[near], apart[near]
            if len(left) == 0:
                break
            shown[left, span.before + apart] = short[other]
    return shown


def short_floats(values: np.ndarray) -> np.ndarray:
    """Float32 as bfloat16 in uint16, rounded to the nearest; what is not zero stays so."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (
        (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    ).astype(np.uint16)


def long_floats(short: np.ndarray) -> np.ndarray:
    """What :func:`short_floats` made short, as float32."""
    return (short.astype(np.uint32) << np.uint32(16)).view(np.float32)
