"""The active latents of a block of tokens, latent by latent."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isthmus.anatomy import Code, SparseCode
from isthmus.interpretation.latents.blocks import Block
from isthmus.interpretation.latents.randomness import mixed


def active(code: Code) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token, latent and value of what is shown as active, by token, each ``(entries,)``.

    Of a sparse code what is not zero, of a dense one what is positive; entries of a codebook have
    the value one.
    """
    token, latent, value = code.active()
    if not isinstance(code, SparseCode):
        on = value > 0
        token, latent, value = token[on], latent[on], value[on]
    return token.cpu().numpy(), latent.cpu().numpy(), value.float().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Entries:
    """What is active in a block, ordered by latent and then by token.

    ``latent``, ``token`` int64 and ``value`` float32 are ``(entries,)``; ``token`` counts within
    the ``block``.
    """

    block: Block
    latent: np.ndarray
    token: np.ndarray
    value: np.ndarray

    @classmethod
    def of(
        cls, block: Block, token: np.ndarray, latent: np.ndarray, value: np.ndarray
    ) -> "Entries":
        """Entries in any order, put in order."""
        order = np.argsort(latent * np.int64(max(1, len(block.row))) + token)
        return cls(block, latent[order], token[order], value[order])

    @cached_property
    def strength(self) -> np.ndarray:
        """Absolute values, ``(entries,)``: a dictionary may be signed."""
        return np.abs(self.value)

    @cached_property
    def first(self) -> np.ndarray:
        """Where the entries of each active latent begin."""
        return starts(self.latent)

    @cached_property
    def by_token(self) -> np.ndarray:
        """The numbers of the entries in the order of tokens, and of latents within a token."""
        latents = int(self.latent[-1]) + 1 if len(self.latent) else 1
        # Keys are distinct, so that the quick sort, which is not stable, serves.
        order: np.ndarray = np.argsort(self.token * latents + self.latent)
        return order

    def hashes(self, seed: int) -> np.ndarray:
        """A random uint64 for each entry, whatever the blocks: ``(entries,)``."""
        row, place = self.block.row, self.block.place
        return mixed(seed, row[self.token], place[self.token], self.latent)


def starts(key: np.ndarray) -> np.ndarray:
    """Where runs of equal numbers begin in an ordered array."""
    if len(key) == 0:
        return np.zeros(0, np.int64)
    return np.concatenate(([0], np.flatnonzero(key[1:] != key[:-1]) + 1))


def ranks(key: np.ndarray) -> np.ndarray:
    """The number of each element within its run of equal numbers, in an ordered array."""
    first = starts(key)
    lengths = np.diff(np.append(first, len(key)))
    return np.arange(len(key)) - np.repeat(first, lengths)
