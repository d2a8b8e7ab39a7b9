"""Seed overlap: do dictionaries that differ in their initialisation alone find the same latents?"""

# About 3.5 CPU minutes a seed: nine fits of 3000 steps at 4 to 8 ms, and the activations.

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isthmus.activations import harvest
from isthmus.anatomy import Autoencoder
from isthmus.evaluation import Firing, fvu, seed_stability
from isthmus.language import documents, pack, resident
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, less, value
from isthmus.studies.quantities import quantity

POINT = "layers.1"
"""The residual stream in the middle of the resident model, width 192."""
TOKENS, HELD = 300_000, 16_384
WIDTH, ACTIVE = 1024, 16
WIDTHS = (256, WIDTH, 2048)
STEPS, RATE = 3000, 2.4e-3
NOISE = 0.2346
"""Squared noise per squared length at which a direction's cosine with its copy is 0.9."""

Rows = np.ndarray


@experiment(
    "seed-overlap",
    family="sparse",
    catalogue=82,
    paper="Paulo, Belrose 2025, Sparse Autoencoders Trained on the Same Data Learn Different "
    "Features",
    statement="Dictionaries that differ in their initialisation alone find different features, and "
    "TopK is less stable than ReLU with an L1 penalty at the same sparsity.",
    headline="Llama-3-8B, MLP of one layer, 131,072 latents: 30 % of the latents are shared "
    "between seeds; ReLU with an L1 penalty is more stable than TopK at equal sparsity (abstract).",
    setting="Residual stream of the resident language model (4 layers of width 192) after its "
    "second layer, on 300,000 tokens of English; width 1024, L0 16, 3000 steps of 512 rows, the "
    "same rows in the same order. A latent is shared where pairings by decoder and by encoder "
    "agree at a decoder cosine above 0.7. Latents that are silent on 16,384 held-out tokens are "
    "left out; the share of all latents is told beside. Widths 256 and 2048 for the slope.",
    recipes=("topk", "relu-l1"),
    needs=("gutenberg12", "masc_pos"),
    arms={
        "topk": "TopK with k = 16, two initialisations",
        "relu-l1": "ReLU with an L1 penalty, held at L0 = 16, two initialisations",
        "topk again": "control: the first of these TopK dictionaries and a third",
        "copies": "positive control: the first TopK dictionary and a copy whose directions are "
        "moved by noise to a cosine of 0.9",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "fvu", ("topk", "relu-l1")),
    primary=Primary(
        less("overlap", "relu-l1", than="topk"),
        above=0.0, positive="copies", negative="topk again",
    ),
    premises=(
        Premise(
            quantity(
                "L0 of relu-l1, relative to topk, from 1",
                lambda f: abs(f["relu-l1"]["l0"] / f["topk"]["l0"] - 1.0),
            ),
            below=0.05,
            why="the paper compares at the same sparsity",
        ),
        Premise(
            quantity(
                "share of silent latents, distance between relu-l1 and topk",
                lambda f: abs(f["relu-l1"]["dead_share"] - f["topk"]["dead_share"]),
            ),
            below=0.25,
            why="latents that are left out must not make the comparison",
        ),
    ),
    secondary=(
        Secondary(less("overlap_all", "relu-l1", than="topk"), above=0.0),
        Secondary(
            value("slope", "topk").named("change of topk's overlap with each doubling of width"),
            below=0.0,
        ),
        Secondary(
            value("overlap_all", "topk"), below=0.5, source="ours",
            place="most features differ: 30 % are shared at 131,072 latents in the abstract",
        ),
    ),
)  # fmt: skip
def seed_overlap(trial: Trial) -> dict[str, dict[str, float]]:
    """Several starts of every dictionary, and what they share."""
    rows = activations(trial)
    held, rows = np.split(rows, [trial.rows(HELD)])
    topk = _starts("topk", rows, trial, 3, k=ACTIVE)
    relu = _starts("relu-l1", rows, trial, 2, l0=float(ACTIVE))
    figures = {"topk": _shared(topk[:2], held), "relu-l1": _shared(relu, held)}
    figures["topk again"] = _shared([topk[0], topk[2]], held)
    directions = _rows_of(topk[0])
    alive = _alive(topk[0], held)
    copy = moved(directions, trial.seed)
    figures["copies"] = {
        "overlap": seed_stability([directions, copy], alive=[alive, alive]).value,
        "overlap_all": seed_stability([directions, copy]).value,
    }
    by_width = {WIDTH: figures["topk"]["overlap"]}
    for width in WIDTHS:
        if width != WIDTH:
            pair = _starts("topk", rows, trial, 2, k=ACTIVE, latent_dim=width)
            by_width[width] = _shared(pair, held)["overlap"]
            figures["topk"][f"overlap_w{width}"] = by_width[width]
    doublings = np.log2(np.array(WIDTHS))
    figures["topk"]["slope"] = float(np.polyfit(doublings, [by_width[w] for w in WIDTHS], 1)[0])
    return figures


def activations(trial: Trial) -> Rows:
    """Activations ``(tokens, 192)``, float32, of documents in an order drawn by the seed."""
    model = resident()
    texts = documents("training")
    order = np.random.default_rng([trial.seed, 0]).permutation(len(texts))
    limit = trial.rows(TOKENS) + trial.rows(HELD)
    text = pack([texts[i] for i in order], model.tokenizer, model.context, limit)
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        store = harvest(model, text, (POINT,), f"{folder}/store", progress=False)
        shuffled = np.random.default_rng([trial.seed, 1]).permutation(len(store))
        values: Rows = store.rows(POINT, torch.from_numpy(shuffled)).numpy()
    return values


def _starts(
    recipe: str, rows: Rows, trial: Trial, starts: int, **options: Any
) -> list[Autoencoder]:
    """The dictionary from several initialisations, all on the same batches."""
    shared = {"latent_dim": WIDTH, "batch_size": 512, "average": None, "lr_schedule": "linear"}
    return [
        trial.fit(
            recipe, rows, steps=STEPS, lr=trial.rate(recipe, RATE), data_seed=trial.seed,
            seed=100 * trial.seed + start, **{**shared, **options},
        )
        for start in range(starts)
    ]  # fmt: skip


def _alive(model: Autoencoder, held: Rows) -> np.ndarray:
    alive: np.ndarray = Firing().update(model.encode(held, code=True)).rates > 0
    return alive


def _shared(models: Sequence[Autoencoder], held: Rows) -> dict[str, float]:
    """The overlap of living latents and of all, and what the dictionaries are like."""
    firing = [Firing().update(model.encode(held, code=True)) for model in models]
    alive = [one.rates > 0 for one in firing]
    errors = [fvu(held, np.asarray(model.reconstruct(held))).value for model in models]
    return {
        "overlap": seed_stability(models, alive=alive).value,
        "overlap_all": seed_stability(models).value,
        "l0": float(np.mean([one.l0().value for one in firing])),
        "dead_share": float(np.mean([one.dead_share().value for one in firing])),
        "fvu": float(np.mean(errors)),
    }


def _rows_of(model: Autoencoder) -> tuple[np.ndarray, np.ndarray]:
    """Rows of decoder and encoder, each ``(latents, elements)``."""
    atoms, read = model.atoms(), model.read_rows()
    assert isinstance(atoms, torch.Tensor)
    assert read is not None
    return atoms.numpy(), read[0].numpy()


def moved(rows: tuple[np.ndarray, np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions ``(latents, elements)``, with noise that leaves a cosine of about 0.9."""
    rng = np.random.default_rng([seed, 2])
    first, second = (
        part
        + np.sqrt(NOISE / part.shape[1])
        * np.linalg.norm(part, axis=1, keepdims=True)
        * rng.standard_normal(part.shape)
        for part in rows
    )
    return first, second
