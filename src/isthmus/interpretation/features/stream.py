"""Activations in a stream, and which text (or image, or row) each of them belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.activations.feed_factory import TextFeed
from isthmus.anatomy import Code, Source, Tree, tree
from isthmus.anatomy.splitmix import STEP, finished_array
from isthmus.language import LanguageModel, Tokens

ROWS = 8192
"""Rows of a source that are read at once."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the activations, ``(n, *shape)`` or several points' by name, in the order of their
    rows and places.

    ``row``, ``place`` and ``document`` int64 ``(n,)`` say where each lies; ``token`` its token
    number, None where there is no text. A row lies in one block as a whole.
    """

    activations: Tree
    row: np.ndarray
    place: np.ndarray
    document: np.ndarray
    token: np.ndarray | None = None


def text_blocks(
    model: LanguageModel,
    point: str,
    tokens: Tokens,
    *,
    skip_special: bool = True,
    batch: int = 32,
) -> Iterator[Block]:
    """The activations of a text at one point; the forward pass ends there.

    Those of padding are left out, and those of special tokens unless ``skip_special`` is False.
    """
    feed = TextFeed(model, tokens, point, skip_special=skip_special)
    for rows in torch.arange(len(tokens)).split(batch):
        harvest = feed.run(rows)
        row, place = harvest.row, harvest.place
        yield Block(
            harvest.values[feed.points[0]],
            row.numpy(),
            place.numpy(),
            tokens.document[row].numpy(),
            tokens.ids[row, place].numpy(),
        )


def source_blocks(source: Source, *, batch: int = ROWS) -> Iterator[Block]:
    """The rows of any source, in its order; whole rows of text, where ``where`` tells them.

    Where ``where(index)`` says nothing (see :meth:`isthmus.activations.Store.where`) each row is an
    example of its own, place 0 of its own document.
    """
    where = source.where if source.where(torch.arange(1)) is not None else None
    rest: Block | None = None
    for index in torch.arange(len(source)).split(batch):
        block = _block(source, index, where)
        if rest is not None:
            block = _joined(rest, block)
        # The last row may go on in the next batch.
        end = int(np.flatnonzero(block.row != block.row[-1])[-1]) + 1 if _several(block) else 0
        rest = _part(block, slice(end, None))
        if end:
            yield _sorted(_part(block, slice(0, end)))
    if rest is not None:
        yield _sorted(rest)


def _block(source: Source, index: Tensor, where: Any) -> Block:
    row = index.numpy()
    if where is None:
        return Block(source.rows(index), row, np.zeros_like(row), row)
    at = {name: values.numpy() for name, values in where(index).items()}
    token = None if (at["token"] < 0).any() else at["token"]
    return Block(source.rows(index), at["row"], at["place"], at["document"], token)


def _several(block: Block) -> bool:
    return bool((block.row != block.row[-1]).any())


def _joined(a: Block, b: Block) -> Block:
    token = None
    if a.token is not None and b.token is not None:
        token = np.concatenate((a.token, b.token))
    return Block(
        tree.joined((a.activations, b.activations)),
        np.concatenate((a.row, b.row)),
        np.concatenate((a.place, b.place)),
        np.concatenate((a.document, b.document)),
        token,
    )


def _part(block: Block, part: slice | np.ndarray) -> Block:
    rows = torch.from_numpy(part) if isinstance(part, np.ndarray) else part
    token = None if block.token is None else block.token[part]
    activations = tree.mapped(lambda x: x[rows], block.activations)
    return Block(activations, block.row[part], block.place[part], block.document[part], token)


def _sorted(block: Block) -> Block:
    """In the order of rows and places, whatever the source's."""
    order = np.lexsort((block.place, block.row))
    ordered = bool((order[1:] > order[:-1]).all())
    return block if ordered else _part(block, order)


def active(code: Code) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token, latent and value of what is shown as active, by token, each ``(entries,)``.

    Of a sparse code what is not zero, of a dense one what is positive; entries of a codebook have
    the value one.
    """
    token, latent, value = code.active()
    if not code.is_sparse:
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


def mixed(*parts: np.ndarray | int) -> np.ndarray:
    """A uint64 for each element that looks random: SplitMix64, chained."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        numbers = np.atleast_1d(np.asarray(part)).astype(np.int64).view(np.uint64)
        state = finished_array((state ^ numbers) + np.uint64(STEP))
    return state


def split_of(row: np.ndarray, seed: int) -> np.ndarray:
    """0 for rows that an explainer may see, 1 for rows to score it on; int8, half of each."""
    return (mixed(seed, 1, row) >> np.uint64(63)).astype(np.int8)
