"""Take activations and keep them on disk, so that a kill at any moment loses little and doubles
nothing."""

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.activations import formats
from isthmus.activations.appender import Appender, Piece, locked
from isthmus.activations.axes import Axis
from isthmus.activations.duplicates import leave_out_stored
from isthmus.activations.feed_factory import Feed, Kept, RowFeed, TokenFeed, make_feed
from isthmus.activations.merge import merge_if_complete
from isthmus.activations.mirror import Mirror
from isthmus.activations.norms import MaxNorm, checked_norm, medians, within
from isthmus.activations.parts import Part, part_named
from isthmus.activations.points import Side
from isthmus.activations.provenance import FILE, PARTS, HarvestRun
from isthmus.activations.provided_feed import Provider
from isthmus.activations.store import Store
from isthmus.anatomy import Source
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens, documents, pack
from isthmus.notices import say
from isthmus.storage import Remote, is_remote
from isthmus.training.progress import ProgressBar, Show

SHARD_BYTES = 1 << 27
"""Most bytes of a point's file in a shard, where its size is not given."""
CONTEXT = 256
"""Tokens of a row, where nothing is said."""
_QUEUE = 2
"""Batches that may wait to be written."""


def harvest(
    model: LanguageModel | nn.Module | Provider,
    data: Tokens | Source,
    at: str | Sequence[str],
    out: str | Path,
    *,
    side: Side = "output",
    dtype: str = "float16",
    batch: int = 32,
    skip_special: bool = True,
    shard: int | None = None,
    text: str = "",
    name: str | None = None,
    axis: Axis = None,
    max_norm: MaxNorm = "auto",
    part: str | Part | None = None,
    progress: Show = "auto",
) -> Store:
    """Run ``data`` through ``model`` and store its activations at the points ``at`` in ``out``.

    A :class:`~isthmus.activations.provided_feed.Provider` in place of a model gives activations by
    an engine of its own. ``data`` are the :class:`~isthmus.language.tokens.Tokens` for a language
    model, whose padding and (with ``skip_special``) special tokens are left out, or a source of
    rows for any other module (:class:`~isthmus.activations.row_feed.RowFeed` says what is a token
    then). ``batch`` rows go through at once. ``dtype`` is how they are stored: float32, float16,
    bfloat16 or int8 (with a scale for each row of activations, its largest elements apart); what
    the model computes in is its own type. Beside the activation at ``layers.1``,
    ``layers.1:gradient`` is the gradient of the next token's loss with respect to it, at the price
    of a backward pass (:func:`isthmus.activations.gradients.loss_gradients`); it leaves no token
    out for its norm. ``text`` and ``name`` say for provenance what the text
    and the module are. ``axis`` says on which axis of a module's tensors the features lie, for all
    points or by point, where that is not to be found out (:mod:`isthmus.activations.axes`).

    Tokens whose norm at any point is more than ``max_norm`` times the median there (of the first
    batch) are left out: attention sinks, of which a dictionary learns nothing and which spoil all
    else. By default that is 10 for language models; None keeps all. It is said how many they were.

    A folder that holds a store already is added to: with the same data it goes on where it was
    stopped or killed, and does nothing where all is there; other data come behind, without the rows
    that the store holds already. Another model, other points or another format are an
    :class:`IsthmusError`. What is lost by a kill is at most
    the last shard of ``shard`` tokens (by default as many as fit into 128 MB, at most 262,144).

    ``part`` is the share of this process where several make one store: ``"3/16"``, or ``"rank"``
    of those that torchrun starts. It is written to a folder in ``out/parts``, and returned as a
    store of its own; the part that ends last puts them together (as
    :func:`isthmus.activations.merge.merge` does), and returns the whole, which is byte for byte
    that of one process.

    ``out`` may be a place in object storage (``s3://bucket/name``, see :mod:`isthmus.storage`): a
    shard is brought there when it is full, and the index after it.

    Beside the tokens, which are given, memory is taken for a few batches only.
    """
    formats.check(dtype)
    if batch < 1 or (shard is not None and shard < 1):
        raise IsthmusError(f"batch={batch} and shard={shard} count rows: use 1 or more")
    norm = checked_norm(max_norm)
    share = part_named(part)
    mirror = Mirror(Remote(str(out))) if is_remote(out) else None
    if mirror is not None and share is not None:
        raise IsthmusError(
            f"parts are put together on a disk, and {out} is none: harvest them to a folder"
        )
    feed = make_feed(model, data, at, side, skip_special, name, axis)
    folder = Path(out) if mirror is None else mirror.folder
    folder = folder if share is None else share.folder(folder)
    if share is not None and (Path(out) / FILE).exists():
        return _merged_before(Path(out), feed)
    if share is None and (folder / PARTS).is_dir() and not (folder / FILE).exists():
        raise IsthmusError(
            f"{folder} is being harvested in parts: name the part, run isthmus store merge "
            f"{folder}, or choose another folder"
        )
    fresh = not folder.exists()
    with _writing_to(folder), locked(folder):
        if mirror is not None:
            mirror.fetch()
        size = shard or shard_tokens(feed, dtype)
        appender = Appender(folder, feed, dtype, skip_special, size, norm, share, batch, mirror)
        fingerprint = feed.fingerprint()
        number = appender.number(fingerprint)
        repeats, rows = _leave_out(appender, feed, number)
        what = text or _described(data)
        if number is None and not int(feed.counts.sum()):
            say(f"all of {what} is in {out} already: nothing was added")
            return Store(folder if mirror is None else out)
        if repeats and number is None:
            say(
                f"{repeats:,} tokens of {what}, in {rows:,} rows, are in {out} already: only "
                "the others are added"
            )
        documents = len(feed.tokens.names) if isinstance(feed, TokenFeed) else len(feed.counts)
        run = HarvestRun(
            what, fingerprint, rows=len(feed.counts), documents=documents,
            tokens=int(feed.counts.sum()), left_out=dict(feed.left_out),
        )  # fmt: skip
        appender.open(run)
        if appender.missing:
            with contextlib.closing(appender):
                _fill(appender, feed, batch, progress)
            _say_norms(appender)
        elif number is not None and not fresh:
            say(f"all of {what} is in {out} already: nothing was added")
    merged = None if share is None else merge_if_complete(Path(out))
    return merged or Store(folder if mirror is None else out)


def _merged_before(folder: Path, feed: Feed) -> Store:
    """The store, where a part of the same data is asked for that went into it long ago."""
    store = Store(folder)
    if feed.fingerprint() not in [run.fingerprint for run in store.provenance.runs]:
        raise IsthmusError(
            f"{folder} holds a store already, and parts make a new one: choose another folder"
        )
    say(f"the parts of {folder} were merged before: nothing was added")
    return store


def _leave_out(
    appender: Appender, feed: TokenFeed | RowFeed, number: int | None
) -> tuple[int, int]:
    """Take out of the feed what the store holds from other runs; how many tokens and rows."""
    before = len(appender.facts.runs) if number is None else number
    if not before:
        return 0, 0
    # What a run leaves out was settled when it began, by a version that may not have looked.
    if number is not None and not appender.facts.runs[number].left_out.get("stored"):
        return 0, 0
    return leave_out_stored(feed, appender.folder, appender.facts, before)


def _say_norms(appender: Appender) -> None:
    dropped, facts = appender.run.left_out.get("norm", 0), appender.facts
    if dropped:
        say(
            f"{dropped:,} of {appender.run.tokens:,} tokens ({dropped / appender.run.tokens:.2g} "
            f"of them) have more than {facts.max_norm:g} times the median norm and are left out "
            "(attention sinks; max_norm= takes another factor, or none to keep all)"
        )


def text_tokens(
    model: LanguageModel, text: str, limit: int | None = None, context: int | None = None
) -> Tokens:
    """The token rows of a text by name (see :func:`isthmus.language.documents`).

    At most ``limit`` tokens; rows of ``context`` tokens, by default 256 or as many as the model
    takes.
    """
    if context is not None and context > model.context:
        raise IsthmusError(
            f"{model.name!r} takes {model.context} tokens at a time: use a context of no more"
        )
    places = context or min(model.context, CONTEXT)
    return pack(documents(text), model.tokenizer, places, limit)


def shard_tokens(feed: Feed, dtype: str) -> int:
    """Tokens of a full shard: a power of two, so that no file is larger than ``SHARD_BYTES``."""
    item = formats.FORMATS[dtype][""].itemsize
    most = SHARD_BYTES // (item * max(feed.widths.values()))
    return 1 << (min(max(most, 1024), 1 << 18).bit_length() - 1)


def batches(counts: Tensor, batch: int, done: int = 0) -> Iterator[tuple[Tensor, int]]:
    """Row numbers of every batch from the token ``done`` on, and how many of its tokens to skip.

    A batch is always the same rows, wherever one begins, so that its activations are, too.
    """
    ends = counts.cumsum(0)
    first = int(torch.searchsorted(ends, done, right=True)) // batch * batch
    before = int(ends[first - 1]) if first else 0
    for start in range(first, len(counts), batch):
        rows = torch.arange(start, min(start + batch, len(counts)))
        if int(counts[rows].sum()) == 0:
            continue
        yield rows, max(0, done - before) if start == first else 0


def _fill(appender: Appender, feed: Feed, batch: int, progress: Show) -> None:
    """Harvest what is missing; a thread of its own writes and computes checksums meanwhile."""
    done, total = appender.done, appender.done + appender.missing
    first = done
    if done:
        _settle(appender, feed, batch, done)
    waiting: deque[Future[None]] = deque()
    with (
        ThreadPoolExecutor(1) as writer,
        ProgressBar("harvest", total, "tokens", progress, done=done) as bar,
    ):
        for rows, skip in batches(feed.counts, batch, done):
            kept = feed.run(rows)
            appender.limit(medians(kept))
            for piece in _pieces(kept, skip, appender):
                while len(waiting) >= _QUEUE:
                    waiting.popleft().result()
                waiting.append(writer.submit(appender.append, piece))
                done += piece.tokens
            if bar.due or done == total:
                bar.draw(done, done - first, ", ".join(feed.points))
            if done == total:
                break
        while waiting:
            waiting.popleft().result()


def _settle(appender: Appender, feed: Feed, batch: int, done: int) -> None:
    """Find out of the first batches what who begins with them finds: all ends on the same bits."""
    feed.settle(rows for rows, _ in batches(feed.counts, batch))
    before = 0
    for rows, _ in batches(feed.counts, batch):
        if appender.facts.max_norm is None or appender.limits or before >= done:
            return
        appender.limit(medians(feed.run(rows)))
        before += int(feed.counts[rows].sum())


def _pieces(kept: Kept, skip: int, appender: Appender) -> Iterator[Piece]:
    """A batch as stored arrays, cut where shards end."""
    begin, total = skip, len(kept.row)
    inside = within(kept, appender.limits)
    while begin < total and appender.room:
        end = min(total, begin + appender.room)
        places = inside[begin:end].nonzero().flatten() + begin
        arrays: dict[str, np.ndarray] = {}
        sums, norms = {}, {}
        for point, values in kept.values.items():
            whole = len(places) == end - begin
            rows = values[begin:end] if whole else values[places]
            stored = formats.encode(rows, appender.dtype, appender.outliers(point))
            if not formats.finite(stored, appender.dtype):
                raise formats.overflow(point, appender.dtype)
            for suffix, array in stored.items():
                arrays[appender.file(point, suffix)] = array
            wide = rows.float()
            # Sums of a batch in float32, of the batches in float64.
            sums[point] = wide.sum(0).double()
            norms[point] = float(torch.linalg.vector_norm(wide, dim=1).sum())
        where = torch.stack([kept.row[places], kept.place[places]], 1).to(torch.int32)
        piece = Piece(end - begin, len(places), arrays, where.numpy(), sums, norms)
        appender.reserve(piece.tokens)
        yield piece
        begin = end


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise IsthmusError(
            f"cannot write to {folder}: {problem.strerror or problem}; free some space or choose "
            "another folder, and harvest again to go on (full shards are kept)"
        ) from problem


def _described(data: object) -> str:
    names: Mapping[int, str] | Sequence[str] | None = getattr(data, "names", None)
    if names:
        first = str(names[0])
        return first if len(names) == 1 else f"{first} and {len(names) - 1} more documents"
    return type(data).__name__
