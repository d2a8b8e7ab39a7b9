"""Attention heads by codes that only solvable prompts have, beside the ablation of every head."""

# About 75 CPU seconds a seed: six hosts of 300 to 800 steps at 12 ms, 24 fits of 500 at 2 ms.

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from isthmus.data.made.circuit_tasks import Prompts, circuit_task
from isthmus.interpretation.circuits import (
    Ablated,
    ablate_heads,
    answer_odds,
    attribute_heads,
    code_scores,
    discrete_codes,
    edge_scores,
    head_outputs,
)
from isthmus.interpretation.circuits.head_codes import OPTIONS
from isthmus.interpretation.circuits.head_points import At
from isthmus.language import LanguageModel
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches.task_hosts import HEADS, LAYERS, STEPS, task_host

PROMPTS, LEARNT, HOSTS, DEALS = 250, 10, 2, 10
PRICES = (0.01, 0.02, 0.04)
LEAST = 0.1
"""A head is in the circuit whose ablation moves the answer's odds by more than this share."""
LOW, PUBLISHED, HIGH = PRICES
CODED: tuple[tuple[At, float], ...] = (*(("last", price) for price in PRICES), ("mean", PUBLISHED))
"""Which outputs a dictionary is learnt from, and at which price."""


@experiment(
    "discrete-circuits",
    family="circuits",
    catalogue=3,
    paper="O'Neill, Bui 2024, Sparse Autoencoders Enable Scalable and Reliable Circuit "
    "Identification in Language Models, arXiv:2405.12522",
    statement="Heads of a circuit are those with discrete codes that occur on prompts which the "
    "model can answer and never on corrupted ones.",
    headline="IOI and greater-than in GPT-2 small, docstrings in a model of 4 layers: area under "
    "the ROC curve of heads 0.87, 0.86 and 0.87 (the authors' released results), from ten prompts "
    "and in seconds.",
    recipes=("relu-l1",),
    setting=f"Transformers of {LAYERS} layers and {HEADS} heads, {HOSTS} for each of the tasks "
    f"{', '.join(STEPS)}. The truth is exact: the mean ablation of every head by itself; a head is "
    f"in the circuit where that moves the odds of the right answer by more than {LEAST:.0%} of "
    "what the ablation of all heads does. A relu-l1 dictionary of 200 latents at a price of "
    f"{PUBLISHED}, {OPTIONS['steps']} steps on the outputs of all heads at the last place of "
    f"{LEARNT} prompts, as in the authors' code; codes are counted on {PROMPTS} prompts and as "
    "many corrupted ones. The area under the ROC curve is the mean over hosts whose truth has "
    "heads of both kinds. The rival is the same count where prompts are dealt out to both kinds at "
    "random: what a head gains by having many codes. Time is not compared: eight heads are ablated "
    "in less than a dictionary takes.",
    arms={
        "codes": "codes that are seen on solvable prompts alone",
        "shuffled": f"the same where prompts are dealt out to both kinds, mean of {DEALS} deals",
        "shuffled again": f"control: {DEALS} other deals",
        "ablation": "positive control: ablation measured on other prompts",
        "attribution": "attribution patching, which is to first order",
        "mean": "codes of the mean output over places",
        "few": f"codes counted on {LEARNT} prompts of each kind",
        "edges": "heads by how often they are in the first quarter of pairs by common codes",
        "host": "the models themselves",
    },
    primary=Primary(
        less("auc", "codes", than="shuffled"), above=0.0, positive="ablation",
        negative="shuffled again",
    ),
    premises=(
        Premise(value("accuracy", "host"), above=0.9, why="the models do their tasks"),
        Premise(
            value("both", "host").named("share of models with heads in and out of the circuit"),
            above=0.5, why="else there is nothing to tell apart",
        ),
    ),
    secondary=(
        Secondary(value("auc", "codes", null=0.5), above=0.5),
        Secondary(less("auc", "codes", than="attribution"), above=0.0),
        Secondary(less("auc", "mean", than="codes"), above=0.0),
        Secondary(value("auc", "few", null=0.5), above=0.5),
        Secondary(value("auc", "edges", null=0.5), above=0.5),
        Secondary(
            value("spread", "codes").named(f"spread of the area over prices {LOW} to {HIGH}"),
            below=0.1, source="ours",
        ),
    ),
)  # fmt: skip
def discrete_circuits(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: six models, and how well each score tells the heads of their circuits."""
    hosts = [(task, number) for task in STEPS for number in range(HOSTS)]
    parts = [scored(task, number, trial) for task, number in hosts]
    truths = [part.pop("truth") for part in parts]
    both = [0 < truth.sum() < truth.size for truth in truths]
    known = [(part, truth) for part, truth, usable in zip(parts, truths, both, strict=True)
             if usable]  # fmt: skip
    areas = {
        arm: [area(part[arm], truth) for part, truth in known]
        for arm in parts[0] if arm != "accuracy"
    }  # fmt: skip
    prices = np.array([areas.pop(f"price {price}") for price in PRICES])
    figures = {arm: {"auc": _mean(one)} for arm, one in areas.items()}
    figures["codes"] = {"auc": _mean(prices[1]), "spread": float(np.ptp(prices.mean(1)))}
    accuracy = [float(part["accuracy"].mean()) for part in parts]
    figures["host"] = {"accuracy": _mean(accuracy), "both": _mean(both)}
    return figures


def scored(task: str, number: int, trial: Trial) -> dict[str, np.ndarray]:
    """One model: the truth, and the scores of its heads by every arm, ``(..., heads)`` each."""
    model = task_host(task, trial, number)
    rng = np.random.default_rng([trial.seed, number, 1])
    prompts, others = (circuit_task(task).prompts(PROMPTS, rng) for _ in range(2))
    exact, again = (_ablated(model, part) for part in (prompts, others))
    right = prompts.right.gather(1, model.logits(prompts.tokens)[:, -1].argmax(1, keepdim=True))
    metric = answer_odds(prompts.right, prompts.wrong)
    scores = {
        "truth": exact.circuit(LEAST).numpy().ravel(),
        "accuracy": right.double().numpy(),
        "ablation": again.effects.abs().numpy(),
        "attribution": attribute_heads(model, prompts.tokens, prompts.corrupted, metric).numpy(),
    }
    few = slice(LEARNT)
    for place, price in CODED:
        both = torch.cat([head_outputs(model, part, at=place) for part in
                          (prompts.tokens, prompts.corrupted)])  # fmt: skip
        codes = _codes(trial, both, price, np.random.default_rng([trial.seed, number, 2]))
        positive, negative = codes[:PROMPTS], codes[PROMPTS:]
        counts = code_scores(positive, negative)
        scores["mean" if place == "mean" else f"price {price}"] = counts
        if place == "last" and price == PUBLISHED:
            scores["few"] = code_scores(positive[few], negative[few])
            scores["edges"] = among_edges(edge_scores(positive, negative))
            for arm in ("shuffled", "shuffled again"):
                deals = [rng.permutation(codes) for _ in range(DEALS)]
                scores[arm] = np.stack([code_scores(d[:PROMPTS], d[PROMPTS:]) for d in deals])
    return scores


def _codes(trial: Trial, outputs: Tensor, price: float, rng: np.random.Generator) -> np.ndarray:
    """Codes of all prompts, by a dictionary that was learnt from a few of either kind."""
    rows = outputs[torch.from_numpy(rng.permutation(len(outputs))[:LEARNT])].flatten(0, -2)
    options = {**OPTIONS, "sparsity": price, "batch_size": len(rows)}
    return discrete_codes(trial.fit("relu-l1", rows.numpy(), **options), outputs)


def _ablated(model: LanguageModel, prompts: Prompts) -> Ablated:
    metric = answer_odds(prompts.right, prompts.wrong)
    return ablate_heads(model, prompts.tokens, prompts.corrupted, metric)


def among_edges(edges: np.ndarray) -> np.ndarray:
    """How often each head is in the first quarter of the pairs, the highest scores first."""
    pairs = np.triu_indices(len(edges), 1)
    first = np.argsort(-edges[pairs], kind="stable")[: max(1, len(pairs[0]) // 4)]
    counts: np.ndarray = np.bincount(np.concatenate([one[first] for one in pairs]),
                                     minlength=len(edges))  # fmt: skip
    return counts


def area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve, the mean over deals where there are several ``(deals, ...)``."""
    rows = scores.reshape(-1, truth.size)
    return _mean([float(roc_auc_score(truth, row)) for row in rows])


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values))
