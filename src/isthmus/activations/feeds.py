"""What is pushed through a model for its activations: tokens of a text, or rows of a source."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from isthmus.activations.hooks import Activations
from isthmus.activations.points import Side
from isthmus.anatomy import Source
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens
from isthmus.language.fingerprint import fingerprint


@dataclass(eq=False)
class Kept:
    """The activations of a few rows of input, token by token, in the order of rows and places.

    ``values`` are ``(tokens, width)`` for each point, on the CPU, in the model's dtype. ``row`` and
    ``place`` int64 ``(tokens,)`` say where each token stands.
    """

    values: dict[str, Tensor]
    row: Tensor
    place: Tensor


class Feed(Protocol):
    """Rows of input and the model they go through.

    ``counts`` int64 ``(rows,)`` is how many tokens are kept of each row, and ``left_out`` how many
    are not, by reason. ``widths`` are the points' widths, and ``places`` the most tokens of a row.
    """

    model: nn.Module
    points: tuple[str, ...]
    widths: dict[str, int]
    counts: Tensor
    left_out: dict[str, int]
    places: int

    def run(self, rows: Tensor) -> Kept:
        """One forward pass over the rows ``rows``, int64."""
        ...

    def about(self) -> dict[str, Any]:
        """The model, for provenance."""
        ...

    def fingerprint(self) -> str:
        """A hash of the input, not of the model."""
        ...


class TextFeed:
    """Token rows through a language model.

    Padding is left out, and with ``skip_special`` also the tokens that stand for no text: the
    activations at a beginning-of-sequence token have norms far beyond all others. At every point
    the model must give ``(rows, places, width)``.
    """

    def __init__(
        self,
        host: LanguageModel,
        tokens: Tokens,
        at: str | Sequence[str],
        side: Side = "output",
        skip_special: bool = True,
    ) -> None:
        self.host, self.tokens, self.model = host, tokens, host.module
        self.acts = Activations(host.module, at, side)
        self.points = self.acts.points
        self.keep = tokens.mask.clone()
        special = 0
        if skip_special and host.tokenizer.special:
            listed = torch.tensor(sorted(host.tokenizer.special))
            for start in range(0, len(self.keep), 4096):  # isin needs several times the memory
                part = slice(start, start + 4096)
                taken = self.keep[part] & torch.isin(tokens.ids[part], listed)
                special += int(taken.sum())
                self.keep[part] &= ~taken
        self.counts = self.keep.sum(1)
        self.left_out = {"special": special, "padding": int((~tokens.mask).sum())}
        if int(self.counts.sum()) == 0:
            raise IsthmusError("the text has no tokens to take activations at: pass another text")
        self.places = int(tokens.ids.shape[1])
        first = int(self.counts.argmax())
        probe = tokens.ids[first : first + 1, : min(2, self.places)]
        with evaluating(self.model):
            held = self.acts(probe.to(device_of(self.model)), attention_mask=None)
        self.widths = {p: _by_place(p, t, *probe.shape).shape[2] for p, t in held.items()}

    def run(self, rows: Tensor) -> Kept:
        mask, keep = self.tokens.mask[rows], self.keep[rows]
        # What is padding in all of the rows is not computed.
        long = int(mask.any(0).nonzero().max()) + 1 if bool(mask.any()) else 1
        mask, keep = mask[:, :long], keep[:, :long].contiguous()
        device = device_of(self.model)
        ids = self.tokens.ids[rows, :long].to(device)
        # A mask of nothing but ones would cost attention its fastest path.
        seen = None if bool(mask.all()) else mask.to(device)
        with evaluating(self.model):
            held = self.acts(ids, attention_mask=seen)
        chosen = keep.flatten().nonzero().flatten()
        values = {}
        for point, tensor in held.items():
            flat = _by_place(point, tensor, *ids.shape).flatten(0, 1)
            values[point] = flat.index_select(0, chosen.to(flat.device)).cpu()
        number = torch.div(chosen, long, rounding_mode="floor")
        return Kept(values, rows[number], chosen - number * long)

    def about(self) -> dict[str, Any]:
        tokenizer = self.host.tokenizer
        return {
            "kind": "language",
            "name": self.host.name,
            "revision": self.host.revision,
            "class": _class_name(self.model),
            "tokenizer": {
                "class": _class_name(tokenizer),
                "vocabulary": tokenizer.vocabulary,
                "bos": tokenizer.bos,
                "special": sorted(tokenizer.special),
            },
        }

    def fingerprint(self) -> str:
        return tokens_fingerprint(self.tokens)


class RowFeed:
    """Rows of a source, images say, through any module.

    ``(rows, width)`` is one token a row, ``(rows, places, width)`` as many as there are places, and
    a map of features ``(rows, channels, height, width)`` one for each of its pixels, row by row,
    with a width of ``channels``. All points need the same number of tokens a row.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        at: str | Sequence[str],
        side: Side = "output",
        name: str | None = None,
    ) -> None:
        self.model, self.source, self.name = model, source, name
        self.acts = Activations(model, at, side)
        self.points = self.acts.points
        held = self._forward(torch.zeros(1, dtype=torch.int64))
        places = {point: value.shape[1] for point, value in held.items()}
        if len(set(places.values())) > 1:
            (one, n), (other, m) = next(
                (a, b) for a in places.items() for b in places.items() if a[1] != b[1]
            )
            raise IsthmusError(
                f"{one!r} has {n} tokens a row and {other!r} has {m}: take their activations "
                "separately"
            )
        self.places = next(iter(places.values()))
        self.widths = {point: value.shape[2] for point, value in held.items()}
        self.counts = torch.full((len(source),), self.places)
        self.left_out: dict[str, int] = {}

    def _forward(self, rows: Tensor) -> dict[str, Tensor]:
        x = self.source.rows(rows).to(device_of(self.model))
        with evaluating(self.model):
            held = self.acts(x)
        return {point: _by_row(point, tensor, len(rows)) for point, tensor in held.items()}

    def run(self, rows: Tensor) -> Kept:
        held = self._forward(rows)
        values = {point: value.flatten(0, 1).cpu() for point, value in held.items()}
        row = rows.repeat_interleave(self.places)
        return Kept(values, row, torch.arange(self.places).repeat(len(rows)))

    def about(self) -> dict[str, Any]:
        return {
            "kind": "module",
            "name": self.name or _class_name(self.model),
            "revision": fingerprint(self.model),
            "class": _class_name(self.model),
        }

    def fingerprint(self) -> str:
        own = self.source.fingerprint()
        digest = hashlib.sha256(repr((len(self.source), self.source.signal.to_dict())).encode())
        if own is not None:
            digest.update(own.encode())
        else:
            spread = torch.arange(0, len(self.source), max(1, len(self.source) // 1024))
            digest.update(self.source.rows(spread).cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def make_feed(
    model: LanguageModel | nn.Module,
    data: Tokens | Source,
    at: str | Sequence[str],
    side: Side = "output",
    skip_special: bool = True,
    name: str | None = None,
) -> TextFeed | RowFeed:
    """The feed of tokens for a language model, of rows for any other module."""
    if isinstance(model, LanguageModel):
        if not isinstance(data, Tokens):
            raise IsthmusError(
                f"a language model reads tokens, and the data are of type {type(data).__name__}: "
                "pass isthmus.language.pack(documents, model.tokenizer)"
            )
        return TextFeed(model, data, at, side, skip_special)
    if not isinstance(data, Source):
        raise IsthmusError(
            f"a plain module reads rows, and the data are of type {type(data).__name__}: pass "
            "isthmus.data.as_source(data), or the module as a LanguageModel"
        )
    return RowFeed(model, data, at, side, name)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, each module's own mode restored after."""
    modes = [(module, module.training) for module in model.modules() if module.training]
    if modes:
        model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the module's parameters (or, without any, its buffers) are."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def tokens_fingerprint(tokens: Tokens) -> str:
    """A hash of token numbers, mask and documents."""
    digest = hashlib.sha256(repr(tuple(tokens.ids.shape)).encode())
    for part in (tokens.ids, tokens.mask, tokens.document, tokens.start):
        digest.update(part.cpu().contiguous().numpy().data)
    digest.update("\0".join(tokens.names).encode())
    return digest.hexdigest()


def _by_place(point: str, tensor: Tensor, rows: int, places: int) -> Tensor:
    """As ``(rows, places, width)``; experts and routers see the two first axes as one."""
    shape = tuple(tensor.shape)
    if len(shape) == 3 and shape[:2] == (rows, places):
        return tensor
    if len(shape) == 2 and shape[0] == rows * places:
        return tensor.reshape(rows, places, -1)
    raise IsthmusError(
        f"{point!r} gives the shape {shape} for {rows} rows of {places} tokens, where "
        f"({rows}, {places}, width) is needed: name a module that works token by token"
    )


def _by_row(point: str, tensor: Tensor, rows: int) -> Tensor:
    """As ``(rows, places, width)``, see :class:`RowFeed`."""
    if tensor.ndim and len(tensor) == rows:
        if tensor.ndim == 2:
            return tensor[:, None]
        if tensor.ndim == 3:
            return tensor
        if tensor.ndim == 4:
            return tensor.flatten(2).transpose(1, 2)
    raise IsthmusError(
        f"{point!r} gives the shape {tuple(tensor.shape)} for {rows} rows, where (rows, width), "
        "(rows, places, width) or (rows, channels, height, width) is needed: name another module"
    )


def _class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
