"""What a language model loses when a direction is erased: one behaviour, and everything else."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.activations import Activations
from isthmus.interpretation import spliced
from isthmus.language import LanguageModel, Tokens

Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """A habit of the text: the token ``after`` follows the token ``first``."""

    first: int
    after: int

    def places(self, tokens: Tokens) -> Tensor:
        """Where ``after`` follows ``first``, bool ``(rows, places - 1)``, by the place of first."""
        held = tokens.mask[:, :-1] & tokens.mask[:, 1:]
        return held & (tokens.ids[:, :-1] == self.first) & (tokens.ids[:, 1:] == self.after)


def habits(tokens: Tokens, number: int, share: float = 0.8) -> list[Pair]:
    """The commonest pairs of which the first token is followed by the second almost always.

    ``share`` of its occurrences at least. Pairs of the end of a word and a mark, say, whose first
    token is part of other words as well, are thereby left out.
    """
    held = tokens.mask[:, :-1] & tokens.mask[:, 1:]
    first, after = tokens.ids[:, :-1][held], tokens.ids[:, 1:][held]
    base = int(tokens.ids.max()) + 1
    pairs, count = (first * base + after).unique(return_counts=True)
    total = torch.bincount(first, minlength=base)[pairs // base]
    kept = count >= share * total
    order = count[kept].argsort(descending=True, stable=True)[:number]
    return [Pair(int(p) // base, int(p) % base) for p in pairs[kept][order]]


def rows_with(pair: Pair, tokens: Tokens, most: int) -> Tokens:
    """The rows in which a pair stands most often, at most so many, at least one."""
    count = pair.places(tokens).sum(1)
    order = count.argsort(descending=True, stable=True)[:most]
    return tokens.rows(order[: max(1, int((count[order] > 0).sum()))])


@dataclass(frozen=True)
class Loss:
    """What an edit leaves of a habit, and what it costs elsewhere.

    kept
        Mean probability of the second token at the pair's places.
    likeliest
        Share of them at which it is the likeliest token.
    ce, kl
        Mean cross-entropy, and mean divergence from the unedited prediction, in nats, over all
        predictions that are not made at the first token.
    """

    kept: float
    likeliest: float
    ce: float
    kl: float


class Bench:
    """Rows of text on which edits at one point are compared with the model as it is."""

    def __init__(self, model: LanguageModel, point: str, pair: Pair, tokens: Tokens) -> None:
        self.model, self.point, self.pair, self.tokens = model, point, pair, tokens
        held = tokens.mask[:, :-1] & tokens.mask[:, 1:]
        self.at = pair.places(tokens)
        self.elsewhere = held & (tokens.ids[:, :-1] != pair.first)
        self._targets = tokens.ids[:, 1:][self.elsewhere]
        self._log_p, pair_log_p = self._predictions()
        self.clean = self._loss(self._log_p, pair_log_p)

    def under(self, edit: Edit) -> Loss:
        """The loss with the activation at the point replaced by what ``edit`` makes of it."""
        with torch.no_grad(), spliced(self.model, {self.point: edit}):
            return self._loss(*self._predictions())

    def activations(self) -> Tensor:
        """The activations at the pair's places, ``(places, width)``."""
        acts = Activations(self.model.module, self.point)
        (values,) = acts(self.tokens.ids, attention_mask=self.tokens.mask).values()
        return values[:, :-1][self.at]

    def drop(self, loss: Loss) -> float:
        """By how much the habit is kept less than by the unedited model."""
        return self.clean.kept - loss.kept

    def _predictions(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities elsewhere, and at the pair's places."""
        logits = self.model.logits(self.tokens.ids, self.tokens.mask)[:, :-1]
        elsewhere, pair_log_p = (
            torch.log_softmax(logits[at], -1) for at in (self.elsewhere, self.at)
        )
        return elsewhere, pair_log_p

    def _loss(self, log_p: Tensor, pair_log_p: Tensor) -> Loss:
        kept = float(pair_log_p[:, self.pair.after].exp().mean())
        likeliest = float((pair_log_p.argmax(-1) == self.pair.after).float().mean())
        ce = -float(log_p.gather(1, self._targets[:, None]).mean())
        kl = float((self._log_p.exp() * (self._log_p - log_p)).sum(1).mean())
        return Loss(kept, likeliest, ce, kl)


class Erased:
    """An edit that puts the mean in the place of the part of an activation in a subspace.

    ``mean`` is ``(width,)``, ``basis`` ``(directions, width)``, orthonormal.
    """

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        self.mean, self.basis = mean, basis

    def __call__(self, x: Tensor) -> Tensor:
        return x - ((x - self.mean) @ self.basis.T) @ self.basis
