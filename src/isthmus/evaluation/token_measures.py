"""How well tokens are told and rebuilt: exact rows, right tokens, nats per token, bits per byte."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from isthmus.anatomy import Batch, Ragged, Tree
from isthmus.anatomy.ragged import lengths_of
from isthmus.anatomy.tree import elements, observed
from isthmus.errors import IsthmusError
from isthmus.evaluation.result import Z95, Result


class TokenMeasures:
    """Streamed measures of rows of ids: feed batches, then ask for the results.

    ``exact_match`` is the share of rows that are rebuilt whole from their code alone. The others
    are of single tokens, each told from the code and, by a decoder that is taught, from the true
    tokens before it: ``token_accuracy``, the share of which the most probable one is right;
    ``nats_per_token``, all nats over all tokens; ``bits_per_byte``, where the tokens are bytes, the
    same nats over the bytes of the rows, without the symbol that ends them. Means per token are
    ratios of sums over rows, whose intervals are normal, by linearisation (Cochran 1977, section
    6.4); that of ``exact_match`` is Wilson's.
    """

    def __init__(self, *, bytes_: bool = False) -> None:
        self.bytes = bytes_
        self.rows: list[Tensor] = []

    def update(
        self,
        log_prob: Tensor,
        right: Tensor,
        mask: Tensor | None,
        given: Tensor | int,
        same: Tensor,
    ) -> "TokenMeasures":
        """Take in rows: their log-probabilities in nats ``(rows,)``, which tokens are right
        ``(rows, steps)`` under a mask of the same shape, how many tokens the rows have without
        what ends them ``(rows,)``, and which are rebuilt exactly ``(rows,)``."""
        tokens = torch.as_tensor(elements(right, mask), device=log_prob.device)
        right = observed(right.double(), mask).flatten(1).sum(1)
        lengths = torch.as_tensor(given, device=log_prob.device)
        columns = (-log_prob, right, tokens.expand(len(right)), lengths.expand(len(right)), same)
        self.rows.append(torch.stack([c.double().cpu() for c in columns], 1))
        return self

    def results(self) -> list[Result]:
        """All of them so far."""
        if not self.rows:
            raise IsthmusError("no rows have been seen: update with at least one row")
        nats, right, tokens, lengths, same = torch.cat(self.rows).unbind(1)
        taught = "each token from the code and the true tokens before it"
        per_token = _ratio(
            "nats_per_token", nats, tokens, False, f"nats over tokens; {taught}", "nats per token"
        )
        results = [
            _share(same),
            _ratio("token_accuracy", right, tokens, True,
                   f"share of tokens of which the most probable is right; {taught}", "fraction"),
            replace(per_token, note=f"a perplexity of {_perplexity(per_token.value)}"),
        ]  # fmt: skip
        if self.bytes:
            results.append(
                _ratio("bits_per_byte", nats / math.log(2.0), lengths, False,
                       f"bits over bytes; {taught}", "bits per byte")
            )  # fmt: skip
        return results


def same_rows(recon: Tree, rows: Batch) -> Tensor:
    """Which rows of whole numbers are rebuilt exactly, length included, ``(rows,)`` bool."""
    x, mask = rows.x, rows.mask
    if not isinstance(recon, Ragged):
        return observed((recon != x).to(torch.uint8), mask).flatten(1).sum(1) == 0
    lengths = x.new_full((len(x),), x.shape[1]) if mask is None else lengths_of(mask)
    steps = min(x.shape[1], recon.values.shape[1])
    row_mask = torch.arange(steps, device=x.device) < lengths[:, None]
    same = (recon.values[:, :steps] == x[:, :steps]) | ~row_mask
    return same.all(1) & (recon.lengths == lengths)


def _ratio(name: str, over: Tensor, under: Tensor, higher: bool, what: str, unit: str) -> Result:
    n, value = len(over), float(over.sum() / under.sum())
    interval = None
    if n > 1:
        spread = (over - value * under).square().sum() / (n - 1)
        half = Z95 * float((spread / n).sqrt() / under.mean())
        interval = (value - half, value + half) if math.isfinite(half) else None
    how = "normal 95 % interval by linearisation" if interval else "no interval"
    return Result(name, value, higher, interval, n, f"{what}; {how}", unit)


def _share(same: Tensor) -> Result:
    """The share of rows, with the interval of Wilson 1927, which is one at 0 and 1 too."""
    n, value = len(same), float(same.mean())
    middle, more = value + Z95**2 / (2 * n), 1 + Z95**2 / n
    half = Z95 * math.sqrt(value * (1 - value) / n + Z95**2 / (4 * n**2))
    what = "share of rows rebuilt whole from the code alone; 95 % interval of Wilson"
    interval = (max(0.0, (middle - half) / more), min(1.0, (middle + half) / more))
    return Result("exact_match", value, True, interval, n, what, "fraction")


def _perplexity(nats: float) -> str:
    return f"{math.exp(nats):.4g}" if nats < 700 else "infinity"
