"""A dictionary on what attention heads mix: induction features, faithful, several jobs a head."""

# About 150 CPU seconds a seed: one dictionary of 1,024 latents, and 150,000 tokens of the host.
from collections.abc import Mapping

import numpy as np
import torch

from isthmus.evaluation import Result, fvu
from isthmus.interpretation import behaviour
from isthmus.interpretation.heads import head_shares
from isthmus.language import Decoder
from isthmus.studies import (
    Premise,
    Primary,
    Secondary,
    Trial,
    Tuning,
    experiment,
    less,
    quantity,
    value,
)
from isthmus.studies.benches.language import NEEDS, host, rows, store, tokens
from isthmus.studies.interpret.bases import principal
from isthmus.studies.interpret.contexts import (
    Contexts,
    by_chance,
    heads_of_two_families,
    purity,
    strongest,
)
from isthmus.studies.interpret.induction import best_units, copies, probed

HOST = "circuits"
LATENTS, L0, STEPS, BATCH, RATE = 1024, 16.0, 2000, 1024, 1.6e-3
TRAIN, TEST, SPLICED = 150_000, 16_000, 8_000
"""Tokens of text to train on, to look at latents on, and to splice on."""
TAUGHT, JUDGED = 600, 256
"""Rows with repeated strings that are trained on, and that units are chosen and judged on."""
RANKS = (100, 164)
"""Strings are of the tokens of these ranks in the training text: neither marks nor rarities."""
BACK = 3
"""Contexts are the token itself and so many before it."""

Measured = dict[str, float | Result]


@experiment(
    "attention-output",
    family="interpret",
    catalogue=11,
    paper="Kissane, Krzyzanowski, Bloom, Conmy, Nanda 2024, Interpreting Attention Layer Outputs "
    "with Sparse Autoencoders",
    statement="Dictionaries on what attention heads mix have features such as “this token is next "
    "by induction”, where single elements do not; they are faithful, and show that heads do "
    "several unrelated things.",
    headline="A sparse, interpretable decomposition with families of long-range, short-range and "
    "induction features; at least 90 % of the heads of GPT-2 small do several things (abstract).",
    setting="The language model 'circuits' (6 layers of 8 heads, width 256), in which heads that "
    "repeat were laid before it was trained (docs/resident-circuits.md); the layer whose heads "
    "attend most to what followed a token before. Dictionary of "
    f"{LATENTS:,} latents, ReLU with L1 held at L0 = {L0:g}, {STEPS:,} steps of {BATCH:,} on "
    f"{TRAIN:,} tokens of training text and {TAUGHT} rows with a string twice: 24 of 64 tokens in "
    "an order drawn at random. For each of the 64 the unit is chosen that best tells the places "
    f"where it is next by induction, on a half of {JUDGED} other rows; what counts is its average "
    "precision on the other half, mean over the tokens. Elements, components and random directions "
    "have both signs, and fire as often as the latents on average where purity is measured: the "
    "largest share of one context (the token or one of the three before) in all that a unit fires.",
    arms={
        "model": "the model on repeated strings",
        "dictionary": "the dictionary's latents",
        "neurons": "single elements of what the heads mix",
        "pca": "principal components",
        "random": "control: random directions, as many as elements",
        "probe": "positive control: a linear probe for each token, fitted on the first half",
        "mean": "the mean activation in place of the dictionary's reconstruction",
        "other-contexts": "the dictionary's latents with the contexts of other tokens",
    },
    recipes=("relu-l1",),
    needs=NEEDS,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("dictionary",)),
    primary=Primary(
        less("induction", "dictionary", than="neurons"), above=0.0, positive="probe",
        negative="random",
    ),
    premises=(
        Premise(
            quantity(
                "nats by which a token of the second copy is foretold better than in the first",
                lambda f: f["model"]["first_copy"] - f["model"]["second_copy"],
            ),
            above=2.0, why="the model has induction",
        ),
        Premise(value("induction_score", "model"), above=0.3, why="a head of the layer does it"),
        Premise(value("induction", "probe"), above=0.3, why="what is next can be read off there"),
    ),
    secondary=(
        Secondary(less("induction", "dictionary", than="pca"), above=0.0),
        Secondary(less("loss_recovered_zero", "dictionary", than="mean"), above=0.0),
        Secondary(less("purity", "dictionary", than="neurons"), above=0.0),
        Secondary(
            less("heads_of_two_families", "dictionary", than="other-contexts"), above=0.0
        ),
    ),
)  # fmt: skip
def attention_output(trial: Trial) -> Mapping[str, Measured]:
    """Train the dictionary, and look at its latents and at other units of the same rows."""
    model, seed = host(HOST), trial.seed
    module = model.module
    assert isinstance(module, Decoder)
    text = {part: tokens(part, seed, trial.rows(TRAIN), HOST) for part in ("train", "test")}
    among = common(text["train"].ids[text["train"].mask], *RANKS)
    taught, judged = (
        copies(model, text[part], among, trial.rows(count, least=128), 2 * seed + stream)
        for stream, (part, count) in enumerate((("train", TAUGHT), ("test", JUDGED)))
    )
    scores = judged.scores()
    layer = int(scores.max(1).argmax())
    point = f"layers.{layer}.attention.out:in"
    seen = rows("train", point, seed, trial.rows(TRAIN), HOST)
    data = np.concatenate([seen, taught.activations(point).numpy()])
    dictionary = trial.fit(
        "relu-l1", data, latent_dim=LATENTS, l0=L0, steps=STEPS, batch_size=BATCH,
        lr=trial.rate("dictionary", RATE), lr_schedule="linear", average=None,
    )  # fmt: skip

    x, context = _held(point, trial)
    codes = dictionary.encode(x)
    rate = float((codes > 0).mean())
    short = tokens("test", seed, trial.rows(SPLICED), HOST)
    kept = behaviour(model, point, dictionary, short, seed=seed, draws=0)
    zero, mean, clean = (kept[name].value for name in ("ce_zero", "ce_mean", "ce"))
    # Chance is found on one shuffle and the control looked at on another.
    other, again = (context.shuffled(seed, stream) for stream in (3, 4))
    shares, least = head_shares(dictionary, module.shape.heads).numpy(), by_chance(codes, other)
    first, second = judged.losses()
    figures: dict[str, Measured] = {
        "model": {
            "first_copy": first, "second_copy": second, "layer": float(layer),
            "induction_score": float(scores[layer].max()),
        },
        "dictionary": {
            "l0": float((codes > 0).sum(1).mean()),
            "fvu": fvu(x, np.asarray(dictionary.reconstruct(x))),
            "loss_recovered_zero": kept["loss_recovered_zero"],
            "added_ce": kept["added_ce"],
            "purity": purity(codes, context),
            "heads_of_two_families": heads_of_two_families(codes, context, shares, least),
        },
        "mean": {"loss_recovered_zero": (zero - mean) / (zero - clean)},
        "other-contexts": {
            "heads_of_two_families": heads_of_two_families(codes, again, shares, least)
        },
    }  # fmt: skip
    z, next_token = judged.activations(point).numpy(), judged.next_token
    figures["dictionary"]["induction"] = best_units(dictionary.encode(z), next_token, among)
    figures["probe"] = {"induction": probed(z.astype(np.float64), next_token, among)}
    centre = data.mean(0)
    for arm, basis in _bases(data, seed).items():
        figures[arm] = {
            "induction": best_units(both_signs((z - centre) @ basis.T), next_token, among),
            "purity": purity(strongest(both_signs((x - centre) @ basis.T), rate), context),
        }
    return figures


def common(ids: torch.Tensor, first: int, last: int) -> list[int]:
    """The tokens of these ranks by how often they are in ``ids``, the commonest first."""
    return ids.bincount().argsort(descending=True, stable=True)[first:last].tolist()


def _held(point: str, trial: Trial) -> tuple[np.ndarray, Contexts]:
    """Activations on unseen text, and which tokens stand there and before."""
    limit = trial.rows(TEST)
    held = store("test", (point,), trial.seed, limit, HOST)
    index = torch.arange(len(held))
    where = held.where(index)
    late = where["place"] > BACK  # the row's first token stands for no text
    ids, row, place = tokens("test", trial.seed, limit, HOST).ids, where["row"], where["place"]
    before = torch.stack([ids[row[late], place[late] - d] for d in range(BACK + 1)], 1)
    return held.rows(point, index)[late].numpy(), Contexts(before.numpy())


def both_signs(values: np.ndarray) -> np.ndarray:
    """Each column, and its negative."""
    return np.concatenate([values, -values], 1)


def _bases(data: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Directions of norm 1, ``(directions, elements)``."""
    width = data.shape[1]
    drawn = np.random.default_rng([seed, 11]).standard_normal((width, width))
    return {
        "neurons": np.eye(width),
        "pca": principal(data),
        "random": drawn / np.linalg.norm(drawn, axis=1, keepdims=True),
    }
