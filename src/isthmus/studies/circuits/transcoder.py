"""Transcoders against autoencoders on a feed-forward part's output, and what their weights say."""

# About 210 CPU seconds a seed: four dictionaries of 3,000 steps, and 300,000 tokens at four points.
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

import isthmus
from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder, Source
from isthmus.interpretation import Splice, spliced
from isthmus.interpretation.attribution import Trace, edges
from isthmus.interpretation.encoding import coded
from isthmus.interpretation.replacement import reads as read_weights
from isthmus.interpretation.replacement import writes
from isthmus.language import Decoder, Tokens
from isthmus.language.decoder import rotations
from isthmus.studies import (
    Premise,
    Primary,
    Secondary,
    Trial,
    Tuning,
    experiment,
    less,
    quantity,
    ratio,
    value,
)  # fmt: skip
from isthmus.studies.benches.language import NEEDS, host, store, tokens

FIRST, SECOND = 1, 2
"""Layers of the two transcoders; both kinds are compared at the first."""
POINTS = IN, OUT, LATER_IN, LATER_OUT = tuple(
    f"layers.{layer}.mlp{side}" for layer in (FIRST, SECOND) for side in (":in", "")
)
L0, WIDTH = 16.0, 4 * 192
STEPS, BATCH, RATE = 3000, 1024, 1.6e-3
TRAIN, HELD, SPLICED = 300_000, 8192, 8000
"""Tokens to train on, to measure L0, sums and edges on, and to splice on."""
SUMS = 12
"""Places at which pre-activations are taken apart, in as many rows of the text."""
OFTEN = 0.002
"""Latents count that fire on this share of the tokens."""
EDGES = 200
"""Edges that are ablated: those of the largest weights."""
ROWS = 3
"""Rows of text in which a latent is ablated."""

Edit = Callable[[Tensor], Tensor]
Measured = dict[str, dict[str, float]]


def _near(arm: str) -> Premise:
    away = quantity(f"L0 of {arm} relative to 16, from 1", lambda f: abs(f[arm]["l0"] / L0 - 1.0))
    return Premise(away, below=0.05, why="the two kinds are compared at equal L0")


@experiment(
    "transcoder",
    family="circuits",
    catalogue=61,
    paper="Dunefsky, Chlenski, Nanda 2024, Transcoders Find Interpretable LLM Feature Circuits",
    statement="At equal sparsity a sparse replacement of a feed-forward part costs the model less "
    "than an autoencoder on its output, and its weights alone say which latents write to which.",
    headline="At least on par with autoencoders in sparsity and faithfulness at 120M, 410M and "
    "1.4B parameters (abstract; GPT-2 small and Pythia, 32 times as wide, 60 million tokens).",
    setting=f"The resident model (4 layers, width 192), {TRAIN:,} tokens of its training text, "
    f"other text to measure on. Feed-forward part of layer {FIRST}; ReLU with L1 held at L0 = "
    f"{L0:g}, {WIDTH // 192} times as wide ({WIDTH}), {STEPS:,} steps of {BATCH:,}, a rate from "
    "one grid for each arm, falling to zero; neither kind has help for dead latents. The paper "
    "says at least on par and gives no margin: what decides is whether transcoders cost less. "
    f"Edges are those from a transcoder of layer {FIRST} to one of layer {SECOND}: the {EDGES} of "
    f"largest weight among latents that fire on {OFTEN:.1%} of the tokens or more. An effect is "
    "the change of the later latent's pre-activation, per unit of the ablated latent, where that "
    "is active, with all that lies between recomputed.",
    arms={
        "transcoder": "a transcoder from the input to the output",
        "sae": "a ReLU autoencoder with L1 on the output",
        "sae-again": "control: the autoencoder once more, from another seed",
        "half-error": "positive control: the output itself and the autoencoder's, in equal parts",
        "mean": "the mean output, whatever the input",
        "edges": "two transcoders: sums, weights and ablations",
        "shuffled-edges": "the same weights, each with the effect on a latent at random",
    },
    recipes=("transcoder",),
    needs=NEEDS,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("transcoder", "sae")),
    primary=Primary(
        ratio("added_ce", "transcoder", to="sae"), below=1.0, positive="half-error",
        negative="sae-again",
    ),
    premises=(
        _near("transcoder"),
        _near("sae"),
        Premise(ratio("added_ce", "mean", to="sae"), above=2.0,
                why="the part does something that can be lost"),
    ),
    secondary=(
        Secondary(ratio("fvu", "transcoder", to="sae"), below=1.0),
        Secondary(value("sum_error", "edges"), below=1e-4, source="ours"),
        Secondary(less("rank_correlation", "edges", than="shuffled-edges"), above=0.0),
        Secondary(less("rank_correlation_of_sizes", "edges", than="shuffled-edges"), above=0.0),
    ),
)  # fmt: skip
def transcoder(trial: Trial) -> Measured:
    """Both kinds at one layer, then sums and edges between two."""
    kept = store("train", POINTS, trial.seed, trial.rows(TRAIN))
    held = store("test", POINTS, trial.seed, trial.rows(HELD))
    text = tokens("test", trial.seed, trial.rows(SPLICED))

    def fitted(recipe: str, source: Source, arm: str, more: int = 0) -> Autoencoder:
        return trial.fit(
            recipe, source, latent_dim=WIDTH, l0=L0, steps=STEPS, batch_size=BATCH,
            lr=trial.rate(arm, RATE), lr_schedule="linear", average=None, warmup=100,
            seed=trial.seed + more,
        )  # fmt: skip

    first = fitted("transcoder", kept.pair(IN, OUT), "transcoder")
    second = fitted("transcoder", kept.pair(LATER_IN, LATER_OUT), "transcoder")
    sae, again = (fitted("relu-l1", kept.source(OUT), "sae", more) for more in (0, 1000))
    mean = kept.mean(OUT)
    clean = cross_entropy(text, {})

    def added(edit: Edit | Splice) -> dict[str, float]:
        return {"added_ce": cross_entropy(text, {OUT: edit}) - clean}

    def seen(model: Autoencoder, source: Source) -> dict[str, float]:
        measures = isthmus.evaluate(model, source)
        return {name: measures[name].value for name in ("l0", "fvu", "dead_share")}

    two = {FIRST: first, SECOND: second}
    shorter = tokens("test", trial.seed, trial.rows(HELD))
    ablated, shuffled = ablations(two, shorter, trial.seed)
    return {
        "transcoder": seen(first, held.pair(IN, OUT)) | added(Splice(first, reads=IN)),
        "sae": seen(sae, held.source(OUT)) | added(Splice(sae)),
        "sae-again": seen(again, held.source(OUT)) | added(Splice(again)),
        "half-error": added(lambda x: (x + _rebuilt(sae, x)) / 2),
        "mean": added(lambda x: mean.expand_as(x)),
        "edges": {"sum_error": sum_error(two, shorter)} | ablated,
        "shuffled-edges": shuffled,
    }


def _rebuilt(model: Autoencoder, x: Tensor) -> Tensor:
    return torch.as_tensor(model.reconstruct(x.flatten(0, -2))).view_as(x)


@torch.no_grad()
def cross_entropy(text: Tokens, edits: Mapping[str, Edit | Splice]) -> float:
    """Mean cross-entropy of the resident model's next token, in nats, under edits.

    Activations of special tokens are left as they are.
    """
    model, total, count = host(), 0.0, 0
    for ids, mask in zip(text.ids.split(16), text.mask.split(16), strict=True):
        counted = mask[:, 1:]
        with spliced(model, edits):
            logits = model.logits(ids, mask)[:, :-1][counted]
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counted], reduction="sum")
        total, count = total + float(loss), count + int(counted.sum())
    return total / count


# --- two transcoders -----------------------------------------------------------------------------


def sum_error(two: Mapping[int, Autoencoder], text: Tokens) -> float:
    """How far pre-activations of active latents are from the sums of their parts, at most."""
    off = 0.0
    for row in torch.linspace(0, len(text) - 1, min(SUMS, len(text))).long().unique().tolist():
        ids = text.ids[row][text.mask[row]][:96]
        trace = Trace(host(), ids, two)
        u = trace.pre_activations(SECOND, len(ids) - 1)
        for latent in u.topk(4).indices.tolist():
            parts = trace.parts(trace.reading(SECOND, latent, len(ids) - 1))
            off = max(off, abs(parts.total - float(u[latent])))
    return off


@torch.no_grad()
def ablations(
    two: Mapping[int, Autoencoder], text: Tokens, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Weights of the largest edges against the effects of ablating their first latent."""
    module = _module()
    full = text.mask.all(1)
    ids = text.ids[full] if bool(full.any()) else text.ids[:1, : int(text.mask[0].sum())]
    names = [f"layers.{FIRST}.mlp:in", f"layers.{FIRST}", f"layers.{SECOND}.mlp:in"]
    entering, stream, later = (values for values in Activations(module, names)(ids).values())
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
    indices = among.topk(min(EDGES, int((among > 0).sum()))).indices
    sources, targets = indices // WIDTH, indices % WIDTH

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
