"""What stands beside the dictionaries: a random one, principal components, and the neurons."""

import numpy as np
import torch

from isthmus import notices, runs
from isthmus.anatomy import Autoencoder, Signal
from isthmus.anatomy.randomness import drawing
from isthmus.bottlenecks import Identity
from isthmus.data import as_source
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.networks import Dictionary, LinearProjection
from isthmus.objectives import MSE
from isthmus.recipes import get_recipe

CONTROLS = {
    "random": "a TopK dictionary before its first step, with as many latents, and as many active, "
    "as the first dictionary of the point",
    "pca": "principal components of the host's activations",
    "neurons": "the host's activations themselves, element by element",
}
"""The controls, and what each is."""

SEED = 0
"""Of the running text that controls are set up on, and of the random directions."""


def controls(ground: Ground, examined: list[Examined]) -> list[Examined]:
    """The three controls of each point that is examined."""
    first: dict[str, Examined] = {}
    for one in examined:
        first.setdefault(one.point, one)
    all_controls = []
    for point, one in first.items():
        x = ground.running(point, SEED).x
        where = f" at {point}" if len(first) > 1 else ""
        models = {
            "random": random_dictionary(x, one.latents, _active(one, x)),
            "pca": components(x),
            "neurons": projection(np.eye(x.shape[1]), np.zeros(x.shape[1])),
        }
        all_controls += [
            Examined(name + where, model, point, CONTROLS[name]) for name, model in models.items()
        ]
    return all_controls


def _active(examined: Examined, x: np.ndarray) -> int:
    codes = examined.codes(x)
    return max(1, min(examined.latents, round(codes.nnz / codes.shape[0])))


def random_dictionary(x: np.ndarray, latents: int, active: int) -> Autoencoder:
    """The recipe ``topk`` as it is before its first step, prepared on activations ``x``."""
    recipe = get_recipe("topk")
    source = as_source(x)
    with notices.collected(quiet=True):  # what it chooses for itself is said of runs
        options, _ = recipe.parse({"latent_dim": latents, "k": active})
        model = runs.build(recipe, source, options, SEED)
        with drawing(torch.device("cpu"), SEED):
            model.prepare(source.batch(torch.arange(len(source))), source=None)
    return model.eval()


def components(x: np.ndarray) -> Autoencoder:
    """Principal components of activations ``(rows, width)``: all of them, the largest first."""
    rows = x.astype(np.float64)
    centre = rows.mean(0)
    _, axes = np.linalg.eigh(np.cov(rows, rowvar=False, bias=True))
    return projection(axes.T[::-1].copy(), centre)


def projection(axes: np.ndarray, centre: np.ndarray) -> Autoencoder:
    """Orthonormal ``axes`` ``(latents, width)`` as a dictionary: codes ``(x - centre) axes^T``."""
    atoms = torch.from_numpy(axes).float()
    encoder = LinearProjection(*atoms.shape)
    decoder = Dictionary(len(atoms), (atoms.shape[1],), unit=False)
    with torch.no_grad():
        encoder.weight.copy_(atoms)
        decoder.weight.copy_(atoms)
        decoder.bias.copy_(torch.from_numpy(centre))
    return Autoencoder(
        Signal("vector", (atoms.shape[1],)),
        encoder=encoder,
        bottleneck=Identity(),
        decoder=decoder,
        objective=MSE(),
    ).eval()
