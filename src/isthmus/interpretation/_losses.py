"""The losses of each token, clean and under each replacement, and what is measured of them."""

from dataclasses import dataclass

import numpy as np

from isthmus.evaluation import Result
from isthmus.evaluation.intervals import DRAWS, STILL, blocks, percentile, resample

VARIANTS = ("ce", "ce_spliced", "ce_zero", "ce_mean", "ce_resample")

_WHAT = {
    "ce": "cross-entropy of the prediction",
    "ce_spliced": "cross-entropy with the reconstruction spliced in",
    "ce_zero": "cross-entropy with the activation set to zero",
    "ce_mean": "cross-entropy with the activation set to its mean",
    "ce_resample": "cross-entropy with another token's activation in its place",
    "kl": "KL(clean || spliced) of the predictions",
}


@dataclass(frozen=True)
class Losses:
    """One number for each predicted token, float32 ``(tokens,)``, in nats.

    ``ce`` is the clean model's cross-entropy, the other four those with the activation replaced by
    its reconstruction, by zero, by the mean and by another token's; ``kl`` is the divergence of the
    spliced from the clean prediction. ``document`` int64 names each token's document.
    """

    ce: np.ndarray
    ce_spliced: np.ndarray
    ce_zero: np.ndarray
    ce_mean: np.ndarray
    ce_resample: np.ndarray
    kl: np.ndarray
    document: np.ndarray

    def results(self, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Result]:
        """The measures that ``behaviour`` describes, by name."""
        sums = self._by_document()
        found = {name: self._mean(name, what, sums, draws, seed) for name, what in _WHAT.items()}
        found["added_ce"] = self._ratio(
            "added_ce",
            (sums["ce_spliced"] - sums["ce"], sums["tokens"]),
            "cross-entropy added by the reconstruction, mean over tokens",
            False, "nats", draws, seed,
        )  # fmt: skip
        for kind in ("zero", "mean", "resample"):
            ablated = sums[f"ce_{kind}"]
            found[f"loss_recovered_{kind}"] = self._ratio(
                f"loss_recovered_{kind}",
                (ablated - sums["ce_spliced"], ablated - sums["ce"]),
                f"(ce_{kind} - ce_spliced) / (ce_{kind} - ce), each a mean over tokens",
                True, "fraction", draws, seed,
            )  # fmt: skip
        return found

    def _by_document(self) -> dict[str, np.ndarray]:
        """Sums over the tokens of each document, ``(documents,)``."""
        _, at = np.unique(self.document, return_inverse=True)
        columns = {name: getattr(self, name) for name in (*VARIANTS, "kl")}
        sums = {name: np.bincount(at, column) for name, column in columns.items()}
        return {**sums, "tokens": np.bincount(at).astype(np.float64)}

    def _mean(
        self, name: str, what: str, sums: dict[str, np.ndarray], draws: int, seed: int
    ) -> Result:
        parts = (sums[name], sums["tokens"])
        return self._ratio(name, parts, f"{what}, mean over tokens", False, "nats", draws, seed)

    def _ratio(
        self,
        name: str,
        parts: tuple[np.ndarray, np.ndarray],
        what: str,
        higher_is_better: bool,
        unit: str,
        draws: int,
        seed: int,
    ) -> Result:
        above, below = parts
        note, interval = "", None
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(above.sum() / below.sum())
            resampled = _resampled(above, below, draws, seed)
        if not np.isfinite(value):
            value, note = float("nan"), "the ablation does not change the loss"
        elif len(above) < 2:
            note = "one document: no interval"
        else:
            interval = percentile(resampled, value)
            note = STILL if len(resampled) and interval is None else ""
        how = f"95 % percentile bootstrap over {len(above)} documents, {draws} resamples"
        estimator = f"{what}; {how if interval else 'no interval'}"
        n = len(self.ce)
        return Result(name, value, higher_is_better, interval, n, estimator, unit, None, note)


def _resampled(above: np.ndarray, below: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """The ratio of sums over documents drawn with replacement, ``(draws,)``."""
    rng, documents = np.random.default_rng(seed), np.arange(len(above))
    parts = [
        resample(documents, len(documents), size, rng) for size in blocks(draws, len(documents))
    ]
    counts = [(part @ above) / (part @ below) for part in parts]
    return np.concatenate(counts) if counts else np.empty(0)
