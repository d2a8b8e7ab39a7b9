"""All that is learnt of the latents in one pass over the activations."""

from collections.abc import Iterable

import numpy as np
import torch

from isthmus.activations.feed_factory import evaluating
from isthmus.anatomy import Autoencoder, Tree, tree
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.interpretation._codes import coded
from isthmus.interpretation.latents.blocks import Block
from isthmus.interpretation.latents.entries import Entries, active
from isthmus.interpretation.latents.examples import Examples
from isthmus.interpretation.latents.firing import FiringStatistics
from isthmus.interpretation.latents.joint import Joint
from isthmus.interpretation.latents.mass import TokenMass
from isthmus.interpretation.latents.settings import Settings
from isthmus.interpretation.latents.silence import RandomWindows
from isthmus.training.progress import ProgressBar, Show


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
    found: Collected | None = None
    done = 0
    with evaluating(autoencoder), torch.no_grad(), _bar(total, progress) as bar:
        for block in blocks:
            if len(block.row) == 0:
                continue
            entries, latents = encoded(autoencoder, block)
            if found is None:
                found = Collected(latents, vocabulary, settings)
            found.update(entries)
            done += len(block.row)
            if bar.due:
                bar.draw(done, done, "")
        bar.draw(total, done, "")
    if found is None:
        raise IsthmusError("there are no activations: pass text with ordinary tokens")
    return found


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
