"""Rows that a store holds already: more text adds to it, and nothing in it is there twice."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus.activations.feed_factory import RowFeed, TokenFeed
from isthmus.activations.provenance import Provenance
from isthmus.activations.shards import mapped
from isthmus.activations.store import TOKEN_FILES
from isthmus.language.padding import packed

HASHES = "hash.npy"
"""A hash of each row of a source, int64."""

_AT_ONCE = 1024
Held = list[tuple[Tensor, Tensor]]
"""Packed token numbers and masks of the runs that are there."""


def leave_out_stored(
    feed: TokenFeed | RowFeed, folder: Path, facts: Provenance, before: int
) -> tuple[int, int]:
    """Let a feed keep nothing that the first ``before`` runs of a store hold.

    Returns how many tokens are left out, and in how many rows they are. A row is the same where its
    tokens are; with a causal model also its beginning, where one of both was cut short by a limit.
    """
    if isinstance(feed, RowFeed):
        hashes = [_hashes(folder, facts, run) for run in range(before) if facts.runs[run].hashes]
        stored = np.isin(row_hashes(feed), np.concatenate(hashes)) if hashes else np.zeros(0, bool)
        if not stored.any():
            return 0, 0
        return feed.exclude(torch.from_numpy(stored), "stored"), int(stored.sum())
    token_rows = [_tokens(folder, facts, run) for run in range(before)]
    ids, visible, order = packed(feed.tokens.ids, feed.tokens.mask)
    digests = {digest for one in token_rows for digest in _digests(*one)}
    stored_rows = torch.tensor([digest in digests for digest in _digests(ids, visible)])
    repeats = visible & stored_rows[:, None]
    if feed.host.causal:
        repeats |= visible & _begun(ids, visible, token_rows)
    places = torch.zeros_like(feed.tokens.mask).scatter(1, order, repeats)
    if not bool((places & feed.keep).any()):
        return 0, 0
    rows = int((places & feed.keep).any(1).sum())
    return feed.exclude(places, "stored"), rows


def row_hashes(feed: RowFeed) -> np.ndarray:
    """A hash of each row of a source, int64 ``(rows,)``."""
    hashes = np.empty(len(feed.source), np.int64)
    for start in range(0, len(hashes), _AT_ONCE):
        index = torch.arange(start, min(start + _AT_ONCE, len(hashes)))
        rows = feed.source.rows(index)
        parts = list(rows.values()) if isinstance(rows, dict) else [rows]
        plain = [part.cpu().contiguous().numpy() for part in parts]
        for i in range(len(index)):
            digest = hashlib.blake2b(digest_size=8)
            for part in plain:
                digest.update(part[i].tobytes())
            hashes[start + i] = int.from_bytes(digest.digest(), "little", signed=True)
    return hashes


def _hashes(folder: Path, facts: Provenance, number: int) -> np.ndarray:
    run = facts.runs[number]
    path = folder / run.hashes / HASHES
    remedy = f"delete {folder} and harvest again"
    return mapped(path, run.checksums[HASHES], torch.int64, remedy).numpy()


def _tokens(folder: Path, facts: Provenance, number: int) -> tuple[Tensor, Tensor]:
    run = facts.runs[number]
    remedy = f"delete {folder} and harvest again"
    ids, mask = (
        mapped(folder / run.folder / name, run.checksums[name], kind, remedy)
        for name, kind in zip(TOKEN_FILES[:2], (torch.int32, torch.bool), strict=True)
    )
    plain, visible, _ = packed(ids.to(torch.int64), mask)
    return plain, visible


def _digests(ids: Tensor, visible: Tensor) -> Iterator[bytes]:
    """A hash of the tokens of each packed row."""
    lengths = visible.sum(1).tolist()
    plain = ids.to(torch.int32).contiguous().numpy()
    for row, length in zip(plain, lengths, strict=True):
        yield hashlib.blake2b(row[:length].tobytes(), digest_size=16).digest()


def _begun(ids: Tensor, visible: Tensor, token_rows: Held) -> Tensor:
    """Tokens at the beginning of a row that a stored row begins with, bool as ``visible``.

    Only the last row of a run can be one that was cut short.
    """
    repeats = torch.zeros_like(visible)
    for other, mask in token_rows:
        length = int(mask[-1].sum())
        if 0 < length <= ids.shape[1]:
            same = (ids[:, :length] == other[-1, :length]).all(1) & visible[:, length - 1]
            repeats[same, :length] = True
        last_length = int(visible[-1].sum())
        if 0 < last_length <= other.shape[1]:
            longer = (other[:, :last_length] == ids[-1, :last_length]).all(1) & mask[
                :, last_length - 1
            ]
            if bool(longer.any()):
                repeats[-1, :last_length] = True
    return repeats
