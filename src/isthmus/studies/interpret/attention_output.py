"""A dictionary on what attention heads mix: faithful, purer than other bases, several jobs each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder
from isthmus.evaluation import Result
from isthmus.interpretation import behaviour
from isthmus.interpretation.heads import direct_attribution, head_shares
from isthmus.language import Tokens
from isthmus.studies import Check, Trial, study
from isthmus.studies.interpret.resident import NEEDS, host, store, tokens

LAYER, HEADS = 1, 6
POINT = f"layers.{LAYER}.attention.out:in"
LATENTS, L0, STEPS, BATCH, RATE = 1536, 12.0, 600, 512, 1.6e-3
TRAIN, TEST, SPLICED = 80_000, 16_000, 5_000
"""Tokens to train on, to look at latents on, and to splice on."""
BACK = 3
"""Contexts are the token itself and so many before it."""
TOP = 40
"""Strongest tokens of a unit that purity is measured on; units with fewer do not count."""
OF_HEAD = 10
"""Latents of largest share that are looked at for each head, as in the paper."""
CHANCE = 0.01
"""A latent has a family where as few of the latents agree as much on contexts of other tokens."""
OF_FAMILY = 2
"""Latents that a family has at least, where it counts."""
COPIED, STRING, BETWEEN = 48, 24, 16
"""Rows with a planted string, its tokens, and tokens of text before, between and after copies."""
TRACED, TRACED_ROWS = 12, 3
"""Latents whose sources are looked at, and rows of text for each."""

Measured = dict[str, dict[str, float | Result]]


@study(
    "attention-output",
    family="interpret",
    catalogue=11,
    paper="Kissane, Krzyzanowski, Bloom, Conmy, Nanda 2024, Interpreting Attention Layer Outputs "
    "with Sparse Autoencoders",
    statement="Dictionaries on what attention heads mix are sparse, faithful and purer than the "
    "bases of heads and neurons, and show that most heads do several unrelated things.",
    headline="At least 90 % of the heads of GPT-2 small are judged to do several things, by hand.",
    setting="The resident model (4 layers of 6 heads, width 192) in place of a small one with "
    "planted induction: it has none (it foretells no more of a random string's second copy than "
    "of its first), and a model of two layers did not learn it in the time of a seed, so that the "
    "induction latent is looked for and reported without deciding. 80,000 tokens that the model "
    f"was not trained on, other documents to measure. Dictionary of {LATENTS} latents (8 times the "
    f"width), ReLU with L1 held at L0 = {L0:g}, on the input of the second layer's output "
    f"projection, {STEPS} steps of {BATCH} tokens. The context of a token is itself or one of the "
    "three tokens before it; a unit's purity is the share of its 40 strongest tokens that agree, "
    "in the kind of context where they agree most. That kind is its family where 1 % of the "
    "latents or fewer agree as much on the contexts of other tokens. A head's latents are the ten "
    "of largest share, and a family has two of them or more. Components and neurons count once "
    "for each sign, and fire as often as the latents on average.",
    arms={
        "model": "the resident model on planted copies",
        "dictionary": "the dictionary's latents",
        "pca": "principal components, both signs",
        "neurons": "single elements of what the heads mix, both signs",
        "random directions": "control: random directions, as many as components and signs",
        "mean": "control: the mean activation in place of the dictionary's reconstruction",
        "other contexts": "control: the dictionary's latents with the contexts of other tokens",
    },
    recipes=("relu-l1",),
    needs=NEEDS,
    checks=(
        Check(
            "loss recovered against zero ablation",
            lambda f: f["dictionary"]["loss_recovered_zero"],
            at_least=0.8,
            control=lambda f: f["mean"]["loss_recovered_zero"],
        ),
        Check("L0 on other text", lambda f: f["dictionary"]["l0"], at_most=15.0),
        Check(
            "purity of latents less that of components and of neurons, whichever is purer",
            lambda f: f["dictionary"]["purity"] - max(f["pca"]["purity"], f["neurons"]["purity"]),
            at_least=0.1,
            control=lambda f: (
                f["random directions"]["purity"] - max(f["pca"]["purity"], f["neurons"]["purity"])
            ),
        ),
        Check(
            "the same of all tokens on which a unit fires, weighted by how strongly",
            lambda f: (
                f["dictionary"]["purity_of_all_firing"]
                - max(f[arm]["purity_of_all_firing"] for arm in ("pca", "neurons"))
            ),
            at_least=0.1,
            control=lambda f: (
                f["random directions"]["purity_of_all_firing"]
                - max(f[arm]["purity_of_all_firing"] for arm in ("pca", "neurons"))
            ),
            required=False,
        ),
        Check(
            "share of heads with latents of two families or more",
            lambda f: f["dictionary"]["heads_of_two_families"],
            at_least=0.5,
            control=lambda f: f["other contexts"]["heads_of_two_families"],
        ),
        Check(
            "share of a latent's firing that is in second copies, of the best latent, chosen on "
            "other rows",
            lambda f: f["dictionary"]["induction_precision"],
            at_least=0.8,
            control=lambda f: f["other contexts"]["induction_precision"],
            required=False,
        ),
    ),
)
def attention_output(trial: Trial) -> Measured:
    """Train the dictionary, and look at its latents, at components and at neurons."""
    sizes = [max(1024, trial.steps(size)) for size in (TRAIN, TEST, SPLICED)]
    kept, held = (
        store(part, (POINT,), trial.seed, size)
        for part, size in zip(("train", "test"), sizes[:2], strict=True)
    )
    dictionary = isthmus.fit(
        "relu-l1", kept.source(POINT), latent_dim=LATENTS, l0=L0, steps=trial.steps(STEPS),
        batch_size=BATCH, lr=RATE, seed=trial.seed, progress=False,
    )  # fmt: skip
    index = torch.arange(len(held))
    where = held.where(index)
    late = where["place"] > BACK  # the row's first token stands for no text
    x, rows, places = held.rows(POINT, index)[late], where["row"][late], where["place"][late]
    text = tokens("test", trial.seed, sizes[1])
    context = Contexts(
        torch.stack([text.ids[rows, places - d] for d in range(BACK + 1)], 1).numpy()
    )
    # Chance is found on one shuffle and the control looked at on another.
    other, again = (context.shuffled(trial.seed, stream) for stream in (3, 4))
    codes, shares = dictionary.encode(x.numpy()), head_shares(dictionary, HEADS)
    least = _by_chance(codes, other)

    short = tokens("test", trial.seed, sizes[2])
    kept_of = behaviour(host(), POINT, dictionary, short, seed=trial.seed)
    found = isthmus.evaluate(dictionary, x)
    named = ("ce", "added_ce", "loss_recovered_zero", "loss_recovered_mean",
             "loss_recovered_resample")  # fmt: skip
    seen = {name: kept_of[name] for name in named}
    seen |= {name: found[name] for name in ("l0", "fvu", "dead_share")}
    copies = planted(text, max(8, trial.steps(COPIED)), trial.seed)
    fired = torch.from_numpy(dictionary.encode(_mixed(copies).numpy()) > 0).unflatten(
        0, copies.shape
    )
    second = torch.zeros(copies.shape, dtype=torch.bool)
    second[:, 2 * BETWEEN + STRING + 1 : 2 * BETWEEN + 2 * STRING] = True
    generator = torch.Generator().manual_seed(trial.seed)
    moved = second.flatten()[torch.randperm(second.numel(), generator=generator)]
    zero, mean, clean = (kept_of[name].value for name in ("ce_zero", "ce_mean", "ce"))
    figures: Measured = {
        "model": _foretold(copies),
        "dictionary": seen
        | _looked_at(codes, context)
        | _heads(codes, context, shares, least)
        | _induction(fired, second)
        | _sources(dictionary, codes, context, text),
        "mean": {"loss_recovered_zero": (zero - mean) / (zero - clean)},
        "other contexts": _looked_at(codes, again)
        | _heads(codes, again, shares, least)
        | _induction(fired, moved.view_as(second)),
    }
    average = kept.mean(POINT)
    rate = found["l0"].value / LATENTS
    sample = kept.rows(POINT, torch.arange(0, len(kept), max(1, len(kept) // 20_000)))
    for arm, directions in _bases(sample, trial.seed).items():
        projected = ((x - average) @ directions.T).numpy()
        both = np.concatenate([projected, -projected], 1)
        firing = np.where(_strongest(both, rate), both.clip(0), 0.0)
        figures[arm] = _looked_at(firing, context)
    return figures


# --- planted copies ------------------------------------------------------------------------------


def planted(text: Tokens, count: int, seed: int) -> Tensor:
    """Rows of text around two copies of a random string, int64 ``(count, places)``."""
    rng = np.random.default_rng([seed, 2])
    length = 3 * BETWEEN
    long = (text.mask.sum(1) > length).nonzero().flatten().numpy()
    own = text.ids[torch.from_numpy(rng.choice(long, count))]
    special = sorted(host().tokenizer.special)
    free = np.setdiff1d(np.arange(host().tokenizer.vocabulary), special)
    string = torch.from_numpy(rng.choice(free, (count, STRING)))
    parts = [own[:, 1 + i * BETWEEN : 1 + (i + 1) * BETWEEN] for i in range(3)]
    return torch.cat([parts[0], string, parts[1], string, parts[2]], 1)


def _mixed(ids: Tensor) -> Tensor:
    """What the heads mix behind a BOS, ``(rows * places, width)``."""
    return Activations(host().module, POINT)(_begun(ids))[POINT][:, 1:].flatten(0, 1)


def _begun(ids: Tensor) -> Tensor:
    return torch.cat([torch.full((len(ids), 1), host().tokenizer.bos or 0), ids], 1)


def _foretold(ids: Tensor) -> dict[str, float | Result]:
    """Loss of each copy but for its first token, and how often the second is foretold."""
    log_p = host().logits(_begun(ids))[:, 1:-1].log_softmax(-1)
    loss, right = -log_p.gather(2, ids[:, 1:, None])[..., 0], log_p.argmax(-1) == ids[:, 1:]
    begin = (BETWEEN, 2 * BETWEEN + STRING)
    first, second = (slice(at, at + STRING - 1) for at in begin)
    return {
        "first_copy_loss": float(loss[:, first].mean()),
        "second_copy_loss": float(loss[:, second].mean()),
        "second_copy_foretold": float(right[:, second].double().mean()),
    }


def _induction(fired: Tensor, second: Tensor) -> dict[str, float | Result]:
    """Precision and recall for second copies of the latent that is best on the other half."""
    half = len(fired) // 2
    chosen, judged = fired[:half][second[:half]], fired[half:][second[half:]]
    counts, hits = fired[:half].sum((0, 1)), chosen.sum(0)
    best = int(torch.where(counts >= TOP // 2, hits / counts.clamp_min(1), -1.0).argmax())
    both, every = float(judged[:, best].sum()), float(fired[half:, :, best].sum())
    return {
        "induction_precision": both / every if every else 0.0,
        "induction_recall": both / max(1, len(judged)),
    }


# --- contexts and units --------------------------------------------------------------------------


@dataclass(frozen=True)
class Contexts:
    """The kinds of context of each token, as numbers: int64 ``(tokens, kinds)``."""

    kinds: np.ndarray

    def shuffled(self, seed: int, stream: int) -> "Contexts":
        """Each token with the contexts of another."""
        return Contexts(np.random.default_rng([seed, stream]).permutation(self.kinds))

    def agreement(self, which: np.ndarray) -> np.ndarray:
        """How much some tokens agree in each kind, ``(kinds,)``."""
        return np.array([np.bincount(kind).max() / len(which) for kind in self.kinds[which].T])


def agreements(units: np.ndarray, context: Contexts) -> tuple[np.ndarray, np.ndarray]:
    """The units ``(tokens, units)`` that are positive often enough, and their agreements.

    ``(often,)`` and ``(often, kinds)``, each of a unit's strongest tokens.
    """
    often = np.flatnonzero((units > 0).sum(0) >= TOP)
    strongest = [np.argpartition(-units[:, i], TOP - 1)[:TOP] for i in often]
    agreed = [context.agreement(which) for which in strongest]
    return often, np.array(agreed).reshape(-1, context.kinds.shape[1])


def _looked_at(units: np.ndarray, context: Contexts) -> dict[str, float | Result]:
    """The purity of units, of their strongest tokens and of all, weighted by how they fire."""
    often, agreed = agreements(units, context)
    every = []
    for i in often:
        on = np.flatnonzero(units[:, i] > 0)
        mass = units[on, i]
        shares = [np.bincount(kind, mass).max() for kind in context.kinds[on].T]
        every.append(max(shares) / mass.sum())
    return {
        "purity": float(agreed.max(1).mean()) if len(often) else 0.0,
        "purity_of_all_firing": float(np.mean(every)) if every else 0.0,
        "units": float(len(often)),
    }


def _by_chance(units: np.ndarray, other: Contexts) -> float:
    """The agreement that few latents reach on contexts of other tokens."""
    agreed = agreements(units, other)[1]
    return float(np.quantile(agreed.max(1), 1.0 - CHANCE)) if len(agreed) else 1.0


def _heads(
    units: np.ndarray, context: Contexts, shares: Tensor, least: float
) -> dict[str, float | Result]:
    """Families of the latents of largest share in each head.

    A latent has one where its tokens agree by more than ``least``.
    """
    often, agreed = agreements(units, context)
    own, family = shares.numpy()[often], agreed.argmax(1)
    some = agreed.max(1) > least
    families, named = [], 0
    for head in range(HEADS):
        mine = np.argsort(-own[:, head])[:OF_HEAD]
        count = np.bincount(family[mine[some[mine]]], minlength=context.kinds.shape[1])
        families.append(int((count >= OF_FAMILY).sum()))
        named += int(count.sum())
    return {
        "least_agreement": least,
        "latents_of_a_family": named / (HEADS * OF_HEAD),
        "families_of_a_head": float(np.mean(families)),
        "heads_of_two_families": float(np.mean([count >= 2 for count in families])),
        "largest_shares": float(np.sort(own, 0)[-OF_HEAD:].mean()) if len(own) else 0.0,
    }


def _strongest(units: np.ndarray, rate: float) -> np.ndarray:
    """Where each unit is among its strongest ``rate`` of the tokens."""
    least = np.partition(units, -max(TOP, round(rate * len(units))), axis=0)
    return units >= least[-max(TOP, round(rate * len(units)))]


def _bases(x: Tensor, seed: int) -> dict[str, Tensor]:
    """Directions of norm 1, ``(directions, elements)``: components, neurons, random ones."""
    width = x.shape[1]
    components = torch.linalg.eigh(torch.cov(x.T.double()))[1].T.float()
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(width, width, generator=generator)
    return {
        "pca": components,
        "neurons": torch.eye(width),
        "random directions": random / random.norm(dim=1, keepdim=True),
    }


def _sources(
    dictionary: Autoencoder, units: np.ndarray, context: Contexts, text: Tokens
) -> dict[str, float | Result]:
    """How much of a latent comes from the token that names its family, and from any such place.

    By direct feature attribution, over the purest latents of families of earlier tokens.
    """
    often, agreed = agreements(units, context)
    order = [i for i in np.argsort(-agreed.max(1)) if agreed[i].argmax() > 0][:TRACED]
    brought, whole = 0.0, 0.0
    for i in order:
        back = int(agreed[i].argmax())
        strongest = np.argpartition(-units[:, often[i]], TOP - 1)[:TOP]
        top = int(np.bincount(context.kinds[strongest, back]).argmax())
        rows = (text.ids == top).any(1).nonzero().flatten()[:TRACED_ROWS]
        for row in rows.tolist():
            ids = text.ids[row][text.mask[row]]
            found = direct_attribution(host(), LAYER, dictionary, int(often[i]), ids)
            fires = (found.pre_activations > 0).nonzero().flatten()
            fires = fires[fires > BACK]
            brought += float(found.by_source[fires, fires - back].clamp_min(0).sum())
            whole += float(found.by_source[fires].clamp_min(0).sum())
    return {"from_its_family": brought / whole if whole else 0.0, "traced": float(len(order))}
