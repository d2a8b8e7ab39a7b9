"""Labels: can it be said when a latent fires, more easily than of a neuron?"""

# About 2.5 CPU minutes a seed: 1100 rules searched and scored and 512 more searched at 60 to 80 ms
# each, a dictionary of 2000 steps at 9 ms, four small ones of 500.

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import Store, StoreSource
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import TopK
from isthmus.evaluation import fvu
from isthmus.interpretation import Settings, source_features
from isthmus.interpretation.labels import Label, Labelling, label
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches import language
from isthmus.studies.interpret.rule_overlap import applies, by_distance, shared, shared_windows

LAYERS = tuple(f"layers.{i}" for i in range(4))
NEURONS, WORDS = "layers.1.mlp.down:in", "embed"
TRAIN, TEST = 200_000, 50_000
"""Tokens that dictionaries are trained on, and tokens that the model has not seen either, which are
explained."""

WIDTH, ACTIVE, NEURONS_ACTIVE = 1024, 16, 12
"""768 neurons with 12 active are as sparse as 1024 latents with 16."""
LABELLED, LEAST = 200, 8
"""Latents of a kind that are labelled, and in a probe."""
RARE = 5e-4
"""Latents that fire on a smaller share of the tokens have too few examples to be explained."""
APART = 0.9
"""In the positive control, how much of its length another token's embedding has to have along that
of a latent's token for the latent to fire."""

TRAINING: dict[str, Any] = {"batch_size": 1024, "lr_schedule": "linear", "average": None}
STEPS, LAYER_STEPS, LAYER_WIDTH, LAYER_ACTIVE = 2000, 500, 128, 8
"""Dictionaries that are compared by layer are small, so that all their latents can have rules."""
REDEALT = 16
"""How often the rules are dealt out to the layers anew."""

EXAMPLES = 40
"""Windows that a rule is found from, whichever way they are chosen."""
KEPT = Settings(top=2 * EXAMPLES, each=10)


@experiment(
    "labels",
    family="interpret",
    catalogue=15,
    paper="Paulo, Mallen, Juang, Belrose 2024, Automatically Interpreting Millions of Features in "
    "Large Language Models, arXiv:2410.13928",
    statement="Latents of a sparse dictionary are much easier to explain than neurons, even where "
    "neurons are made sparse by keeping the largest.",
    headline="Llama 3.1 8B and Gemma 2 9B, explained and judged by language models: no single "
    "number in the abstract.",
    setting="The resident model; 200,000 tokens of its training text for the dictionaries, "
    "50,000 that it has not seen for labels and scores. TopK on the residual stream after layer 1, "
    "1024 latents, k = 16, 2000 steps of 1024, the rate falling to zero. In place of a language "
    "model a greedy rule list over tokens, words and characters, run as its own judge on rows of "
    "text that the search did not see; the score is detection, 200 latents of each kind, at most "
    "40 examples each. Neurons are those of the MLP of the same layer after its GELU, the 12 "
    "largest of a token's 768, as sparse as the latents. By layer: all latents of four "
    "dictionaries of 128, k = 8, 500 steps; two rules overlap by the share of places in the text "
    "where both apply among those where either does, best match of each. What a rule list cannot "
    "say counts against a latent: a language model might say it.",
    recipes=("topk",),
    needs=language.NEEDS,
    seeds=6,
    arms={
        "topk": "TopK latents of the residual stream after layer 1",
        "neurons": "neurons of the same layer's MLP, only the 12 strongest of each token kept",
        "random": "random directions of the residual stream, standardised, only the 16 strongest",
        "top only": "TopK, its rules found from the strongest examples alone",
        "layers": "rules of the dictionaries of all four layers, compared",
        "redealt": "the rules of all layers, dealt out to the layers anew, 16 times",
        "tokens": "positive control: latents that each read one frequent token's embedding",
        "other neurons": "control: as many other neurons of the same MLP",
    },
    primary=Primary(
        less("detection", "topk", than="neurons").named(
            "balanced accuracy (detection) of the labels of TopK's latents less that of neurons'"
        ),
        above=0.0, positive="tokens", negative="other neurons",
    ),
    premises=(
        Premise(
            value("error_over_pca", "topk"), below=1.0,
            why="the dictionary rebuilds better than as many principal components as are active",
        ),
        Premise(value("latents", "topk"), above=150, why="enough latents fire often enough"),
        Premise(value("latents", "neurons"), above=150, why="enough neurons fire often enough"),
    ),
    secondary=(
        Secondary(less("fuzzing", "topk", than="neurons"), above=0.0),
        Secondary(less("detection", "topk", than="random"), above=0.0),
        Secondary(less("detection", "topk", than="top only"), above=0.0),
        Secondary(less("fuzzing", "topk", than="top only"), above=0.0),
        Secondary(
            less("adjacent_less_distant", "layers", than="redealt").named(
                "overlap of rules of adjacent layers less that of layers further apart, and less "
                "that of rules dealt out anew"
            ),
            above=0.0,
        ),
    ),
)  # fmt: skip
def labels(trial: Trial) -> dict[str, dict[str, float]]:
    """Rules for latents, neurons, random directions and tokens, and for latents of all layers."""
    train = language.store("train", (*LAYERS, WORDS), trial.seed, trial.rows(TRAIN, least=8000))
    explained = trial.rows(TEST, least=8000)  # with less text latents have no examples
    test = language.store("test", (*LAYERS, NEURONS, WORDS), trial.seed, explained)
    model = _dictionary(train, language.POINT, trial, STEPS, WIDTH, ACTIVE)
    point, tokens = test.source(language.POINT), _tokens(train)
    with tempfile.TemporaryDirectory(prefix="isthmus-") as name:
        folder = Path(name)
        latents = _Kind(folder / "latents", point, model, trial)
        neurons = _Kind(folder / "neurons", test.source(NEURONS), _neurons(test), trial)
        directions = _random_directions(train, trial.seed)
        random = _Kind(folder / "random", point, directions, trial)
        known = _Kind(folder / "tokens", test.source(WORDS), tokens, trial)
        figures = {
            "topk": _scores(latents.label()),
            "neurons": _scores(neurons.label()),
            "random": _scores(random.label()),
            "top only": _scores(latents.label("top")),
            "tokens": _scores(known.label()),
            "other neurons": _scores(neurons.label(drawn=1)),
        }
        overlaps, layer = _rules_by_layer(folder, train, test, trial)
    figures["topk"]["error_over_pca"] = _error_over_pca(model, train, test)
    figures["layers"] = {**_near_and_far(overlaps, layer), "rules": float(len(layer))}
    rng = np.random.default_rng([trial.seed, 16])
    redealt = [_near_and_far(overlaps, rng.permutation(layer)) for _ in range(REDEALT)]
    figures["redealt"] = {one: float(np.mean([r[one] for r in redealt])) for one in redealt[0]}
    return figures


class _Kind:
    """The features of an autoencoder in a folder, and which of its latents are labelled."""

    def __init__(
        self, folder: Path, source: StoreSource, model: Autoencoder, trial: Trial,
        settings: Settings = KEPT,
    ) -> None:  # fmt: skip
        self.folder, self.seed = folder, trial.seed
        self.number = LEAST if trial.probing else trial.rows(LABELLED, least=LEAST)
        features = source_features(source, model, folder, settings=settings, progress=False)
        often = np.flatnonzero(features.column("rate") > RARE)
        self.latents = np.random.default_rng([trial.seed, 15]).permutation(often)

    def label(self, sample: Literal["deciles", "top"] = "deciles", drawn: int = 0) -> Labelling:
        """Rules from examples of all deciles or from the strongest, scored on other rows.

        ``drawn`` 1 takes other latents than 0.
        """
        some = self.latents[drawn * self.number : (drawn + 1) * self.number].tolist()
        return label(
            self.folder, latents=some, seed=self.seed, progress=False, sample=sample,
            examples=EXAMPLES, control=False, write=False,
        )  # fmt: skip

    def rules(self) -> list[Label]:
        """Rules alone, of all latents (as many as are labelled, in a probe), not scored."""
        some = self.latents[: max(self.number, LAYER_WIDTH) if self.number > LEAST else LEAST]
        return label(
            self.folder, scorers=(), latents=some.tolist(), seed=self.seed, progress=False,
            examples=EXAMPLES, control=False, write=False,
        ).labels  # fmt: skip


def _scores(labelling: Labelling) -> dict[str, float]:
    """Both scores, and what is said of the rules."""
    rules = [one for one in labelling.labels if one.metric == "detection"]
    return {
        **{name: score.value for name, score in labelling.summary().items()},
        "size": float(np.mean([one.detail["size"] for one in rules])),
        "latents": float(len(rules)),
    }


def _dictionary(
    train: Store, point: str, trial: Trial, steps: int, width: int, k: int
) -> Autoencoder:
    source = train.source(point)
    return trial.fit("topk", source, steps=steps, latent_dim=width, k=k, lr=2e-3, **TRAINING)


def _error_over_pca(model: Autoencoder, train: Store, test: Store) -> float:
    """FVU on other documents, divided by that of as many principal components as are active."""
    seen, held = (
        store.rows(language.POINT, torch.arange(min(len(store), 20_000))).numpy()
        for store in (train, test)
    )
    mean = seen.mean(0)
    axes = np.linalg.svd(seen - mean, full_matrices=False)[2][:ACTIVE]
    rebuilt = (held - mean) @ axes.T @ axes + mean
    return float(fvu(held, model.reconstruct(held)).value / fvu(held, rebuilt).value)


def _neurons(test: Store) -> Autoencoder:
    """Neurons as they are."""
    signal = test.source(NEURONS).signal
    return _fixed(signal, torch.eye(signal.numel), torch.zeros(signal.numel), NEURONS_ACTIVE)


def _random_directions(train: Store, seed: int) -> Autoencoder:
    """As many random directions as the dictionary has latents, each of mean 0 and variance 1."""
    generator = torch.Generator().manual_seed(seed)
    source = train.source(language.POINT)
    weight = torch.randn(WIDTH, source.signal.numel, generator=generator)
    some = torch.randperm(len(source), generator=generator)[:8192]
    values = source.rows(some) @ weight.T
    spread = values.std(0)
    return _fixed(source.signal, weight / spread[:, None], -values.mean(0) / spread, ACTIVE)


def _tokens(train: Store) -> Autoencoder:
    """A latent for each of the most frequent tokens, which fires on its embedding."""
    source = train.source(WORDS)
    embeddings, count = torch.unique(
        train.rows(WORDS, torch.arange(min(len(train), 50_000))), dim=0, return_counts=True
    )
    frequent = embeddings[count.argsort(descending=True)[:WIDTH]]
    weight = frequent / frequent.square().sum(1, keepdim=True)
    return _fixed(source.signal, weight, torch.full((len(weight),), -APART), 1)


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
    matches, windows = [], None
    for layer in LAYERS:
        model = _dictionary(train, layer, trial, LAYER_STEPS, LAYER_WIDTH, LAYER_ACTIVE)
        kind = _Kind(folder / layer, test.source(layer), model, trial, Settings())
        windows = windows or shared_windows(kind.folder, int(kind.latents[0]))
        matches.append(applies(kind.rules(), windows))
    sizes = [len(some) for some in matches]
    return shared(np.concatenate(matches)), np.repeat(np.arange(len(LAYERS)), sizes)


def _near_and_far(overlaps: np.ndarray, layer: np.ndarray) -> dict[str, float]:
    """The mean overlap of adjacent layers, and of those two or three apart."""
    overlaps_by_distance = by_distance(overlaps, layer)
    far = float(np.mean([one for n, some in overlaps_by_distance.items() if n > 1 for one in some]))
    near = float(np.mean(overlaps_by_distance[1]))
    return {"adjacent": near, "distant": far, "adjacent_less_distant": near - far}
