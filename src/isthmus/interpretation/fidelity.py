"""What a model still does with a reconstruction in place of an activation.

Loss recovered against zero ablation is that of Bricken et al. (2023, "Towards Monosemanticity"),
added loss that of Gao et al. (2024, arXiv:2406.04093, section 5). Mean and resample ablation stand
beside them, since zero is far from where activations lie and flatters whatever it is compared with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.activations.feed_factory import device_of
from isthmus.anatomy import Autoencoder, evaluating
from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.evaluation.intervals import DRAWS, STILL, percentile, resampled_ratios
from isthmus.interpretation.ablations import Ablations
from isthmus.interpretation.replacement import is_cross_layer, layer_splices
from isthmus.interpretation.splice import Edit, Splice, one_point, spliced
from isthmus.language import LanguageModel, Tokens

PIECE = 2**22
"""Log-probabilities that are compared at once."""

LOGITS = 2**24
"""Logits of one batch, where no size of batch is given."""

MASKED = 0.15
"""Share of the tokens that a masked language model has to fill in (Devlin et al. 2018)."""

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
class Batch:
    """A few rows that a model is run on, again and again.

    ``run`` calls the model and returns logits ``(*shape, classes)``. The next three are
    ``(*shape)``: ``targets`` int64, the right classes; ``counted`` bool, where the loss is
    measured; ``groups`` int64, the documents, which intervals resample. ``touched`` bool
    ``(rows, places)`` says which activations are replaced; None for all.
    """

    run: Callable[[], Tensor]
    targets: Tensor
    counted: Tensor
    groups: Tensor
    touched: Tensor | None = None


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
        measures = {name: self._mean(name, what, sums, draws, seed) for name, what in _WHAT.items()}
        measures["added_ce"] = self._ratio(
            "added_ce",
            (sums["ce_spliced"] - sums["ce"], sums["tokens"]),
            "cross-entropy added by the reconstruction, mean over tokens",
            False, "nats", draws, seed,
        )  # fmt: skip
        for kind in ("zero", "mean", "resample"):
            ablated = sums[f"ce_{kind}"]
            measures[f"loss_recovered_{kind}"] = self._ratio(
                f"loss_recovered_{kind}",
                (ablated - sums["ce_spliced"], ablated - sums["ce"]),
                f"(ce_{kind} - ce_spliced) / (ce_{kind} - ce), each a mean over tokens",
                True, "fraction", draws, seed,
            )  # fmt: skip
        return measures

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
            resampled = resampled_ratios(above, below, draws, seed)
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


def behaviour(
    model: LanguageModel,
    point: str | Sequence[str],
    autoencoder: Autoencoder,
    tokens: Tokens,
    *,
    reads: str | None = None,
    skip_special: bool = True,
    batch: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Result]:
    """How much of a language model's behaviour survives the reconstruction, by name of measure.

    ``ce``, ``ce_spliced``, ``ce_zero``, ``ce_mean``, ``ce_resample``
        Cross-entropy of the next token in nats, as the model is, with the reconstruction at
        ``point``, and with the activation there replaced by zero, by its mean over ``tokens``, and
        by the activation of another token drawn at random.
    ``added_ce``
        ``ce_spliced - ce``.
    ``loss_recovered_zero``, ``loss_recovered_mean``, ``loss_recovered_resample``
        ``(ce_ablated - ce_spliced) / (ce_ablated - ce)``: 1 where nothing is lost, 0 where the
        reconstruction is no better than the ablation.
    ``kl``
        KL divergence of the spliced from the clean prediction, ``KL(clean || spliced)``, in nats.

    All are weighted by token, over the same tokens: every token that another precedes, those after
    a special token included. Activations of special tokens (unless ``skip_special`` is False) and
    of padding are never replaced. A masked language model fills in 15 % of the tokens, masked at
    random. Intervals are bootstraps over documents. ``reads`` is for transcoders, see ``Edit``; a
    cross-layer transcoder is put in at all the points that it writes, and so are the ablations.
    ``batch`` is the number of rows at once; it changes no value but for rounding. The same call of
    :func:`losses` gives the numbers of each token.
    """
    every_token = losses(
        model, point, autoencoder, tokens, reads=reads, skip_special=skip_special, batch=batch,
        seed=seed,
    )  # fmt: skip
    return every_token.results(draws=draws, seed=seed)


def losses(
    model: LanguageModel,
    point: str | Sequence[str],
    autoencoder: Autoencoder,
    tokens: Tokens,
    *,
    reads: str | None = None,
    skip_special: bool = True,
    batch: int | None = None,
    seed: int = 0,
) -> Losses:
    """The losses of each token that :func:`behaviour` averages. Arguments as there."""

    def batches() -> Iterator[Batch]:
        return _texts(model, tokens, skip_special=skip_special, batch=batch, seed=seed)

    return losses_on(model.module, point, autoencoder, batches, reads=reads, seed=seed)


def losses_on(
    module: nn.Module,
    point: str | Sequence[str],
    autoencoder: Autoencoder,
    batches: Callable[[], Iterable[Batch]],
    *,
    reads: str | None = None,
    seed: int = 0,
) -> Losses:
    """As :func:`losses`, for any model that ends in logits.

    ``batches()`` begins the same series of batches anew each time: it is gone through twice, first
    for the activations' mean and a sample of them, then with five forward passes a batch. Memory
    does not grow with their number, but for the result (32 bytes a token).
    """
    points = [point] if isinstance(point, str) else list(point)
    for one in points:
        one_point(module, one)
    splices = _splices(autoencoder, points, reads)
    with evaluating(module):
        ablations = {one: Ablations(seed) for one in points}
        for batch in batches():
            for one, ablation in ablations.items():
                ablation.see(module, one, batch.run, batch.touched)
        for ablation in ablations.values():
            ablation.begin()
        columns: dict[str, list[np.ndarray]] = {name: [] for name in (*VARIANTS, "kl", "document")}
        for batch in batches():
            edits: dict[str, Mapping[str, Callable[[Tensor], Tensor]]] = {
                "ce_spliced": splices,
                "ce_zero": dict.fromkeys(points, torch.zeros_like),
                "ce_mean": {one: ablation.mean_like for one, ablation in ablations.items()},
                "ce_resample": {
                    one: ablation.draw(module, one, batch.run, batch.touched).to
                    for one, ablation in ablations.items()
                },
            }
            clean = _log_probabilities(batch.run(), batch.counted)
            target = batch.targets[batch.counted].to(clean.device)
            columns["ce"].append(_cross_entropy(clean, target))
            for name, variant in edits.items():
                with spliced(module, variant, mask=batch.touched):
                    changed = _log_probabilities(batch.run(), batch.counted)
                columns[name].append(_cross_entropy(changed, target))
                if name == "ce_spliced":
                    columns["kl"].append(_divergence(clean, changed))
            columns["document"].append(batch.groups[batch.counted].cpu().numpy())
    if not columns["ce"] or not sum(len(part) for part in columns["ce"]):
        raise IsthmusError("there is no token to predict: pass rows of two tokens or more")
    return Losses(**{name: np.concatenate(parts) for name, parts in columns.items()})


def _splices(
    autoencoder: Autoencoder, points: Sequence[str], reads: str | None
) -> Mapping[str, Edit]:
    """The edits that put a reconstruction in at all points."""
    if is_cross_layer(autoencoder):
        edits = layer_splices(autoencoder)
        if set(edits) != set(points):
            raise IsthmusError(
                f"a cross-layer transcoder is put in at all that it writes: name {', '.join(edits)}"
            )
        return edits
    if len(points) > 1:
        raise IsthmusError(
            f"this reconstruction is of one point, and {len(points)} were named: name one"
        )
    return {points[0]: Splice(autoencoder, reads=reads)}


def _texts(
    model: LanguageModel,
    tokens: Tokens,
    *,
    skip_special: bool,
    batch: int | None,
    seed: int,
) -> Iterator[Batch]:
    special = torch.tensor(sorted(model.tokenizer.special), dtype=torch.int64)
    tokens = tokens.packed()  # the next token stands beside the one that predicts it
    rows, places = tokens.ids.shape
    device = device_of(model.module)
    size = batch or max(1, min(32, LOGITS // (places * model.tokenizer.vocabulary)))
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        ids, mask = tokens.ids[part], tokens.mask[part].bool()
        ordinary = mask & ~torch.isin(ids, special)
        inputs, targets, counted = ids, torch.roll(ids, -1, 1), mask & torch.roll(mask, -1, 1)
        if model.causal:
            counted[:, -1] = False
        else:
            counted = ordinary & _drawn(ids, start, seed)
            inputs, targets = torch.where(counted, _mask_token(model), ids), ids
        # Without a mask attention takes its fastest path.
        visible = None if bool(mask.all()) else mask.to(device)
        yield Batch(
            partial(model.logits, inputs.to(device), visible),
            targets,
            counted,
            tokens.document[part, None].expand_as(ids),
            ordinary if skip_special else mask,
        )


def _drawn(ids: Tensor, first: int, seed: int) -> Tensor:
    """Which tokens a masked language model has to fill in: by row, whatever the batch."""
    rows = [
        np.random.default_rng([seed, first + i]).random(ids.shape[1]) < MASKED
        for i in range(len(ids))
    ]
    return torch.from_numpy(np.stack(rows))


def _mask_token(model: LanguageModel) -> Tensor:
    token = getattr(model.tokenizer, "mask", None)
    if not isinstance(token, int):
        raise IsthmusError(
            f"{model.name} predicts masked tokens, and its tokenizer has no `mask` token: pass a "
            "causal language model, or a tokenizer that names it"
        )
    return torch.tensor(token)


def _log_probabilities(logits: Tensor, counted: Tensor) -> Tensor:
    """Float32 ``(counted tokens, classes)``."""
    if logits.shape[:-1] != counted.shape:
        raise IsthmusError(
            f"the model returned logits of shape {tuple(logits.shape)} for targets "
            f"{tuple(counted.shape)}: return one row of logits for each target"
        )
    return torch.log_softmax(logits[counted.to(logits.device)].float(), -1)


def _cross_entropy(log_p: Tensor, target: Tensor) -> np.ndarray:
    return -log_p.gather(1, target[:, None])[:, 0].cpu().numpy()


def _divergence(clean: Tensor, changed: Tensor) -> np.ndarray:
    step = max(1, PIECE // clean.shape[1])
    parts = [
        (p.exp() * (p - q)).sum(1)
        for p, q in zip(clean.split(step), changed.split(step), strict=True)
    ]
    # Rounding may take a divergence of nearly nothing below zero.
    return torch.cat(parts).clamp_min(0.0).cpu().numpy() if parts else np.zeros(0, np.float32)
