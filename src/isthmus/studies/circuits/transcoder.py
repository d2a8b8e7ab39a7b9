"""Transcoders against autoencoders on a feed-forward part's output, and what their weights say."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

import isthmus
from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder, Source
from isthmus.interpretation import Splice, spliced
from isthmus.interpretation.attribution import Trace, edges, writes
from isthmus.interpretation.attribution import reads as read_weights
from isthmus.interpretation.encoding import coded
from isthmus.language import Decoder, Tokens
from isthmus.language.decoder import rotations
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.interpret.resident import NEEDS, host, store, tokens

FIRST, SECOND = 1, 2
"""Layers of the two transcoders; both kinds are compared at the first."""
POINTS = IN, OUT, LATER_IN, LATER_OUT = tuple(
    f"layers.{layer}.mlp{side}" for layer in (FIRST, SECOND) for side in (":in", "")
)
LEVELS = (8, 24, 64)
"""Active latents that are asked for."""
LEVEL = 24
"""Those of the transcoders whose edges are looked at."""
WIDTH = 8 * 192
STEPS, BATCH, RATE, WARMUP = 420, 512, 1.6e-3, 50
TRAIN, SPLICED, MEASURED = 80_000, 8_000, 6_000
"""Tokens to train on, to splice on, and to measure L0, edges and sums on."""
SUMS = 12
"""Places at which pre-activations are taken apart, in as many rows of the text."""
OFTEN = 0.002
"""Latents count that fire on this share of the tokens."""
EDGES = 200
"""Edges that are ablated: those of the largest weights."""
ROWS = 3
"""Rows of text in which a latent is ablated."""

Measured = dict[str, dict[str, float]]


def added_at(figures: Figures, arm: str, l0: float) -> float:
    """Added cross-entropy of an arm at that L0, log-linear between the sparsities measured."""
    own = figures[arm]
    log_l0, log_added = (
        np.log([own[f"{name}_{level}"] for level in LEVELS]) for name in ("l0", "added_ce")
    )
    order = np.argsort(log_l0)
    return float(np.exp(np.interp(math.log(l0), log_l0[order], log_added[order])))


def ratio(figures: Figures, arm: str) -> float:
    """Added cross-entropy of an arm over the autoencoder's at its L0, geometric mean over L0."""
    own = figures[arm]
    logs = [
        math.log(own[f"added_ce_{level}"] / added_at(figures, "sae", own[f"l0_{level}"]))
        for level in LEVELS
        if f"l0_{level}" in own
    ]
    return math.exp(sum(logs) / len(logs))


def _apart(figures: Figures) -> float:
    return max(
        abs(math.log(figures["transcoder"][f"l0_{level}"] / figures["sae"][f"l0_{level}"]))
        for level in LEVELS
    )


@study(
    "transcoder",
    family="circuits",
    catalogue=61,
    paper="Dunefsky, Chlenski, Nanda 2024, Transcoders Find Interpretable LLM Feature Circuits",
    statement="At equal sparsity a sparse replacement of a feed-forward part is at least as "
    "faithful as an autoencoder on its output, and its weights alone say which latents write to "
    "which.",
    headline="On par with or above autoencoders in added cross-entropy at 120M, 410M and 1.4B "
    "parameters (Pythia, GPT-2 small; 32 times as wide, 60 million tokens).",
    setting="The resident model (4 layers, width 192, BPE) in place of a character model; 80,000 "
    "tokens that it was not trained on, other documents to measure on. Feed-forward part of layer "
    f"{FIRST}; ReLU with L1 at L0 = {', '.join(map(str, LEVELS))} held by a control, 8 times as "
    f"wide (1536), {STEPS} steps of {BATCH} tokens at a rate of {RATE:g} for both kinds. Edges "
    f"are those from a transcoder of layer {FIRST} to one of layer {SECOND}, both at L0 = {LEVEL}: "
    f"the {EDGES} of largest weight among latents that fire on {OFTEN:.1%} of the tokens or more. "
    "An effect is the change of the later latent's pre-activation, per unit of the ablated latent, "
    "where that is active, with all that lies between recomputed.",
    arms={
        "transcoder": "transcoders from the input to the output",
        "sae": "ReLU autoencoders with L1 on the output",
        "untrained": f"control: the transcoder of L0 = {LEVEL} as it begins",
        "edges": "two transcoders: sums, weights and ablations",
        "shuffled edges": "control: the same weights, each with the effect on a latent at random",
    },
    recipes=("transcoder", "relu-l1"),
    needs=NEEDS,
    checks=(
        Check(
            "cross-entropy that transcoders add over what autoencoders add at equal L0, geometric "
            "mean over three sparsities",
            lambda f: ratio(f, "transcoder"),
            at_most=1.1,
            control=lambda f: ratio(f, "untrained"),
        ),
        Check(
            "largest difference of a pre-activation from the sum of its parts",
            lambda f: f["edges"]["sum_error"],
            at_most=1e-4,
            control=lambda f: f["edges"]["sum_error_without_errors"],
        ),
        Check(
            "rank correlation of the weights of the largest edges with ablation effects",
            lambda f: f["edges"]["rank_correlation"],
            at_least=0.6,
            control=lambda f: f["shuffled edges"]["rank_correlation"],
        ),
        Check(
            "the same within sizes: of absolute weights with effects in their direction",
            lambda f: f["edges"]["rank_correlation_of_sizes"],
            at_least=0.6,
            control=lambda f: f["shuffled edges"]["rank_correlation_of_sizes"],
            required=False,
        ),
        Check(
            "largest log ratio of the two kinds' L0 at one level",
            _apart,
            at_most=0.15,
            premise=True,
        ),
    ),
)
def transcoder(trial: Trial) -> Measured:
    """The frontier at one layer, then sums and edges between two."""
    kept = store("train", POINTS, trial.seed, max(1024, trial.steps(TRAIN)))
    held = store("test", POINTS, trial.seed, max(1024, trial.steps(MEASURED)))
    text = tokens("test", trial.seed, max(1024, trial.steps(SPLICED)))
    steps = trial.steps(STEPS)

    def fitted(recipe: str, source: Source, *levels: int, **own: Any) -> dict[int, Autoencoder]:
        variants = {str(level): {"recipe": recipe, "l0": float(level)} for level in levels}
        options = {"lr": RATE, "warmup": WARMUP, "steps": steps, **own}
        found = isthmus.fit_many(
            variants, source, latent_dim=WIDTH, batch_size=BATCH, seed=trial.seed, progress=False,
            **options,
        )  # fmt: skip
        return {level: found[str(level)] for level in levels}

    coders = fitted("transcoder", kept.pair(IN, OUT), *LEVELS)
    second = fitted("transcoder", kept.pair(LATER_IN, LATER_OUT), LEVEL)[LEVEL]
    begun = fitted("transcoder", kept.pair(IN, OUT), LEVEL, steps=1, lr=1e-9)
    autoencoders = fitted("relu-l1", kept.source(OUT), *LEVELS)
    pair = held.pair(IN, OUT)
    clean, zero = cross_entropy(text, {}), cross_entropy(text, {OUT: torch.zeros_like})
    figures = {
        "transcoder": _frontier(coders, pair, text, clean, zero, reads=IN),
        "sae": _frontier(autoencoders, held.source(OUT), text, clean, zero),
        "untrained": _frontier(begun, pair, text, clean, zero, reads=IN),
    }
    shorter = tokens("test", trial.seed, max(1024, trial.steps(MEASURED)))
    two = {FIRST: coders[LEVEL], SECOND: second}
    found = isthmus.evaluate(second, held.pair(LATER_IN, LATER_OUT))
    ablated, figures["shuffled edges"] = _ablations(two, shorter, trial.seed)
    figures["edges"] = {f"second_{name}": found[name].value for name in ("l0", "fvu")}
    figures["edges"] |= _sums(two, shorter) | ablated
    return figures


# --- the frontier --------------------------------------------------------------------------------


def _frontier(
    models: Mapping[int, Autoencoder],
    held: Source,
    text: Tokens,
    clean: float,
    zero: float,
    reads: str | None = None,
) -> dict[str, float]:
    """L0, FVU and added cross-entropy of each level.

    ``clean`` and ``zero`` are the model's cross-entropy as it is, and with zero at the output.
    """
    figures = {"ce": clean, "ce_zero": zero}
    for level, model in models.items():
        found = isthmus.evaluate(model, held)
        figures |= {f"{name}_{level}": found[name].value for name in ("l0", "fvu", "dead_share")}
        added = cross_entropy(text, {OUT: Splice(model, reads=reads)}) - clean
        figures[f"added_ce_{level}"] = max(added, 1e-6)
        figures[f"loss_recovered_{level}"] = 1.0 - added / (zero - clean)
    return figures


@torch.no_grad()
def cross_entropy(text: Tokens, edits: Mapping[str, Callable[[Tensor], Tensor]]) -> float:
    """Mean cross-entropy of the resident model's next token, in nats, under edits."""
    model, total, count = host(), 0.0, 0
    with spliced(model, edits):
        for ids, mask in zip(text.ids.split(16), text.mask.split(16), strict=True):
            counted = mask[:, 1:]
            logits = model.logits(ids, mask)[:, :-1][counted]
            loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counted], reduction="sum")
            total, count = total + float(loss), count + int(counted.sum())
    return total / count


# --- two transcoders -----------------------------------------------------------------------------


def _sums(two: Mapping[int, Autoencoder], text: Tokens) -> dict[str, float]:
    """How far pre-activations of active latents are from the sums of their parts."""
    off, without, count = 0.0, 0.0, 0
    shares: dict[str, float] = {"latents": 0.0, "error": 0.0, "heads": 0.0, "rest": 0.0}
    for row in torch.linspace(0, len(text) - 1, min(SUMS, len(text))).long().unique().tolist():
        ids = text.ids[row][text.mask[row]][:96]
        place = len(ids) - 1
        trace = Trace(host(), ids, two)
        u = trace.pre_activations(SECOND, place)
        for latent in u.topk(4).indices.tolist():
            parts = trace.parts(trace.reading(SECOND, latent, place))
            off = max(off, abs(parts.total - float(u[latent])))
            missed = sum(parts.error.values())
            without = max(without, abs(missed))
            sizes = {
                "latents": sum(float(part.abs().sum()) for part in parts.latents.values()),
                "error": sum(abs(error) for error in parts.error.values()),
                "heads": float(parts.heads.abs().sum()),
                "rest": abs(parts.embed) + sum(abs(part) for part in parts.plain.values()),
            }
            whole = sum(sizes.values())
            shares = {name: shares[name] + sizes[name] / whole for name in shares}
            count += 1
    means = {f"share_of_{name}": value / count for name, value in shares.items()}
    return {"sum_error": off, "sum_error_without_errors": without, "sums": float(count), **means}


@torch.no_grad()
def _ablations(
    two: Mapping[int, Autoencoder], text: Tokens, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Weights of the largest edges against the effects of ablating their first latent."""
    module = _module()
    full = text.mask.all(1)
    ids = text.ids[full] if bool(full.any()) else text.ids[:1, : int(text.mask[0].sum())]
    names = [f"layers.{FIRST}.mlp:in", f"layers.{FIRST}", f"layers.{SECOND}.mlp:in"]
    entering, stream, later = (taken for taken in Activations(module, names)(ids).values())
    z, after = (
        coded(two[layer], x.flatten(0, 1)).z.unflatten(0, ids.shape)
        for layer, x in ((FIRST, entering), (SECOND, later))
    )
    z[ids == host().tokenizer.bos] = 0.0  # the transcoders have not seen these
    often = [(x > 0).flatten(0, 1).double().mean(0) >= OFTEN for x in (z, after)]
    gain = module.get_submodule(f"layers.{SECOND}.mlp_norm").weight
    assert isinstance(gain, Tensor)
    weights = edges(two[FIRST], two[SECOND], gain=gain)
    among = torch.where(often[0][:, None] & often[1], weights.abs(), 0.0).flatten()
    chosen = among.topk(min(EDGES, int((among > 0).sum()))).indices
    sources, targets = chosen // WIDTH, chosen % WIDTH

    written, read = writes(two[FIRST])[0], read_weights(two[SECOND])[0]
    block = module.get_submodule(f"layers.{SECOND}")
    look, rotation = Activations(block, "mlp:in"), _rotation(module, ids.shape[1])
    effects: dict[int, Tensor] = {}
    for i in sources.unique().tolist():
        rows = z[:, :, i].sum(1).topk(min(ROWS, len(z))).indices
        on = z[rows, :, i]
        without = stream[rows] - on[..., None] * written[i]
        change = later[rows] - look(without, rotation)["mlp:in"]
        effects[i] = read @ change[on > 0].sum(0) / on.sum()
    weight = weights[sources, targets].double().numpy()
    other = targets[torch.from_numpy(np.random.default_rng(seed).permutation(len(targets)))]
    effect, elsewhere = (
        np.array([float(effects[i][j]) for i, j in zip(sources.tolist(), to.tolist(), strict=True)])
        for to in (targets, other)
    )
    measured = {"edges": float(len(weight)), "ablated": float(len(effects))}
    return measured | _correlations(weight, effect), _correlations(weight, elsewhere)


def _module() -> Decoder:
    module = host().module
    assert isinstance(module, Decoder)
    return module


def _rotation(module: Decoder, places: int) -> tuple[Tensor, Tensor]:
    shape = module.shape
    return rotations(places, shape.width // shape.heads, shape.base)


def _correlations(weight: np.ndarray, effect: np.ndarray) -> dict[str, float]:
    signed = spearmanr(weight, effect).statistic
    sizes = spearmanr(np.abs(weight), effect * np.sign(weight)).statistic
    return {
        "rank_correlation": float(signed),
        "rank_correlation_of_sizes": float(sizes),
        "same_sign": float((np.sign(weight) == np.sign(effect)).mean()),
    }
