"""The two-layer sign autoencoder against the closed form of its least risk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus import data
from isthmus.recipes.theory.sign import optimal_gain, optimal_risk, weights
from isthmus.studies import Figures, Primary, Quantity, Secondary, Trial, experiment, quantity

# A seed: two passes of 2000 steps for five rates at 4 ms, about 0.4 CPU minutes.

SIDE = 10
D = SIDE * SIDE
RATES = (0.25, 0.5, 1.0, 1.5, 2.0)
ROWS, HELD = 100_000, 20_000
STEPS = 2000


def _off(f: Figures, arm: str, known: Mapping[float, float]) -> float:
    """Distance of an arm's risks from known ones, mean over the rates."""
    return float(np.mean([abs(f[arm][f"risk_{rate:g}"] - known[rate]) for rate in RATES]))


def _nearer(arm: str) -> Quantity:
    def of(f: Figures) -> float:
        law = {rate: optimal_risk(rate) for rate in RATES}
        return _off(f, arm, law) - _off(f, arm, {r: f["random"][f"risk_{r:g}"] for r in RATES})

    return quantity(
        f"distance of the risk of {arm} from the law, less its distance from that of random rows, "
        "mean over the rates",
        of,
    )


@experiment(
    "sign",
    family="theory",
    catalogue=8,
    paper="Shevchenko et al. 2023, Fundamental Limits of Two-layer Autoencoders, and Achieving "
    "Them with Gradient Methods",
    statement="Gradient training of a shallow sign autoencoder reaches the least risk that its "
    "closed form allows, at every rate; whitened natural images follow the same law.",
    headline="Least risk per element at r bits: 1 - 2r/pi (r <= 1), 1 - r/(r + pi/2 - 1) (r > 1); "
    "0.841, 0.682, 0.363, 0.276 and 0.222 at r = 0.25, 0.5, 1, 1.5 and 2.",
    setting=f"d = {D}; r = 0.25 to 2; the recipe's {STEPS} steps of 256 on {ROWS:,} rows, measured "
    f"on {HELD:,} others. Natural images: CIFAR-10 in grey, patches of {SIDE} x {SIDE} of 2,000 "
    "images, ZCA-whitened and then brought to equal length, measured on those of 500 others (the "
    "paper: whole images of one class, whitened, whose contrast varies less: signs cannot tell "
    "the contrast of a patch).",
    arms={
        "gaussian": "trained on white Gaussian rows",
        "random": "control: random unit rows with the best gain for them, on Gaussian rows",
        "optimal": "positive control: orthonormal rows, or a tight frame, with the best gain",
        "patches": "trained on whitened patches of natural images",
    },
    recipes=("sign",),
    needs=("cifar10_sample",),
    primary=Primary(_nearer("gaussian"), below=0.0, positive=_nearer("optimal"),
                    negative=_nearer("random")),
    secondary=(
        Secondary(_nearer("patches"), below=0.0),
        Secondary(
            quantity("distance of the risk on Gaussian rows from the law, mean over the rates",
                     lambda f: _off(f, "gaussian", {r: optimal_risk(r) for r in RATES})),
            below=0.02, source="ours",
        ),
        Secondary(
            quantity("root mean square of the off-diagonal elements of B B^T at r = 1",
                     lambda f: f["gaussian"]["overlap_1"]),
            below=0.05, source="ours",
        ),
        Secondary(
            quantity("spectral norm of B^T B - r I over r at r = 2",
                     lambda f: f["gaussian"]["frame_2"]),
            below=0.15, source="ours",
        ),
    ),
)  # fmt: skip
def sign(trial: Trial) -> dict[str, dict[str, float]]:
    """All rates from one pass over Gaussian rows, and from one over patches."""
    rng = np.random.default_rng(trial.seed)
    sizes = trial.rows(ROWS), trial.rows(HELD)
    rows, held = (rng.normal(size=(n, D)).astype(np.float32) for n in sizes)
    cifar = data.load("cifar10_sample")
    assert cifar.test is not None
    parts = (cifar.train, cifar.test)
    cut = [grey_patches(images, n, rng) for images, n in zip(parts, sizes, strict=True)]
    patches, others = (of_equal_length(part) for part in whitened(*cut))
    best: dict[str, float] = {}
    for rate in RATES:
        b = tight_frame(round(rate * D), D, rng)
        best |= _found(optimal_gain(rate) * b.T, b, held, rate)
    return {
        "gaussian": _fitted(trial, rows, held),
        "random": _fitted(trial, rows, held, steps=1, lr=1e-12),
        "optimal": best,
        "patches": _fitted(trial, patches, others),
    }


def _fitted(
    trial: Trial, rows: np.ndarray, held: np.ndarray, *, steps: int = STEPS, **training: Any
) -> dict[str, float]:
    variants = {f"{r:g}": {"recipe": "sign", "latent_dim": round(r * D)} for r in RATES}
    models = trial.fit_many(variants, rows, steps=steps, scaling="none", **training)
    measures: dict[str, float] = {}
    for rate in RATES:
        measures |= _found(*weights(models[f"{rate:g}"]), held, rate)
    return measures


def _found(a: np.ndarray, b: np.ndarray, held: np.ndarray, rate: float) -> dict[str, float]:
    """Risk per element on held-out rows, and the geometry of ``B``."""
    rebuilt = np.where(held @ b.T >= 0, 1.0, -1.0) @ a.T
    figures = {"risk": float(np.square(held - rebuilt).mean()), **geometry(b)}
    return {f"{what}_{rate:g}": number for what, number in figures.items()}


def geometry(b: np.ndarray) -> dict[str, float]:
    """How far the rows of ``B`` ``(n, d)`` are from what is best at ``r = n / d``.

    ``overlap`` is the root mean square of the off-diagonal elements of ``B B^T`` (0 for
    orthonormal rows), ``frame`` the spectral norm of ``B^T B - r I`` over r (0 for a tight frame).
    """
    n, d = b.shape
    gram = b @ b.T
    off = gram[~np.eye(n, dtype=bool)]
    rest = b.T @ b - (n / d) * np.eye(d)
    return {
        "overlap": float(np.sqrt((off**2).mean())),
        "frame": float(np.linalg.norm(rest, 2) * d / n),
    }


def tight_frame(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """``(n, d)``: orthonormal rows for ``n <= d``, else unit rows with ``B^T B = (n / d) I``.

    By turns the nearest matrix with equal singular values, and rows of length 1.
    """
    b = rng.standard_normal((n, d))
    for _ in range(1 if n <= d else 300):
        left, _, right = np.linalg.svd(b, full_matrices=False)
        b = left @ right
        b /= np.linalg.norm(b, axis=1, keepdims=True)
    return b


def grey_patches(images: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Patches of random colour images ``(images, height, width, 3)``, at random places, in grey.

    float32 ``(n, SIDE * SIDE)``.
    """
    grey = images.mean(axis=3, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (SIDE, SIDE), axis=(1, 2))
    places = tuple(rng.integers(0, size, n) for size in windows.shape[:3])
    return np.asarray(windows[places]).reshape(n, -1)


def whitened(rows: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All turned by the symmetric (ZCA) root that gives ``rows`` mean 0 and covariance I."""
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    root = (vectors / np.sqrt(values)) @ vectors.T
    return [((part - mean) @ root).astype(np.float32) for part in (rows, *others)]


def of_equal_length(rows: np.ndarray) -> np.ndarray:
    """Each row at the length of a white one, the square root of its number of elements."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = rows / np.maximum(lengths, 1e-12) * np.float32(rows.shape[1] ** 0.5)
    return scaled
