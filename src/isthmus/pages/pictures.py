"""One picture of a model: inputs beside reconstructions, and what its strongest latents do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, decodes_latents
from isthmus.errors import IsthmusError, MissingExtra


def latent_directions(
    model: Autoencoder, X: np.ndarray, number: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """What the strongest latents do to the reconstruction around the mean code of ``X``.

    A latent's direction is ``decode(mean + std e_i) - decode(mean)``, with the mean and standard
    deviation of its values over ``X``; its strength is that difference's norm. Returns the
    directions ``(number, *shape)``, strongest first, and their latents ``(number,)``.
    """
    z = torch.as_tensor(model.encode(X))
    if z.ndim != 2 or not decodes_latents(model):
        raise IsthmusError("this model does not decode from single latents: it has no directions")
    mean, std = z.mean(0), z.std(0)
    # Decoding every latent of a wide dictionary is wasteful: the busiest ones are candidates.
    candidates = std.argsort(descending=True)[: max(4 * number, 64)]
    moved = mean.repeat(len(candidates), 1)
    moved[torch.arange(len(candidates)), candidates] += std[candidates]
    base = torch.as_tensor(model.decode(mean[None], as_read=True))
    change = torch.as_tensor(model.decode(moved, as_read=True)) - base
    order = change.flatten(1).norm(dim=1).argsort(descending=True)[:number]
    return change[order].numpy(), candidates[order].numpy()


def picture(model: Autoencoder, X: np.ndarray, path: str | Path, *, title: str = "") -> Path:
    """Write a PNG: inputs above reconstructions, below them the strongest latents' directions.

    ``X`` are raw images, or vectors (drawn as lines). Needs matplotlib (the extra ``viz``).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "viz", "drawing a picture") from None
    columns = min(12, len(X))
    shown = model.signal.tensor(X[:columns]).numpy()
    recon = np.asarray(model.reconstruct(X[:columns], as_read=True))
    directions, latents = latent_directions(model, X, 2 * columns)
    rows = 2 + -(-len(directions) // columns)
    figure = Figure(figsize=(0.8 * columns, 0.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    low, high = float(shown.min()), float(shown.max())
    for i in range(columns):
        _draw(axes[0, i], shown[i], low, high, "gray")
        _draw(axes[1, i], recon[i], low, high, "gray")
    for i, (direction, latent) in enumerate(zip(directions, latents, strict=True)):
        axis, size = axes[2 + i // columns, i % columns], float(np.abs(direction).max()) or 1.0
        _draw(axis, direction, -size, size, "RdBu_r")
        axis.set_title(str(latent), fontsize=6, pad=2)
    labels = ("input", "rebuilt", *["latents" if i == 0 else "" for i in range(rows - 2)])
    for row, label in enumerate(labels):
        axes[row, 0].text(
            -0.15, 0.5, label, rotation=90, fontsize=7, va="center", ha="right",
            transform=axes[row, 0].transAxes,
        )  # fmt: skip
    figure.suptitle(title, fontsize=9)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _draw(axis: Any, example: np.ndarray, low: float, high: float, colours: str) -> None:
    if example.ndim != 3:
        axis.plot(example.reshape(-1), linewidth=0.7)
        axis.set_ylim(low, high)
    elif example.shape[0] in (3, 4) and colours == "gray":
        axis.imshow(np.clip(example.transpose(1, 2, 0), 0, 1))
    else:
        axis.imshow(example.mean(0), cmap=colours, vmin=low, vmax=high)
