"""Token rows, and which of their tokens are kept: what all feeds of a language model share."""

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from isthmus.activations.feed import Kept, class_name
from isthmus.errors import IsthmusError
from isthmus.language import Tokens
from isthmus.language.host import Tokenizer


class Host(Protocol):
    """What a feed has to know of a language model, wherever its weights are."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def context(self) -> int: ...
    @property
    def causal(self) -> bool: ...
    @property
    def dtype(self) -> str: ...
    @property
    def opened(self) -> str: ...


class TokenFeed:
    """Token rows of which padding is left out, and with ``skip_special`` tokens that are no text.

    ``model`` is what runs them, for provenance.
    """

    model: Any
    points: tuple[str, ...]
    widths: dict[str, int]
    axes: dict[str, int]

    def __init__(self, host: Host, tokens: Tokens, skip_special: bool = True) -> None:
        self.host, self.tokens = host, tokens
        self.keep = tokens.mask.clone()
        special = 0
        if skip_special and host.tokenizer.special:
            listed = torch.tensor(sorted(host.tokenizer.special))
            for start in range(0, len(self.keep), 4096):  # isin needs several times the memory
                part = slice(start, start + 4096)
                specials = self.keep[part] & torch.isin(tokens.ids[part], listed)
                special += int(specials.sum())
                self.keep[part] &= ~specials
        self.counts = self.keep.sum(1)
        self.left_out = {"special": special, "padding": int((~tokens.mask).sum())}
        if int(self.counts.sum()) == 0:
            raise IsthmusError("the text has no tokens to take activations at: pass another text")
        self.places = int(tokens.ids.shape[1])

    def exclude(self, places: Tensor, reason: str) -> int:
        """Keep no activations at ``places``, bool ``(rows, places)``; how many these were."""
        number = int((self.keep & places).sum())
        self.keep &= ~places
        self.counts = self.keep.sum(1)
        self.left_out[reason] = self.left_out.get(reason, 0) + number
        return number

    def settle(self, batches: Iterable[Tensor]) -> None:
        """All is found out before the first batch."""

    def run(self, rows: Tensor) -> Kept:
        """One pass over the rows ``rows``, int64."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        tokenizer = self.host.tokenizer
        about: dict[str, Any] = {
            "kind": "language",
            "name": self.host.name,
            "revision": self.host.revision,
            "class": class_name(self.model),
            "tokenizer": {
                "class": class_name(tokenizer),
                "vocabulary": tokenizer.vocabulary,
                "bos": tokenizer.bos,
                "special": sorted(tokenizer.special),
            },
        }
        if self.host.opened:
            about["opened"] = self.host.opened
        if self.host.dtype != "float32":
            about["dtype"] = self.host.dtype
        return about

    def fingerprint(self) -> str:
        return tokens_fingerprint(self.tokens)


def tokens_fingerprint(tokens: Tokens) -> str:
    """A hash of token numbers, mask and documents."""
    digest = hashlib.sha256(repr(tuple(tokens.ids.shape)).encode())
    for part in (tokens.ids, tokens.mask, tokens.document, tokens.start):
        digest.update(part.cpu().contiguous().numpy().data)
    digest.update("\0".join(tokens.names).encode())
    return digest.hexdigest()
