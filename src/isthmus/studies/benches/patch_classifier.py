"""A small vision transformer that says which class a scene shows most often, as a host."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Signal
from isthmus.data.made.tiled_scenes import Scenes
from isthmus.networks.transformer import PatchEncoder
from isthmus.studies.trial import Trial

PIXELS, PATCH, WIDTH, DEPTH, HEADS = 42, 7, 48, 3, 4
PATCHES = PIXELS // PATCH
BATCH, RATE = 64, 4e-3
POINT = "encoder.blocks.1"
"""The residual stream after two of the three blocks."""


class PatchClassifier(nn.Module):
    """Scenes ``(rows, 1, 42, 42)`` to logits ``(rows, classes)``, through tokens of patches.

    :data:`POINT` puts out the residual stream ``(rows, 36, 48)``; a scene's logits are the mean of
    its patches'.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = PatchEncoder(
            Signal("image", (1, PIXELS, PIXELS)), WIDTH, DEPTH, HEADS, PATCH
        )
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, scenes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(scenes).tokens).mean(1)
        return logits


def patch_classifier(
    draw: Callable[[int, np.random.Generator], Scenes], classes: int, trial: Trial, steps: int
) -> PatchClassifier:
    """A classifier trained for ``steps`` at full budget (0: as it starts) on scenes as drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = PatchClassifier(classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    total = trial.steps(steps) if steps else 0
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(1, total))
    rng = np.random.default_rng([trial.seed, 1])
    for _ in range(total):
        scenes = draw(BATCH, rng)
        logits = model(torch.from_numpy(scenes.pixels))
        loss = F.cross_entropy(logits, torch.from_numpy(scenes.main))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval().requires_grad_(False)
