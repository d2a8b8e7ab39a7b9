"""Made data with known classes, views without chance, and what collapses."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from isthmus.anatomy import View

ADAM = {
    "optimiser": "adam", "optimiser_options": {}, "lr": 3e-3, "lr_batch": None, "warmup": 0,
    "weight_decay": 0.0, "lr_schedule": "constant", "steps": 150, "batch_size": 128,
    "progress": False,
}  # fmt: skip
"""A short run on little data, in which the published optimisers would hardly begin."""


class Bent(nn.Module):
    """Two views of each row, without chance."""

    def forward(self, x):
        return [View(x + 0.3 * torch.sin(7 * x)), View(1.2 * x - 0.3 * torch.cos(5 * x))]


def vectors(rows=1000, classes=10, width=60):
    """Ten classes whose centres are spread over all elements, under noise half as strong again."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, width))
    y = rng.integers(classes, size=rows)
    return (centres[y] + 1.5 * rng.normal(size=(rows, width))).astype("float32"), y


def gratings(rows=600, side=16):
    """Waves in one of six directions, at any phase."""
    rng = np.random.default_rng(0)
    y = rng.integers(6, size=rows)
    down, across = np.mgrid[:side, :side]
    angle, phase = np.pi * y / 6, rng.uniform(0, 2 * np.pi, size=rows)
    turned = np.multiply.outer(np.cos(angle), across) + np.multiply.outer(np.sin(angle), down)
    x = 0.5 + 0.4 * np.sin(0.9 * turned + phase[:, None, None])
    x = np.clip(x + 0.1 * rng.normal(size=x.shape), 0, 1)
    return x[:, None].astype("float32"), y


def probe(model, X, y):
    """Accuracy of a linear probe of the features, fitted on the first half, on the second."""
    z, half = model.encode(X), len(X) // 2
    z = (z - z[:half].mean(0)) / (z[:half].std(0) + 1e-8)
    return LogisticRegression(max_iter=3000).fit(z[:half], y[:half]).score(z[half:], y[half:])


def spread(model, X):
    """Standard deviation of the embeddings' directions: 0 collapsed, 1 over the whole sphere."""
    embedding = model.encode(X, code=True).embedding
    return float(F.normalize(embedding, dim=1).std(0).mean() * embedding.shape[1] ** 0.5)
