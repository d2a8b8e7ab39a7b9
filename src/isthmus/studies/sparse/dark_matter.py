"""SAE dark matter: what a dictionary leaves over is half linear in its input."""

# About 130 CPU seconds a seed: five dictionaries, 200,000 tokens, and gradient pursuit.
from collections.abc import Callable, Mapping

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import Result, fvu
from isthmus.interpretation.geometry import error_decomposition, gradient_pursuit, split_error
from isthmus.studies import (
    Figures,
    Premise,
    Primary,
    Published,
    Secondary,
    Trial,
    Tuning,
    experiment,
    less,
    quantity,
    ratio,
    value,
)  # fmt: skip
from isthmus.studies.benches.language import NEEDS, language

WIDTHS, K = (192, 768, 1536), 16
FIT = {"batch_size": 1024, "lr_schedule": "linear", "average": None}
STEPS, RATE = 2000, 1.6e-3
PART_STEPS, PART_BATCH = 1500, 512
HELD = 16_384
PURSUED, PARTED = 4096, 120_000
"""Rows that gradient pursuit codes, and rows whose error's parts are learnt again."""

ELEMENTS, TRUTHS, ACTIVE, KNOWN = 64, 512, 4, 192
"""Planted data, and how many of their directions, the most frequent, the ideal dictionary has."""
MOST = 0.5
"""No direction is on in more rows than this share."""
DENSE_DIRECTIONS, DENSE = 8, 0.3
"""Dense part of the planted data: directions, and the standard deviation along each."""
NOISE = 0.5
"""Noise on ideal reconstructions, relative to the norm of the part that is left over."""

Measured = dict[str, float | Result]
SMALL, OWN, LARGE = (f"w{width}" for width in WIDTHS)


def _fall(part: str) -> Callable[[Figures], float]:
    """A function of figures: by what share a part of the error is less in the widest."""
    return lambda f: 1.0 - f[LARGE][part] / f[SMALL][part]


@experiment(
    "dark-matter",
    family="sparse",
    catalogue=183,
    paper="Engels, Riggs, Tegmark 2024, Decomposing The Dark Matter of Sparse Autoencoders",
    statement="About half of a dictionary's error vector, and nearly all of its squared norm, can "
    "be linearly predicted from the activation; the rest is harder for dictionaries and changes "
    "less as they grow.",
    headline="Gemma 2 9B, Gemma Scope: about half of the variance of the error vector and over "
    "90 % of that of its norm are linear in the activation (abstract).",
    setting=f"{language(held=HELD).setting} TopK dictionaries with k = {K}, {STEPS:,} steps of "
    "1,024 rows. Linear maps are fitted on half of the held rows and measured on the other. Two "
    "more dictionaries learn each part of the error of training rows "
    f"({PART_STEPS:,} steps of {PART_BATCH}). Planted data: {TRUTHS} directions in {ELEMENTS} "
    f"dimensions, {ACTIVE} active, frequencies proportional to 1 / rank, and a dense Gaussian "
    f"part; the {KNOWN} most frequent are known.",
    arms={
        SMALL: f"TopK, {WIDTHS[0]} latents",
        OWN: f"TopK, {WIDTHS[1]} latents",
        LARGE: f"TopK, {WIDTHS[2]} latents",
        "other-errors": f"control: the errors of {OWN}, dealt out to other rows",
        "ideal": "positive control: planted data rebuilt from most of the truths themselves, so "
        "that what is left over are the other truths",
        "noisy-data": "the same with noise added to the data",
        "noisy-reconstruction": "the same with as much noise added to the reconstruction",
        "linear": f"TopK, {WIDTHS[1]} latents, of the linear part of the error of {OWN}",
        "nonlinear": "the same of the rest",
        "pursuit": f"the dictionary of {OWN}, codes by gradient pursuit",
        "encoder": f"{OWN} on the same rows",
    },
    recipes=("topk",),
    needs=NEEDS,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", (SMALL, OWN, LARGE)),
    primary=Primary(
        value("error_r2", OWN), above=0.0, positive="ideal", negative="other-errors",
        published=Published(0.5, "abstract: about half of the error vector"),
    ),
    premises=(
        Premise(value("fvu", OWN), below=0.5, why="a dictionary that rebuilds most of its data"),
        Premise(
            quantity("share by which the FVU is less in the widest", _fall("fvu")), above=0.1,
            why="dictionaries that grow are better",
        ),
    ),
    secondary=(
        Secondary(value("norm_r2", OWN), above=0.0,
                  published=Published(0.9, "abstract: over 90 % of its norm")),
        Secondary(
            quantity(
                "share by which the linear FVU is less in the widest, less that of the nonlinear",
                lambda f: _fall("linear_fvu")(f) - _fall("nonlinear_fvu")(f),
            ),
            above=0.0,
        ),
        Secondary(less("part_fvu", "nonlinear", than="linear"), above=0.0),
        Secondary(ratio("nonlinear_fvu", "pursuit", to="encoder"), below=1.0),
        Secondary(less("error_r2", "noisy-data", than="noisy-reconstruction"), above=0.0),
    ),
)  # fmt: skip
def dark_matter(trial: Trial) -> Mapping[str, Measured]:
    """Errors on activations and on planted data, taken apart."""
    ground = language(held=HELD).open(trial)
    held = ground.held
    models = {
        f"w{width}": trial.fit(
            "topk", ground.rows, latent_dim=width, k=K, steps=STEPS,
            lr=trial.rate(f"w{width}", RATE), **FIT,
        )
        for width in WIDTHS
    }  # fmt: skip
    figures: dict[str, Measured] = {}
    for arm, model in models.items():
        figures[arm] = {**error_decomposition(held, np.asarray(model.reconstruct(held)))}
    # What the norm of the data themselves has of it, beside which the error's has to be seen.
    figures[OWN]["norm_r2_of_data"] = error_decomposition(held, np.zeros_like(held))["norm_r2"]
    dictionary = models[OWN]
    recon = np.asarray(dictionary.reconstruct(held))
    figures["other-errors"] = {**error_decomposition(held, other_errors(held, recon, trial.seed))}
    return (
        figures
        | ideal(trial.seed, len(held))
        | _parts(ground.rows[:PARTED], dictionary, trial)
        | pursued(held[:PURSUED], dictionary)
    )


def other_errors(x: np.ndarray, recon: np.ndarray, seed: int) -> np.ndarray:
    """The reconstructions, were each row's error that of another, drawn at random.

    Not that of the row before: it is of the token before, and in part linear in this one.
    """
    order = np.random.default_rng([seed, 4]).permutation(len(x))
    return x - (x - recon)[order]


def made(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a sparse and a dense part, the sparse coefficients, and their directions."""
    rates = 1.0 / np.arange(1, TRUTHS + 1)
    rates = np.minimum(rates * ACTIVE / rates.sum(), MOST)
    planted = Planted(ELEMENTS, TRUTHS, frequencies=rates, seed=seed)
    x, coefficients = planted.sample(rows, 1)
    drawn = np.random.default_rng([seed, 1]).standard_normal((ELEMENTS, DENSE_DIRECTIONS))
    dense = np.random.default_rng([seed, 2]).standard_normal((rows, DENSE_DIRECTIONS))
    x = x + (DENSE * dense @ np.linalg.qr(drawn)[0].T).astype(np.float32)
    return x, coefficients.toarray(), planted.directions


def ideal(seed: int, rows: int) -> dict[str, Measured]:
    """The most frequent truths as they are, and noise of one size in either place."""
    x, on, directions = made(seed, rows)
    recon = on[:, :KNOWN] @ directions[:KNOWN]
    noise = np.random.default_rng([seed, 3]).standard_normal(x.shape)
    noise *= NOISE * np.sqrt(((x - recon) ** 2).sum() / (noise**2).sum())
    return {
        "ideal": dict(error_decomposition(x, recon)),
        "noisy-data": dict(error_decomposition(x + noise, recon)),
        "noisy-reconstruction": dict(error_decomposition(x, recon + noise)),
    }


def _parts(rows: np.ndarray, model: Autoencoder, trial: Trial) -> dict[str, Measured]:
    """What a further dictionary makes of each part of the error, on rows that it has not seen."""
    parts = split_error(rows, np.asarray(model.reconstruct(rows)))
    figures: dict[str, Measured] = {}
    for name, part in (("linear", parts.linear), ("nonlinear", parts.nonlinear)):
        left = part.astype(np.float32)
        train, held = left[: 3 * len(left) // 4], left[3 * len(left) // 4 :]
        again = trial.fit(
            "topk", train, latent_dim=WIDTHS[1], k=K, steps=PART_STEPS,
            lr=trial.rate(OWN, RATE), **{**FIT, "batch_size": PART_BATCH},
        )  # fmt: skip
        figures[name] = {"part_fvu": fvu(held, np.asarray(again.reconstruct(held)))}
    return figures


def pursued(x: np.ndarray, model: Autoencoder) -> dict[str, Measured]:
    """The error where gradient pursuit finds the codes, with as many latents as the encoder's."""
    decoder, rows = linear_decoder(model), torch.as_tensor(x)
    active = (torch.as_tensor(model.encode(rows)) > 0).sum(1)
    inside = model.scaler(rows) - decoder.offset.detach()
    code = gradient_pursuit(inside, decoder.atoms().detach(), active)
    recon = {"pursuit": model.decode(code), "encoder": model.reconstruct(rows)}
    return {arm: dict(error_decomposition(x, np.asarray(one))) for arm, one in recon.items()}
