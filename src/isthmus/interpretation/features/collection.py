"""All that is learnt of the latents in one pass over the activations."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Tree, evaluating, tree
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded
from isthmus.interpretation.features.examples import Examples, RandomWindows, Span
from isthmus.interpretation.features.neighbours import Joint
from isthmus.interpretation.features.statistics import FiringStatistics, TokenMass
from isthmus.interpretation.features.stream import Block, Entries, active
from isthmus.training.progress import ProgressBar, Show


@dataclass(frozen=True)
class Settings:
    """Numbers of what is kept; memory grows with them.

    top
        Strongest examples of a latent.
    each
        Most examples of every decile of its activations.
    before, after
        Tokens shown around an example.
    listed
        Tokens, neighbours and logits that are listed.
    windows
        Random windows that are kept with all that fires in them.
    seed
        Of every random choice.
    """

    top: int = 16
    each: int = 5
    before: int = 15
    after: int = 8
    listed: int = 10
    windows: int = 1536
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("top", "each", "listed", "windows"):
            if getattr(self, name) < 1:
                raise IsthmusError(f"{name} = {getattr(self, name)} keeps nothing: pass 1 or more")
        if self.before < 0 or self.after < 0:
            raise IsthmusError("a window cannot show fewer than no tokens: pass 0 or more")

    @property
    def span(self) -> Span:
        return Span(self.before, self.after)


class Collected:
    """What is known of ``latents`` latents; see the parts. Memory does not grow with the text."""

    def __init__(self, latents: int, vocabulary: int, settings: Settings) -> None:
        seed, span = settings.seed, settings.span
        self.statistics = FiringStatistics(latents)
        self.examples = Examples(
            latents, top=settings.top, each=settings.each, span=span, seed=seed
        )
        self.mass = TokenMass(latents, vocabulary)
        self.joint = Joint(latents, seed)
        self.windows = RandomWindows(settings.windows, span, seed)

    def update(self, entries: Entries) -> None:
        """Take one block into account."""
        for part in (self.statistics, self.examples, self.mass, self.joint, self.windows):
            part.update(entries)

    @property
    def latents(self) -> int:
        return len(self.statistics.count)


def collect(
    blocks: Iterable[Block],
    autoencoder: Autoencoder,
    vocabulary: int,
    settings: Settings,
    *,
    total: int,
    progress: Show = "auto",
) -> Collected:
    """Encode a stream of ``total`` activations and learn what fires where."""
    collected: Collected | None = None
    done = 0
    with evaluating(autoencoder), _bar(total, progress) as bar:
        for block in blocks:
            if len(block.row) == 0:
                continue
            entries, latents = encoded(autoencoder, block)
            if collected is None:
                collected = Collected(latents, vocabulary, settings)
            collected.update(entries)
            done += len(block.row)
            if bar.due:
                bar.draw(done, done, "")
        bar.draw(total, done, "")
    if collected is None:
        raise IsthmusError("there are no activations: pass text with ordinary tokens")
    return collected


def encoded(autoencoder: Autoencoder, block: Block) -> tuple[Entries, int]:
    """What is active in a block, and the number of latents."""
    parts, latents = [], 0
    if not all(bool(torch.isfinite(x).all()) for _, x in tree.leaves(block.activations)):
        raise IsthmusError("the activations contain NaN or infinity: leave those rows out")
    for start, x in _pieces(block.activations, len(block.row)):
        code = coded(autoencoder, x)
        latents = code.width
        token, latent, value = active(code)
        parts.append((token + start, latent, value))
    token, latent, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Entries.of(block, token, latent, value), latents


def _pieces(x: Tree, rows: int) -> Iterable[tuple[int, Tree]]:
    flat = tree.mapped(lambda part: part.flatten(1), x)
    for start in range(0, rows, ENCODE_BATCH):
        yield start, tree.sliced(flat, start, start + ENCODE_BATCH)


def _bar(total: int, progress: Show) -> ProgressBar:
    return ProgressBar("features", total, "tokens", progress)
