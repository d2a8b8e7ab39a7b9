"""Small language models of characters: one of a text, and one tuned to another from there."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.language import Decoder, Shape, documents
from isthmus.studies.trial import Trial

NAME = "tinyshakespeare"
WIDTH, LAYERS, HEADS, CONTEXT = 64, 3, 4, 64
BATCH, RATE, TUNED_RATE = 32, 4e-3, 2e-3
HELD = 0.1
"""Share of the text, at its end, that is held out."""


@dataclass(frozen=True)
class Text:
    """A text as numbers of its characters, and how many characters there are."""

    seen: Tensor
    held: Tensor
    vocabulary: int

    def rows(self, count: int, rng: np.random.Generator, *, held: bool = False) -> Tensor:
        """``count`` pieces of 64 characters from anywhere, int64."""
        text = self.held if held else self.seen
        begin = torch.from_numpy(rng.integers(0, len(text) - CONTEXT, count))
        return text[begin[:, None] + torch.arange(CONTEXT)]

    @property
    def backwards(self) -> "Text":
        """The same text read from its end."""
        return Text(self.seen.flip(0), self.held.flip(0), self.vocabulary)


def shakespeare() -> Text:
    """The text of the set ``tinyshakespeare``."""
    text = "\n".join(document.text for document in documents(NAME))
    known = sorted(set(text))
    numbers = {character: number for number, character in enumerate(known)}
    ids = torch.tensor([numbers[character] for character in text])
    seen, held = ids.split([len(ids) - int(HELD * len(ids)), int(HELD * len(ids))])
    return Text(seen, held, len(known))


def character_model(text: Text, trial: Trial, steps: int, begin: Decoder | None = None) -> Decoder:
    """A model of a text, trained for ``steps`` at full budget; ``begin`` is tuned in a copy."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        fresh = Decoder(Shape(text.vocabulary, WIDTH, HEADS, LAYERS, CONTEXT, 4 * WIDTH))
    model = fresh if begin is None else copy.deepcopy(begin).requires_grad_(True)
    rate, total = RATE if begin is None else TUNED_RATE, trial.steps(steps)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=total)
    rng = np.random.default_rng([trial.seed, begin is not None])
    for _ in range(total):
        loss = next_loss(model(rows := text.rows(BATCH, rng)), rows)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def next_loss(logits: Tensor, rows: Tensor) -> Tensor:
    """Cross-entropy of the next character, in nats."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def perplexity(model: torch.nn.Module, rows: Tensor) -> float:
    """Perplexity of the next character of rows."""
    losses = [next_loss(model(part), part) * len(part) for part in rows.split(128)]
    return float((torch.stack(losses).sum() / len(rows)).exp())
