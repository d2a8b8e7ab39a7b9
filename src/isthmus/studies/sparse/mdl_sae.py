"""MDL-SAE: at a given distortion the shortest description is at an intermediate width."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.anatomy import linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import Result, fvu, l0, recovery
from isthmus.evaluation.description import dense_length, description_length, one_hot_length
from isthmus.studies import Check, Figures, Trial, study

CAP = 0.3
"""Largest fraction of variance unexplained on digits, after the values are rounded."""
GRID: dict[int, tuple[int, ...]] = {
    32: (12, 16, 24),
    128: (6, 8, 12),
    512: (6, 8, 12),
    2048: (4, 6, 8),
}
"""For each width the k that are tried: the pilot's smallest below the cap, and its neighbours."""
ROWS, HELD, STEPS, BATCH = 20_000, 5000, 600, 256

TRUTHS, ELEMENTS, ACTIVE = 64, 32, 4.0
MADE_CAP = 0.15
MADE_GRID: dict[int, tuple[int, ...]] = {
    32: (3, 4, 6),
    64: (2, 3, 4),
    128: (2, 3, 4),
    256: (2, 3, 4),
}
MADE_STEPS = 400
LR, MADE_LR = 4e-3, 1e-2

CENTRES = (128, 512)
"""Codewords of k-means, whose error is reported beside the cap."""

WEIGHT_BITS = 8
"""Bits of each number of a dictionary, where its cost is spread over the rows it was fitted to."""

Measured = dict[str, float | Result]


def _interior(figures: Mapping[str, float], what: str) -> float:
    """The least value at an inner width over the smaller of those at both ends."""
    values = [figures[f"{what}_w{width}"] for width in GRID]
    return min(values[1:-1]) / min(values[0], values[-1])


def _octaves_off(figures: Mapping[str, float], what: str) -> float:
    """How far the width of the least value is from the true number of features, in octaves."""
    best = min(MADE_GRID, key=lambda width: _finite(figures[f"{what}_w{width}"]))
    return abs(float(np.log2(best / TRUTHS)))


def _finite(value: float) -> float:
    """A width that nowhere reaches the cap is never the best."""
    return float("inf") if np.isnan(value) else value


def _references(figures: Figures) -> float:
    """The cheapest reference code."""
    return min(figures["dense"]["bits"], figures["one-hot"]["bits"])


@study(
    "mdl-sae",
    family="sparse",
    catalogue=16,
    paper="Ayonrinde, Pearce, Sharkey 2024, Interpretability as Compression: Reconsidering SAE "
    "Explanations of Neural Activations with MDL-SAEs",
    statement="At a given distortion the description length of a sparse code is least at an "
    "intermediate width and sparsity: a wider dictionary still lowers L0, but costs more bits.",
    headline="GPT-2: about 1405 bits a token for the dictionary, 5376 for a dense code, 13,993 for "
    "a one-hot code. MNIST: the least description length is at an intermediate width, whose "
    "features are line segments.",
    setting="MNIST, averaged to 14 x 14: BatchTopK dictionaries of 32 to 2048 latents, three k "
    "each, 600 steps of 256 of 20,000 rows; bits of 5000 held-out rows at 30 % of the variance "
    "unexplained, rounding included. Planted data: 64 features in 32 dimensions, children of a "
    "tree that imply their parents, 4 on in the mean row; 32 to 256 latents, 15 % of the "
    "variance. A dictionary takes up the whole distortion by coarser bins; for each width the k of "
    "the fewest bits counts. Dense reference: principal components, entropy coded. One-hot "
    "reference: memorised rows, each with its own codeword at the dense code's price.",
    arms={
        "sae": "BatchTopK on MNIST by width",
        "dense": "reference: principal components",
        "one-hot": "reference: the number of a memorised row; k-means beside it",
        "planted": "BatchTopK on planted data by width",
    },
    recipes=("batchtopk",),
    needs=("mnist",),
    checks=(
        Check(
            "MNIST: bits at the best inner width over those at the better end; control: L0 in "
            "place of bits",
            lambda f: _interior(f["sae"], "bits"),
            at_most=0.85,
            control=lambda f: _interior(f["sae"], "l0"),
        ),
        Check(
            "MNIST: bits of the cheapest reference over those of the best dictionary",
            lambda f: _references(f) / min(f["sae"][f"bits_w{width}"] for width in GRID),
            at_least=1.0,
        ),
        Check(
            "planted: octaves between the width of the fewest bits and the true 64; control: the "
            "width of the lowest L0",
            lambda f: _octaves_off(f["planted"], "bits"),
            at_most=1.0,
            control=lambda f: _octaves_off(f["planted"], "l0"),
        ),
    ),
)
def mdl_sae(trial: Trial) -> dict[str, Measured]:
    """Bits at one distortion by width, on digits and on planted data, beside reference codes."""
    mnist = data.load("mnist")
    order = np.random.default_rng(trial.seed).permutation(len(mnist.train))
    assert mnist.test is not None
    rows, held = _small(mnist.train[order[:ROWS]]), _small(mnist.test[:HELD])
    steps = trial.steps(STEPS)
    figures = {"sae": _by_width(rows, held, GRID, CAP, steps, trial.seed)}
    figures["dense"] = _dense(rows, held)
    figures["one-hot"] = _one_hot(rows, held, figures["dense"]["bits"], trial)
    planted = Planted(
        ELEMENTS, TRUTHS, ACTIVE, tree=3, noise=0.02, geometry="repelled", seed=trial.seed
    )
    made, fresh = planted.sample(1 << 15, 0)[0], planted.sample(8192, 1)[0]
    steps = trial.steps(MADE_STEPS)
    figures["planted"] = _by_width(made, fresh, MADE_GRID, MADE_CAP, steps, trial.seed, planted)
    return figures


def _small(images: np.ndarray) -> np.ndarray:
    """Images ``(n, 28, 28)`` or the like as rows of 196 means of 2 x 2 pixels, in [0, 1]."""
    blocks = images.reshape(-1, 14, 2, 14, 2).mean((2, 4), dtype=np.float32)
    return (blocks / 255.0).reshape(len(blocks), -1)


def _by_width(
    rows: np.ndarray,
    held: np.ndarray,
    grid: Mapping[int, Sequence[int]],
    cap: float,
    steps: int,
    seed: int,
    planted: Planted | None = None,
) -> Measured:
    """For each width: the fewest bits at the cap, and the L0 that reaches the cap."""
    allowed = cap * float(held.var(0).mean())
    figures: Measured = {}
    for width, sparsities in grid.items():
        variants: dict[str, dict[str, Any]] = {
            str(k): {"recipe": "batchtopk", "k": k} for k in sparsities
        }
        models = isthmus.fit_many(
            variants,
            rows,
            latent_dim=width,
            steps=steps,
            batch_size=BATCH,
            lr=LR if planted is None else MADE_LR,
            lr_schedule="linear",
            average=None,
            seed=seed,
            progress=False,
        )
        tried = [_Coded(model, held, allowed) for model in models.values()]
        best = min(tried, key=lambda one: _finite(one.bits))
        figures |= {
            f"bits_w{width}": best.bits,
            f"l0_w{width}": _reaching(tried, cap),
            f"best_l0_w{width}": best.l0,
            f"best_fvu_w{width}": best.fvu,
            f"dead_w{width}": best.dead,
            f"with_dictionary_w{width}": best.bits
            + WEIGHT_BITS * width * held.shape[1] / len(rows),
        }
        if planted is not None:
            figures[f"recovered_w{width}"] = recovery(best.model, planted.directions)
        else:
            figures[f"spread_w{width}"] = _spread(best.model)
    return figures


class _Coded:
    """One dictionary's bits at the allowed squared error per element; NaN where it exceeds it."""

    def __init__(self, model: isthmus.Autoencoder, held: np.ndarray, allowed: float) -> None:
        code, rebuilt = model.encode(held, code=True), np.asarray(model.reconstruct(held))
        self.model, self.fvu = model, fvu(held, rebuilt).value
        active = l0(code)
        assert active.per is not None
        self.l0, self.dead = active.value, float((active.per == 0).mean())
        left = allowed - float(((held - rebuilt) ** 2).mean())
        self.bits = float("nan")
        if left > 0:
            self.bits = description_length(code, left, model, residual=held - rebuilt).value


def _reaching(tried: Sequence[_Coded], cap: float) -> float:
    """The L0 at which the unexplained variance is at the cap, between the models tried.

    That of the sparsest where all are below the cap, NaN where none is.
    """
    ordered = sorted(tried, key=lambda one: one.fvu)
    if ordered[0].fvu > cap:
        return float("nan")
    return float(np.interp(cap, [one.fvu for one in ordered], [one.l0 for one in ordered]))


def _spread(model: isthmus.Autoencoder) -> float:
    """Over how many pixels an atom extends: its participation ratio, mean over atoms, in pixels.

    1 for a single pixel, 196 for an even one: strokes lie between pixels and whole digits.
    """
    atoms = linear_decoder(model).atoms().detach().numpy() ** 2
    return float((atoms.sum(1) ** 2 / (atoms**2).sum(1)).mean())


def _dense(rows: np.ndarray, held: np.ndarray) -> Measured:
    allowed = CAP * float(held.var(0).mean())
    return {
        "bits": dense_length(held, allowed, basis=rows),
        "bits_fixed": dense_length(held, allowed, basis=rows, fixed=True),
    }


def _one_hot(rows: np.ndarray, held: np.ndarray, dense: float | Result, trial: Trial) -> Measured:
    # Slow to import, and only this needs it.
    from sklearn.cluster import MiniBatchKMeans

    price = dense.value if isinstance(dense, Result) else dense
    figures: Measured = {"bits": one_hot_length(np.arange(len(rows))).value + price}
    for centres in CENTRES:
        means = MiniBatchKMeans(
            centres, n_init=1, batch_size=2048, max_iter=5, random_state=trial.seed
        ).fit(rows)
        labels = means.predict(held)
        figures[f"kmeans_bits_c{centres}"] = one_hot_length(labels)
        figures[f"kmeans_fvu_c{centres}"] = fvu(held, means.cluster_centers_[labels])
    return figures
