"""A small convolutional classifier of grey images of 14 x 14 pixels, as a host of studies."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Signal
from isthmus.networks import encoder_for
from isthmus.studies.trial import Trial

FEATURES, CLASSES, BATCH = 128, 10, 128


def classifier(
    images: np.ndarray, classes: np.ndarray, trial: Trial, steps: int
) -> tuple[nn.Module, nn.Linear]:
    """Images ``(rows, 1, 14, 14)`` to features ``(rows, 128)``, and features to logits.

    Both are trained for ``steps`` at full budget (0: as they start). Weights and the order of the
    rows are those of the trial's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        network = encoder_for(Signal("image", (1, 14, 14)), FEATURES, "conv")
        trunk = nn.Sequential(network, nn.ReLU())
        head = nn.Linear(FEATURES, CLASSES)
    optimiser = torch.optim.Adam([*trunk.parameters(), *head.parameters()], lr=1e-3)
    rng = np.random.default_rng([trial.seed, 1])
    for _ in range(trial.steps(steps) if steps else 0):
        index = rng.integers(len(images), size=BATCH)
        logits = head(trunk(torch.from_numpy(images[index])))
        loss = F.cross_entropy(logits, torch.from_numpy(classes[index].astype(np.int64)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return trunk.eval(), head


@torch.no_grad()
def features(trunk: nn.Module, images: np.ndarray) -> np.ndarray:
    """Penultimate features ``(images, 128)``, not negative."""
    parts: list[Tensor] = [trunk(part) for part in torch.from_numpy(images).split(1000)]
    return torch.cat(parts).numpy()


@torch.no_grad()
def accuracy(head: nn.Linear, rows: np.ndarray, truth: np.ndarray) -> float:
    """Share of the rows of features that are given their class."""
    named = head(torch.from_numpy(rows)).argmax(1).numpy()
    return float((named == truth).mean())
