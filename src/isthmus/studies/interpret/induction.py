"""Rows in which a string of tokens is repeated, and units that fire where a token is next by it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from isthmus.activations import Activations
from isthmus.interpretation.heads import attention_pattern
from isthmus.language import Decoder, LanguageModel, Tokens

STRING, BETWEEN = 24, 16
"""Tokens of a string, and of text before, between and after its copies."""
LAG = STRING + BETWEEN
FIRST, SECOND = BETWEEN, BETWEEN + LAG
"""Where the copies begin."""
LOOKED_AT = 16
"""Rows on which heads are scored."""


@dataclass(frozen=True)
class Copies:
    """Rows of text around two copies of a string, int64 ``(rows, places)``, and their model.

    No token of a string is in it twice, so that in the second copy each foretells the next.
    """

    model: LanguageModel
    ids: Tensor

    @property
    def next_token(self) -> np.ndarray:
        """By place the token that is next by induction, -1 where none is; ``(rows * places,)``."""
        successors = torch.full_like(self.ids, -1)
        foretold = slice(SECOND, SECOND + STRING - 1)
        successors[:, foretold] = self.ids[:, SECOND + 1 : SECOND + STRING]
        flat: np.ndarray = successors.flatten().numpy()
        return flat

    @torch.no_grad()
    def activations(self, point: str) -> Tensor:
        """What is at a point, the token that begins a row left out, ``(rows * places, width)``."""
        take = Activations(self.model.module, point)
        parts = [take(part)[point][:, 1:].flatten(0, 1) for part in self._begun().split(64)]
        return torch.cat(parts)

    @torch.no_grad()
    def losses(self) -> tuple[float, float]:
        """Mean loss of the tokens of each copy but for its first, in nats."""
        nats = []
        for part in self._begun().split(16):
            log_p = self.model.logits(part)[:, 1:-1].log_softmax(-1)
            nats.append(-log_p.gather(2, part[:, 2:, None])[..., 0])
        loss = torch.cat(nats)
        first, second = (float(loss[:, at : at + STRING - 1].mean()) for at in (FIRST, SECOND))
        return first, second

    @torch.no_grad()
    def scores(self) -> np.ndarray:
        """How much each head looks at what followed the token before, ``(layers, heads)``.

        The mean weight, in second copies, of the place behind the same token in the first.
        """
        module = self.model.module
        assert isinstance(module, Decoder)
        layers = range(module.shape.layers)
        names = [f"layers.{layer}.attention:in" for layer in layers]
        places = torch.arange(SECOND, SECOND + STRING - 1) + 1  # behind the token that begins a row
        total = np.zeros((module.shape.layers, module.shape.heads))
        rows = self._begun()[:LOOKED_AT]
        for row in rows:
            read = Activations(module, names)(row[None])
            for layer, name in zip(layers, names, strict=True):
                pattern = attention_pattern(module, layer, read[name][0])
                total[layer] += pattern[:, places, places - LAG + 1].mean(1).numpy()
        return total / len(rows)

    def _begun(self) -> Tensor:
        begin = torch.full((len(self.ids), 1), self.model.tokenizer.bos or 0)
        return torch.cat([begin, self.ids], 1)


def copies(
    model: LanguageModel, text: Tokens, among: Sequence[int], count: int, seed: int
) -> Copies:
    """Rows with strings of the tokens ``among``, in an order drawn at random, in places of text."""
    rng = np.random.default_rng(seed)
    long = (text.mask.sum(1) > 3 * BETWEEN).nonzero().flatten().numpy()
    passages = text.ids[torch.from_numpy(rng.choice(long, count))]
    drawn = [rng.choice(np.asarray(among), STRING, replace=False) for _ in range(count)]
    string = torch.from_numpy(np.stack(drawn))
    parts = [passages[:, 1 + i * BETWEEN : 1 + (i + 1) * BETWEEN] for i in range(3)]
    return Copies(model, torch.cat([parts[0], string, parts[1], string, parts[2]], 1))


def average_precision(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How well each of ``(places, units)`` tells the places ``found`` from all, ``(units,)``.

    The area under the curve of precision and recall; tied values count together. ``found`` are the
    numbers of the right places.
    """
    return _precision(rankdata(-values, method="max", axis=0), found)


def best_units(units: np.ndarray, wanted: np.ndarray, among: Sequence[int]) -> float:
    """How well units ``(places, units)`` tell where each token is next, mean over the tokens.

    By average precision. A token's unit is the best on the first half of the places, and what
    counts is how well it does on the second. ``wanted`` ``(places,)`` is the next token.
    """
    half = len(units) // 2
    ranks = rankdata(-units[:half], method="max", axis=0)
    scores = []
    for token in among:
        unit = int(_precision(ranks, np.flatnonzero(wanted[:half] == token)).argmax())
        places = np.flatnonzero(wanted[half:] == token)
        scores.append(average_precision(units[half:, [unit]], places)[0])
    return float(np.mean(scores))


def probed(x: np.ndarray, wanted: np.ndarray, among: Sequence[int], ridge: float = 1e-2) -> float:
    """The same of a linear probe for each token, fitted by ridge regression on the first half."""
    half = len(x) // 2
    mean, spread = x[:half].mean(0), x[:half].std(0) + 1e-8
    scaled = (x - mean) / spread
    marks = (wanted[:half, None] == np.asarray(among)).astype(np.float64)
    gram = scaled[:half].T @ scaled[:half] / half + ridge * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, scaled[:half].T @ (marks - marks.mean(0)) / half)
    values = scaled[half:] @ weights
    scores = [
        average_precision(values[:, [i]], np.flatnonzero(wanted[half:] == token))[0]
        for i, token in enumerate(among)
    ]
    return float(np.mean(scores))


def _precision(ranks: np.ndarray, places: np.ndarray) -> np.ndarray:
    """From ranks of all places, the largest value first."""
    if not len(places):
        return np.full(ranks.shape[1], np.nan)
    place_ranks = ranks[places]
    among: np.ndarray = rankdata(place_ranks, method="max", axis=0)
    precision: np.ndarray = (among / place_ranks).mean(0)
    return precision
