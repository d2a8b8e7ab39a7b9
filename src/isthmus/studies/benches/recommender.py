"""A small causal transformer that recommends the next film, as a host of studies."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from isthmus.language.decoder import Decoder, Shape
from isthmus.studies.trial import Trial

SHAPE: dict[str, Any] = {"width": 64, "heads": 2, "layers": 2, "hidden": 128}
BATCH, RATE = 32, 3e-3
TEN = 10


def rows_of(sequences: list[np.ndarray], places: int) -> np.ndarray:
    """Sequences cut into int64 rows ``(rows, places)``, the last of each filled up with 0."""
    pieces = [one[i : i + places] for one in sequences for i in range(0, len(one), places)]
    return np.stack([np.pad(piece, (0, places - len(piece))) for piece in pieces])


def recommender(rows: np.ndarray, vocabulary: int, trial: Trial, steps: int) -> Decoder:
    """A model of the next film, of rows ``(rows, places)`` of films below ``vocabulary``.

    It is trained for ``steps`` at full budget (0: as it starts). Weights and the order of the rows
    are those of the trial's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = Decoder(Shape(vocabulary=vocabulary, context=rows.shape[1], **SHAPE))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    rng = np.random.default_rng([trial.seed, 1])
    for _ in range(trial.steps(steps) if steps else 0):
        batch = torch.from_numpy(rows[rng.integers(len(rows), size=BATCH)])
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten(),
                               ignore_index=0)  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def hidden(model: Decoder, rows: np.ndarray) -> np.ndarray:
    """Last hidden vectors ``(films watched, 64)`` of rows of films, at every film."""
    parts = torch.from_numpy(rows).split(256)
    vectors = torch.cat([model.hidden(part)[part > 0] for part in parts])
    return vectors.numpy()


@torch.no_grad()
def recall(model: Decoder, rows: np.ndarray) -> float:
    """Share of the next films that are among the model's ten."""
    hits = []
    for part in torch.from_numpy(rows).split(64):
        logits, target = model(part[:, :-1]), part[:, 1:]
        logits[..., 0] = -torch.inf
        hits.append((logits.topk(TEN).indices == target[..., None]).any(-1)[target > 0])
    return float(torch.cat(hits).double().mean())


def popularity(training: np.ndarray, rows: np.ndarray) -> float:
    """The same of the ten films that were watched most."""
    favourites = np.bincount(training[training > 0]).argsort()[-TEN:]
    target = rows[:, 1:][rows[:, 1:] > 0]
    return float(np.isin(target, favourites).mean())
