"""Labels: can it be said when a latent fires, more easily than of a neuron?"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.activations import Store, StoreSource
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import TopK
from isthmus.evaluation import Result
from isthmus.interpretation import Settings, source_features
from isthmus.interpretation.labels import Label, Labelling, label, score_difference
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.interpret import resident
from isthmus.studies.interpret.rule_overlap import applies, by_distance, shared, shared_windows

LAYERS = tuple(f"layers.{i}" for i in range(4))
NEURONS = "layers.1.mlp.down:in"
TRAIN, TEST = 80_000, 50_000
"""Tokens that dictionaries are trained on, and tokens of other documents that are explained."""

LEAST_TOKENS, LEAST_LABELLED = 6000, 8
"""However small the budget."""

WIDTH, ACTIVE, NEURONS_ACTIVE = 1024, 16, 12
"""768 neurons with 12 active are as sparse as 1024 latents with 16."""
STEPS, RATE, LABELLED = 500, 4e-3, 100
"""Of the dictionary that is labelled, and how many of its latents are drawn."""

REDEALT = 16
"""How often the rules are dealt out to the layers anew."""

LAYER_WIDTH, LAYER_ACTIVE, LAYER_STEPS = 128, 8, 300
"""Dictionaries that are compared by layer: small, so that all their latents can have rules."""
RARE = 5e-4
"""Latents that fire on a smaller share of the tokens have too few examples to be explained."""

EXAMPLES = 40
"""Windows that a rule is found from, whichever way they are chosen."""
KEPT = Settings(top=2 * EXAMPLES, each=10)

Measured = dict[str, float | Result]


def _gain(over: str) -> Callable[[Figures], float]:
    return lambda f: f["topk"]["detection"] - f[over]["detection"]


def _shuffled_gain(over: str) -> Callable[[Figures], float]:
    return lambda f: f["shuffled"]["topk"] - f["shuffled"][over]


@study(
    "labels",
    family="interpret",
    catalogue=15,
    paper="Paulo, Mallen, Juang, Belrose 2024, Automatically Interpreting Millions of Features in "
    "Large Language Models",
    statement="Latents of a sparse dictionary are easier to explain than neurons, even if only "
    "the strongest of these count; explanations from examples of all strengths hold better than "
    "those from the strongest; dictionaries of neighbouring layers share explanations.",
    headline="Llama 3.1 8B and Gemma 2 9B, explained and judged by language models: no single "
    "number (figures 3 to 5).",
    setting="The resident model; 80,000 tokens that it was not trained on for the dictionaries, "
    "50,000 of other documents for labels and scores. TopK on the residual stream after layer 1, "
    "1024 latents, k = 16, 500 steps of 1024, the rate falling to zero. In place of a language "
    "model a greedy rule list over tokens, words and characters, run as its own judge on rows of "
    "text that the search did not see; the score is detection, 100 latents of each kind, at most "
    "40 examples each, as many for rules from the strongest as for those from all deciles. "
    "Neurons are those of the MLP of the same layer after its GELU, the 12 largest of a token's "
    "768. By layer: all latents of four dictionaries of 128, k = 8, 300 steps; two rules overlap "
    "by the share "
    "of places in the text where both apply among those where either does, best match of each.",
    arms={
        "topk": "TopK latents of the residual stream after layer 1",
        "neurons": "neurons of the same layer's MLP, only the 12 strongest of each token kept",
        "random": "random directions of the residual stream, standardised, only the 16 strongest",
        "top only": "TopK, its rules found from the strongest examples alone",
        "layers": "rules of the dictionaries of all four layers, compared",
        "shuffled": "control: the same labels, each scored on another latent; rules of all layers, "
        "dealt out to the layers anew, 16 times",
    },
    recipes=("topk",),
    needs=resident.NEEDS,
    checks=(
        Check(
            "balanced accuracy (detection) of TopK's labels less that of neurons",
            _gain("neurons"),
            at_least=0.05,
            control=_shuffled_gain("neurons"),
        ),
        Check(
            "balanced accuracy of TopK's labels less that of random directions",
            _gain("random"),
            at_least=0.05,
            control=_shuffled_gain("random"),
        ),
        Check(
            "balanced accuracy of rules from all deciles less that of rules from the strongest",
            _gain("top only"),
            at_least=0.02,
            control=_shuffled_gain("top only"),
        ),
        Check(
            "balanced accuracy of marking the right tokens (fuzzing), rules from all deciles less "
            "rules from the strongest",
            lambda f: f["topk"]["fuzzing"] - f["top only"]["fuzzing"],
            at_least=0.02,
            required=False,
        ),
        Check(
            "overlap of rules: adjacent layers less layers further apart",
            lambda f: f["layers"]["adjacent"] - f["layers"]["distant"],
            at_least=0.01,
            control=lambda f: f["shuffled"]["adjacent"] - f["shuffled"]["distant"],
        ),
    ),
)
def labels(trial: Trial) -> dict[str, Measured]:
    """Rules for latents, neurons and random directions, and for latents of all layers."""
    train = resident.store("train", LAYERS, trial.seed, trial.steps(TRAIN))
    # With less text than that, latents have no examples.
    explained = max(trial.steps(TEST), LEAST_TOKENS)
    test = resident.store("test", (*LAYERS, NEURONS), trial.seed, explained)
    number = max(trial.steps(LABELLED), LEAST_LABELLED)
    point = test.source(resident.POINT)
    with tempfile.TemporaryDirectory(prefix="isthmus-") as name:
        folder, seed = Path(name), trial.seed
        dictionary = _dictionary(train, resident.POINT, seed, trial.steps(STEPS))
        kinds = {
            "topk": _Kind(folder / "topk", point, dictionary, seed, number),
            "neurons": _Kind(
                folder / "neurons", test.source(NEURONS), _neurons(test), seed, number
            ),
            "random": _Kind(
                folder / "random", point, _random_directions(train, seed), seed, number
            ),
        }
        found = {kind: one.label("deciles") for kind, one in kinds.items()}
        found["top only"] = kinds["topk"].label("top")
        figures = {name: _scores(one) for name, one in found.items()}
        for name, one in kinds.items():
            figures[name] |= {"rate": one.rate, "dead_share": one.dead_share}
        overlaps, layer = _rules_by_layer(folder, train, test, trial)
    for other in ("neurons", "random"):
        gap = score_difference(_detection(found["topk"]), _detection(found[other]), seed=seed)
        figures["topk"][f"over_{other}"] = gap
    shuffled = {name: one.summary()["detection_shuffled"] for name, one in found.items()}
    rng = np.random.default_rng([seed, 16])
    redealt = [_near_and_far(overlaps, rng.permutation(layer)) for _ in range(REDEALT)]
    mean = {name: float(np.mean([one[name] for one in redealt])) for name in redealt[0]}
    figures["shuffled"] = {**shuffled, **mean}
    figures["layers"] = {**_near_and_far(overlaps, layer), "rules": float(len(layer))}
    return figures


class _Kind:
    """The features of an autoencoder in a folder, and which of its latents are labelled."""

    def __init__(
        self, folder: Path, source: StoreSource, model: Autoencoder, seed: int,
        number: int, settings: Settings = KEPT,
    ) -> None:  # fmt: skip
        self.folder, self.seed = folder, seed
        found = source_features(source, model, folder, settings=settings, progress=False)
        rate = found.column("rate")
        self.rate, self.dead_share = float(rate.mean()), float((rate == 0).mean())
        often = np.flatnonzero(rate > RARE)
        self.latents = np.random.default_rng([seed, 15]).permutation(often)[:number].tolist()

    def label(self, sample: Literal["deciles", "top"]) -> Labelling:
        """Rules from examples of all deciles or from the strongest, scored on other rows."""
        return label(
            self.folder, latents=self.latents, seed=self.seed, progress=False, sample=sample,
            examples=EXAMPLES, write=False,
        )  # fmt: skip

    def rules(self) -> list[Label]:
        """Rules alone, not scored."""
        return label(
            self.folder, scorers=(), latents=self.latents, seed=self.seed, progress=False,
            examples=EXAMPLES, control=False, write=False,
        ).labels  # fmt: skip


def _dictionary(
    train: Store, point: str, seed: int, steps: int, width: int = WIDTH, k: int = ACTIVE
) -> Autoencoder:
    return isthmus.fit(
        "topk", train.source(point), latent_dim=width, k=k, steps=steps, batch_size=1024, lr=RATE,
        lr_schedule="linear", average=None, seed=seed, progress=False,
    )  # fmt: skip


def _neurons(test: Store) -> Autoencoder:
    """Neurons as they are."""
    signal = test.source(NEURONS).signal
    return _fixed(signal, torch.eye(signal.numel), torch.zeros(signal.numel), NEURONS_ACTIVE)


def _random_directions(train: Store, seed: int) -> Autoencoder:
    """As many random directions as the dictionary has latents, each of mean 0 and variance 1."""
    generator = torch.Generator().manual_seed(seed)
    source = train.source(resident.POINT)
    weight = torch.randn(WIDTH, source.signal.numel, generator=generator)
    some = torch.randperm(len(source), generator=generator)[:8192]
    values = source.rows(some) @ weight.T
    spread = values.std(0)
    return _fixed(source.signal, weight / spread[:, None], -values.mean(0) / spread, ACTIVE)


def _fixed(signal: Signal, weight: Tensor, bias: Tensor, k: int) -> Autoencoder:
    """A TopK code of given directions ``(latents, width)``; it is never trained."""
    dictionary = Dictionary(len(weight), signal.shape)
    encoder = DictionaryEncoder(dictionary)
    with torch.no_grad():
        encoder.weight.copy_(weight)
        encoder.bias.copy_(bias)
    bottleneck = TopK(len(weight), k, dead_after=1)
    model = Autoencoder(
        signal, encoder=encoder, bottleneck=bottleneck, decoder=dictionary, objective=MSE()
    )
    return model.eval()


def _rules_by_layer(
    folder: Path, train: Store, test: Store, trial: Trial
) -> tuple[np.ndarray, np.ndarray]:
    """How much each two rules of all layers overlap in the text, and each rule's layer."""
    found, windows = [], None
    steps, number = trial.steps(LAYER_STEPS), max(trial.steps(LAYER_WIDTH), LEAST_LABELLED)
    for layer in LAYERS:
        model = _dictionary(train, layer, trial.seed, steps, LAYER_WIDTH, LAYER_ACTIVE)
        kind = _Kind(folder / layer, test.source(layer), model, trial.seed, number, Settings())
        windows = windows or shared_windows(kind.folder, kind.latents[0])
        found.append(applies(kind.rules(), windows))
    sizes = [len(some) for some in found]
    return shared(np.concatenate(found)), np.repeat(np.arange(len(LAYERS)), sizes)


def _near_and_far(overlaps: np.ndarray, layer: np.ndarray) -> dict[str, float]:
    """The mean overlap of adjacent layers, and of those two or three apart."""
    found = by_distance(overlaps, layer)
    means = {f"{n}_apart": float(np.mean(some)) for n, some in found.items()}
    far = [one for n, some in found.items() if n > 1 for one in some]
    return {"adjacent": float(np.mean(found[1])), "distant": float(np.mean(far)), **means}


def _detection(found: Labelling) -> list[Label]:
    return [one for one in found.labels if one.metric == "detection"]


def _scores(found: Labelling) -> Measured:
    """Both scores, and what is said of the rules."""
    rules = _detection(found)
    return {
        **{name: score for name, score in found.summary().items() if "shuffled" not in name},
        "size": float(np.mean([one.detail["size"] for one in rules])),
        "fit": float(np.mean([one.detail["fit"] for one in rules])),
        "latents": float(len(rules)),
    }
