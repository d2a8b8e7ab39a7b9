"""DAEF against an autoencoder of the same shape that is trained by gradients."""

# About 90 CPU seconds a seed.

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

import isthmus
from isthmus import data
from isthmus.anatomy import Array, Autoencoder, Scaler
from isthmus.bottlenecks import Identity
from isthmus.data.made.manifolds import sheet
from isthmus.evaluation.anomaly import auroc
from isthmus.networks import decoder_for, encoder_for
from isthmus.networks.merged_statistics import merge
from isthmus.objectives import MSE
from isthmus.recipes import get_recipe
from isthmus.recipes.federated.daef import DAEFSolver, Solved
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, ratio, value

LATENT = 4
HIDDEN = (16, 12, 8)
PARTS = 4
EPOCHS, BRIEF = 200, 20
"""Passes of gradient training: what its AUROC takes to settle, and fewest within 0.03 of that."""

TEST_SHARE = 0.3
"""Share of the normal rows that are kept for the test."""


@experiment(
    "daef",
    family="federated",
    catalogue=62,
    paper="Novoa-Paradela, Fontenla-Romero, Guijarro-Berdiñas 2022, Fast Deep Autoencoder for "
    "Federated learning",
    statement="A deep autoencoder solved layer by layer without iterations detects anomalies as "
    "well as gradient training, is much faster, and partial models merge without raw data.",
    headline="Seven real sets: detection similar to iterative autoencoders, training time much "
    "lower.",
    setting="Breast-cancer (benign is normal), the ten one-class problems of digits, and blobs in "
    "20 dimensions around a curved 3-dimensional sheet; trained on 70 % of the normal rows, tested "
    f"on the others and all anomalies. Both networks have {LATENT} latents and logistic layers of "
    f"8, 12 and 16; Adam takes {EPOCHS} passes at 0.01, batches of 32, or {BRIEF}, which on the "
    "pilot detected about as well. CPU seconds of all twelve fits, the arms in turns of either "
    "order. Merging: "
    f"{PARTS} partitions of different sizes, weights in float64.",
    arms={
        "daef": "solved in closed form",
        "adam": f"the same shape, trained by gradients for {EPOCHS} passes",
        "adam-brief": f"the same for {BRIEF} passes, the fewest that detect about as well",
        "adam-brief-again": "control: the same once more, timed beside it",
        "pca": "positive control: PCA with as many components as latents",
        "untrained": "the gradient network before its first step",
        "merged": f"DAEF from the statistics of {PARTS} partitions, against one fit on all rows",
        "averaged": "the mean of the weights that the partitions find by themselves",
    },
    recipes=("daef",),
    timed=("seconds",),
    primary=Primary(
        ratio("seconds", "daef", to="adam-brief"), below=1.0, positive="pca",
        negative="adam-brief-again",
    ),
    premises=(
        Premise(less("auroc", "adam", than="untrained"), above=0.0,
                why="gradient training learns something here"),
    ),
    secondary=(
        Secondary(less("auroc", "daef", than="adam"), above=-0.03, source="ours"),
        Secondary(less("auroc", "daef", than="pca"), above=-0.03, source="ours"),
        Secondary(value("largest_gap", "merged"), below=1e-6, source="ours"),
        Secondary(ratio("largest_gap", "merged", to="averaged"), below=1.0),
    ),
)  # fmt: skip
def daef(trial: Trial) -> dict[str, dict[str, float]]:
    """Twelve problems with each detector, then one federation."""
    arms: dict[str, Callable[[np.ndarray, int], _Scores]] = {
        "daef": _daef,
        "adam": lambda rows, seed: _adam(rows, seed, trial.steps(EPOCHS)),
        "adam-brief": lambda rows, seed: _adam(rows, seed, trial.steps(BRIEF)),
        "adam-brief-again": lambda rows, seed: _adam(rows, seed, trial.steps(BRIEF)),
        "pca": _pca,
        "untrained": lambda rows, seed: _network(rows, seed).score,
    }
    figures: dict[str, dict[str, float]] = {arm: {"seconds": 0.0} for arm in arms}
    problems = _problems(trial.seed)
    for fit in arms.values():
        # What is loaded at a first call is nobody's training time.
        fit(problems["tumours"][0], trial.seed)
    turn = list(arms)
    for name, (normal, odd) in problems.items():
        turn.reverse()  # so that nobody's time is always taken first
        drawn = np.random.default_rng(trial.seed).permutation(len(normal))
        cut = round(TEST_SHARE * len(normal))
        train, test = normal[drawn[cut:]], np.concatenate([normal[drawn[:cut]], odd])
        labels = np.arange(len(test)) >= cut
        for arm in turn:
            begun = time.process_time()
            score = arms[arm](train, trial.seed)
            figures[arm]["seconds"] += time.process_time() - begun
            area = auroc(score(test), labels, higher_is_anomalous=False)
            figures[arm][f"auroc_{name}"] = area.value
    for arm in arms:
        # The ten problems of one set count as one: mean over sets.
        digits = [v for k, v in figures[arm].items() if k.startswith("auroc_digit")]
        figures[arm]["auroc_digits"] = float(np.mean(digits))
        sets = [figures[arm][f"auroc_{name}"] for name in ("tumours", "digits", "sheet")]
        figures[arm]["auroc"] = float(np.mean(sets))
    return {**figures, **_federation(trial.seed)}


_Scores = Callable[[np.ndarray], Array]


def _problems(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Normal rows and anomalies of each problem, float32."""
    tumours, digits = data.load("breast-cancer"), data.load("digits")
    rows, labels = _all_rows(tumours)
    problems = {"tumours": (rows[labels == 1], rows[labels == 0])}
    rows, labels = _all_rows(digits)
    for digit in range(10):
        problems[f"digit{digit}"] = rows[labels == digit], rows[labels != digit]
    return {**problems, "sheet": sheet(seed)}


def _all_rows(dataset: data.Data) -> tuple[np.ndarray, np.ndarray]:
    assert dataset.test is not None
    assert dataset.train_labels is not None
    assert dataset.test_labels is not None
    rows = np.concatenate([dataset.train, dataset.test])
    return rows.reshape(len(rows), -1), np.concatenate([dataset.train_labels, dataset.test_labels])


def _daef(rows: np.ndarray, seed: int) -> _Scores:
    model = isthmus.fit("daef", rows, latent_dim=LATENT, hidden=HIDDEN, seed=seed, progress=False)
    return model.score


def _adam(rows: np.ndarray, seed: int, epochs: int) -> _Scores:
    model = isthmus.fit(
        _network(rows, seed), rows, epochs=epochs, batch_size=32, lr=1e-2, lr_schedule="cosine",
        seed=seed, progress=False,
    )  # fmt: skip
    return model.score


def _network(rows: np.ndarray, seed: int) -> Autoencoder:
    """The same shape of network: one layer to the latents, three back, logistic."""
    signal = data.as_source(rows).signal
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = nn.Sequential(encoder_for(signal, LATENT, "mlp", hidden=()), nn.Sigmoid())
        decoder = decoder_for(signal, LATENT, "mlp", hidden=HIDDEN, activation="sigmoid")
    scaler = _scaler(rows)
    return Autoencoder(
        signal, encoder=encoder, bottleneck=Identity(), decoder=decoder, objective=MSE(),
        scaler=scaler,
    )  # fmt: skip


def _scaler(rows: np.ndarray) -> Scaler:
    """The recipe's own rule for every arm: standardised, but for pixels between 0 and 1."""
    signal = data.as_source(rows).signal
    scaler = Scaler(signal.shape, "none" if signal.is_unit else "columns")
    scaler.fit(torch.from_numpy(rows))
    return scaler


def _pca(rows: np.ndarray, seed: int) -> _Scores:
    scaler = _scaler(rows)
    fitted = PCA(LATENT, random_state=seed).fit(scaler(torch.from_numpy(rows)).numpy())

    def score(queries: np.ndarray) -> np.ndarray:
        x = scaler(torch.from_numpy(queries)).numpy()
        rebuilt = fitted.inverse_transform(fitted.transform(x))
        return -np.square(x - rebuilt).mean(1)

    return score


def _federation(seed: int) -> dict[str, dict[str, float]]:
    """The weights of one fit, of merged statistics, and of averaged local fits."""
    rows = _all_rows(data.load("breast-cancer"))[0]
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    parts = np.split(rows, [50, 150, 300])
    assert len(parts) == PARTS
    together = _solved([rows], seed)
    apart = [_solved([part], seed) for part in parts]
    averaged = [torch.stack(weights).mean(0) for weights in zip(*apart, strict=True)]
    return {
        "merged": {"largest_gap": _gap(_solved(parts, seed), together)},
        "averaged": {"largest_gap": _gap(averaged, together)},
    }


def _solved(parts: Sequence[np.ndarray], seed: int) -> list[Tensor]:
    """Weights of all layers by the rounds of a federation: local statistics, merged, solved."""
    recipe = get_recipe("daef")
    options, _ = recipe.parse({"latent_dim": LATENT, "hidden": HIDDEN, "projection_seed": seed})
    sources = [data.as_source(part) for part in parts]
    model = recipe.build(sources[0].signal, options)
    solver = model.solver
    assert isinstance(solver, DAEFSolver)
    solved: Solved = solver.start(model)
    for stage in solver.stages:
        statistics = merge([solver.local(solved, stage, source) for source in sources])
        solved = solver.solve(model, solved, stage, statistics)
    assert solved.bias is not None
    return [*solved.weights, solved.bias]


def _gap(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return max(float((u - v).abs().max()) for u, v in zip(a, b, strict=True))
