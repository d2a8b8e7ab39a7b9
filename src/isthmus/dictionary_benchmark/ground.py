"""What all dictionaries of a benchmark share: the host, its texts, and its activations on them.

Activations of a text are harvested once for all points, into a folder that the benchmark keeps
while it runs, and are read from there in pieces.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_array

from isthmus import notices
from isthmus.activations import Store, harvest
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens, default_text, documents, pack
from isthmus.training.progress import Show

T = TypeVar("T")

PIECE = 8192
"""Activations that are looked at together."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is the same for all dictionaries.

    texts
        Of each class of labelled texts.
    context
        Tokens at which a labelled text is cut.
    tokens
        Of running text, for each seed.
    latents
        That are explained in words, of each dictionary.
    text
        Running text, as :func:`isthmus.language.documents` takes it; None for what the host has
        not been trained on, as far as that is known.
    """

    texts: int = 100
    context: int = 64
    tokens: int = 4096
    latents: int = 40
    text: str | None = None
    explainer: str = "rules"
    explainer_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Running:
    """Running text with its activations at one point.

    ``tokens`` are its rows; ``x`` ``(tokens, width)`` the activations of ordinary tokens, of which
    ``document`` ``(tokens,)`` says the document, an index into ``tokens.names``.
    """

    tokens: Tokens
    x: np.ndarray
    document: np.ndarray


class Ground:
    """A host with the points that are examined, and the texts that all tasks draw on.

    ``sets`` are labelled texts. ``progress`` is shown while activations are collected.
    """

    def __init__(
        self,
        host: LanguageModel,
        points: Sequence[str],
        folder: Path,
        settings: BenchmarkSettings,
        sets: Sequence[TextSet],
        progress: Show = False,
    ) -> None:
        self.progress = progress
        self.host, self.points, self.settings = host, tuple(points), settings
        self.folder, self.sets = folder, tuple(sets)
        self._stores: dict[str, Store] = {}
        self._pooled: dict[tuple[str, str], np.ndarray] = {}
        self._running: dict[tuple[str, int], Running] = {}
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` makes, made once: what tasks need of the host for every dictionary."""
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value

    @cached_property
    def text(self) -> str:
        """The name of the running text."""
        if self.settings.text is not None:
            return self.settings.text
        held = default_text()
        circuits = self.host.name == "resident-circuits" and held == "held-out"
        return "circuits-held-out" if circuits else held

    def running(self, point: str, seed: int) -> Running:
        """Running text of ``settings.tokens`` tokens, its documents in an order of the seed's."""
        key = (point, seed)
        if key not in self._running:
            tokens = self.tokens(seed)
            store = self.store(f"running-{seed}", tokens)
            every = torch.arange(len(store))
            if not len(every):
                raise IsthmusError(f"{self.text!r} has no ordinary token: name another text")
            which = store.where(every)["document"].numpy()
            self._running[key] = Running(tokens, store.rows(point, every).numpy(), which)
        return self._running[key]

    def tokens(self, seed: int, times: int = 1) -> Tokens:
        """The rows of the running text of a seed, of so many times ``settings.tokens``."""
        texts = documents(self.text)
        order = np.random.default_rng([seed, 70]).permutation(len(texts))
        context, most = min(self.host.context, 256), times * self.settings.tokens
        tokens = pack([texts[i] for i in order], self.host.tokenizer, context, most)
        count = int(tokens.mask.sum())
        if count < 0.99 * most:
            sentence = f"{self.text!r} has {count:,} tokens, of {most:,} asked for: all are read"
            self.once(sentence, lambda: notices.say(sentence))
        return tokens

    def pooled(self, texts: TextSet, point: str) -> np.ndarray:
        """Mean activation of each text, float64 ``(texts, width)``."""
        key = (texts.name, point)
        if key not in self._pooled:
            total, count = np.zeros((0, 0)), np.zeros(len(texts))
            for x, which in self._pieces(texts, point):
                if not total.size:
                    total = np.zeros((len(texts), x.shape[1]))
                np.add.at(total, which, x.astype(np.float64))
                count += np.bincount(which, minlength=len(texts))
            self._pooled[key] = total / np.maximum(count, 1.0)[:, None]
        return self._pooled[key]

    def pooled_codes(self, examined: Examined, texts: TextSet) -> csr_array:
        """Mean code of each text by a dictionary, float64 ``(texts, latents)``, sparse."""
        if texts.name not in examined.kept:
            total = csr_array((len(texts), examined.latents))
            count = np.zeros(len(texts))
            for x, which in self._pieces(texts, examined.point):
                places = (np.ones(len(which)), (which, np.arange(len(which))))
                summing = csr_array(places, shape=(len(texts), len(which)))
                total = total + summing @ examined.codes(x)
                count += np.bincount(which, minlength=len(texts))
            counts = np.repeat(np.maximum(count, 1.0), np.diff(total.indptr))
            examined.kept[texts.name] = csr_array(
                (total.data / counts, total.indices, total.indptr), shape=total.shape
            )
        return examined.kept[texts.name]

    def _pieces(self, texts: TextSet, point: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Activations of the texts' tokens and which text each is of, in pieces."""
        store = self.store(texts.name, self._packed(texts))
        for start in range(0, len(store), PIECE):
            index = torch.arange(start, min(start + PIECE, len(store)))
            yield store.rows(point, index).numpy(), store.where(index)["document"].numpy()

    def _packed(self, texts: TextSet) -> Tokens:
        """A row for each text, cut at ``settings.context`` tokens."""
        tokenizer = self.host.tokenizer
        context = min(self.settings.context, self.host.context)
        first = [] if tokenizer.bos is None else [tokenizer.bos]
        rows = [[*first, *tokenizer.encode(text)][:context] or [0] for text in texts.texts]
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros(len(rows), longest, dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = True
        names = [f"{texts.name} {i}" for i in range(len(rows))]
        numbers = torch.arange(len(rows))
        return Tokens(ids, mask, numbers, torch.zeros_like(numbers), names)

    def store(self, name: str, tokens: Tokens) -> Store:
        """Activations of ordinary tokens at all points, harvested when first asked for."""
        if name not in self._stores:
            digest = hashlib.sha256(repr((self.host.revision, self.points)).encode())
            for tensor in (tokens.ids, tokens.mask):
                digest.update(tensor.numpy().tobytes())
            place = self.folder / f"{name}-{digest.hexdigest()[:12]}"
            with notices.collected(quiet=True):  # what is kept is the benchmark's own affair
                self._stores[name] = harvest(
                    self.host, tokens, self.points, place, dtype="float32", max_norm=None,
                    progress=self.progress,
                )  # fmt: skip
        return self._stores[name]
