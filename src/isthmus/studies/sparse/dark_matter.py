"""SAE dark matter: what a dictionary leaves over is half linear in its input."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.activations import Activations
from isthmus.anatomy import linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import Result, recovery
from isthmus.interpretation.geometry import (
    ErrorParts,
    error_decomposition,
    gradient_pursuit,
    split_error,
)
from isthmus.language import documents, open_model, pack
from isthmus.studies import Check, Figures, Trial, study

ELEMENTS, TRUTHS, ACTIVE = 64, 512, 4
MOST = 0.5
"""No truth is on in more rows than this share."""
DENSE_DIRECTIONS, DENSE = 8, 0.3
"""Dense part of the planted data: directions, and the standard deviation along each."""
LEARNED = 0.7
"""A truth whose nearest latent has a lower cosine is not learned."""
PLANTED_WIDTHS, PLANTED_STEPS, PLANTED_BATCH = (48, 192, 768), 1000, 512
"""The total error falls by nearly 40 % over these; in a third of the steps it hardly falls."""
NOISE = 0.5
"""Noise on ideal reconstructions, relative to the norm of the unlearned part."""

POINT, TEXT, CONTEXT, TOKENS = "layers.1", "held-out", 128, 60_000
HELD, K = 16_384, 16
WIDTHS, STEPS, BATCH = (128, 384, 1152), 400, 1024
PART_STEPS = 200
"""Steps of the dictionaries that are trained on each part of the error."""
PURSUED = 4096
"""Rows that gradient pursuit codes."""

Measured = dict[str, float | Result]


def _each(figures: Mapping[str, float], name: str, widths: tuple[int, ...]) -> list[float]:
    return [figures[f"{name}_w{width}"] for width in widths]


def _change(figures: Mapping[str, float], name: str, widths: tuple[int, ...]) -> float:
    """The largest value over widths less the smallest, relative to the mean."""
    values = _each(figures, name, widths)
    return (max(values) - min(values)) / float(np.mean(values))


def _fall(figures: Mapping[str, float], widths: tuple[int, ...]) -> float:
    """By what share the FVU of the widest dictionary is below that of the narrowest."""
    values = _each(figures, "fvu", widths)
    return 1.0 - values[-1] / values[0]


def _mean(figures: Mapping[str, float], name: str, widths: tuple[int, ...]) -> float:
    return float(np.mean(_each(figures, name, widths)))


def _kept(figures: Figures, arm: str) -> float:
    return min(_each(figures[arm], "missed_ratio", PLANTED_WIDTHS))


@study(
    "dark-matter",
    family="sparse",
    catalogue=183,
    paper="Engels, Riggs, Tegmark 2024, Decomposing The Dark Matter of Sparse Autoencoders",
    statement="About half of a dictionary's error vector, and nearly all of its squared norm, is "
    "linear in the input; the part that is not stays the same as dictionaries grow, and holds "
    "fewer features that were missed.",
    headline="Gemma 2 9B, Gemma Scope: about 50 % of the variance of the error vector and over "
    "90 % of that of its norm are linear in the activation.",
    setting="Activations of the resident language model (the residual stream of width 192 after "
    "its second block, 60,000 tokens of text that it was not trained on, the token that begins a "
    "row left out); TopK dictionaries with k = 16 of 128, 384 and 1152 latents, 400 steps of 1024 "
    "rows. Planted data with known truth: 512 directions in 64 dimensions, 3.9 active, frequencies "
    "proportional to 1 / rank (at most 0.5), and a dense Gaussian part in 8 dimensions; k = 4, "
    "widths 48, 192 and 768, 1000 steps of 512 rows. Linear maps are fitted on half of 16,384 "
    "held-out rows and measured on the other. A truth is missed where no latent has a cosine of "
    "0.7 with it; the energy that a part holds of it is that of its slope on the truth's "
    "coefficient, along the truth.",
    arms={
        "activations": "TopK on the resident model's activations, by width",
        "shuffled": "control: the same maps fitted with the errors of other rows",
        "planted": "TopK on planted data, by width",
        "shuffled planted": "control: the same with the errors of other rows",
        "ideal": "planted data rebuilt from the 192 most frequent truths themselves, with noise "
        "added to the data or to the reconstruction",
        "parts": "TopK trained on each part of the error on activations at width 384, and gradient "
        "pursuit with the dictionaries of each width",
    },
    recipes=("topk",),
    needs=("gutenberg12", "masc_pos"),
    checks=(
        Check(
            "activations: R² of the error's squared norm regressed on the activation, mean over "
            "widths",
            lambda f: _mean(f["activations"], "norm_r2", WIDTHS),
            at_least=0.8,
            control=lambda f: _mean(f["shuffled"], "norm_r2", WIDTHS),
        ),
        Check(
            "activations: nonlinear FVU, the range over widths relative to the mean",
            lambda f: _change(f["activations"], "nonlinear_fvu", WIDTHS),
            at_most=0.2,
            control=lambda f: _change(f["shuffled"], "nonlinear_fvu", WIDTHS),
        ),
        Check(
            "activations: fall of the FVU from the narrowest to the widest dictionary",
            lambda f: _fall(f["activations"], WIDTHS),
            at_least=0.3,
            premise=True,
        ),
        Check(
            "planted: R² of the error's squared norm, mean over widths",
            lambda f: _mean(f["planted"], "norm_r2", PLANTED_WIDTHS),
            at_least=0.8,
            control=lambda f: _mean(f["shuffled planted"], "norm_r2", PLANTED_WIDTHS),
        ),
        Check(
            "planted: nonlinear FVU, the range over widths relative to the mean",
            lambda f: _change(f["planted"], "nonlinear_fvu", PLANTED_WIDTHS),
            at_most=0.2,
            control=lambda f: _change(f["shuffled planted"], "nonlinear_fvu", PLANTED_WIDTHS),
        ),
        Check(
            "planted: energy of missed truths in the linear part of the error, divided by that in "
            "the rest, least over widths",
            lambda f: _kept(f, "planted"),
            at_least=2.0,
            control=lambda f: _kept(f, "shuffled planted"),
        ),
        Check(
            "planted: fall of the FVU from the narrowest to the widest dictionary",
            lambda f: _fall(f["planted"], PLANTED_WIDTHS),
            at_least=0.3,
            premise=True,
        ),
        Check(
            "activations: R² of the error vector regressed on the activation, mean over widths",
            lambda f: _mean(f["activations"], "error_r2", WIDTHS),
            at_least=0.4,
            control=lambda f: _mean(f["shuffled"], "error_r2", WIDTHS),
            required=False,
        ),
        Check(
            "ideal: R² of the error vector with noise on the data less that with as much noise on "
            "the reconstruction",
            lambda f: f["ideal"]["error_r2_noisy_data"] - f["ideal"]["error_r2_noisy_recon"],
            at_least=0.1,
            required=False,
        ),
        Check(
            "FVU of a dictionary trained on the nonlinear part less that of one trained on the "
            "linear part",
            lambda f: f["parts"]["fvu_nonlinear"] - f["parts"]["fvu_linear"],
            at_least=0.02,
            required=False,
        ),
    ),
)
def dark_matter(trial: Trial) -> dict[str, Measured]:
    """Errors on planted data and on activations, taken apart."""
    shuffled: Measured = {}
    rows, cut = _activations(trial), _size(trial, HELD)
    train, held = rows[cut:], rows[:cut]
    models = _fitted(train, WIDTHS, K, trial.steps(STEPS), BATCH, trial.seed)
    on_text: Measured = {"norm_r2_of_data": _norm_of_data(held)}
    for width, model in models.items():
        recon = torch.as_tensor(model.reconstruct(held))
        on_text |= _taken_apart(held, recon, width)
        shuffled |= _taken_apart(held, _other_errors(held, recon), width)
    return {
        "activations": on_text,
        "shuffled": shuffled,
        **_planted(trial),
        "ideal": _ideal(trial.seed, _size(trial, HELD)),
        "parts": _parts(train, models, trial) | _pursuit(held[:PURSUED], models),
    }


def _size(trial: Trial, rows: int) -> int:
    """``rows``, scaled by the budget as far as linear maps can still be fitted."""
    return min(rows, max(trial.steps(rows), 1024))


def _activations(trial: Trial) -> Tensor:
    """The resident model's activations, ``(tokens, width)``, in an order drawn by the seed."""
    model = open_model("resident")
    tokens = pack(documents(TEXT), model.tokenizer, CONTEXT, 4 * _size(trial, TOKENS // 4))
    take = Activations(model.module, POINT)
    found = []
    for part in torch.arange(len(tokens)).split(32):
        batch = tokens.rows(part)
        kept = batch.mask.clone()
        kept[:, 0] = False
        found.append(take(batch.ids)[POINT][kept])
    rows = torch.cat(found)
    return rows[torch.from_numpy(np.random.default_rng(trial.seed).permutation(len(rows)))]


def _fitted(
    rows: Tensor | np.ndarray, widths: tuple[int, ...], k: int, steps: int, batch: int, seed: int
) -> dict[int, isthmus.Autoencoder]:
    models = isthmus.fit_many(
        {str(width): {"recipe": "topk", "k": k, "latent_dim": width} for width in widths},
        rows, steps=steps, batch_size=batch, lr=4e-3, lr_schedule="linear", warmup=20,
        average=None, seed=seed, progress=False,
    )  # fmt: skip
    return {int(width): model for width, model in models.items()}


def _taken_apart(x: Tensor | np.ndarray, recon: Tensor | np.ndarray, width: int) -> Measured:
    found = error_decomposition(x, recon)
    return {f"{name}_w{width}": value for name, value in found.items()}


def _other_errors(x: Tensor, recon: Tensor) -> Tensor:
    """The reconstructions, were each row's error that of another."""
    return x - (x - recon).roll(1, 0)


def _norm_of_data(x: Tensor) -> Result:
    """R² of the squared norm of the data themselves."""
    return error_decomposition(x, torch.zeros_like(x))["norm_r2"]


def _planted(trial: Trial) -> dict[str, Measured]:
    x = _made(trial.seed, _size(trial, 1 << 16), 0)[0]
    held, on, directions = _made(trial.seed, _size(trial, HELD), 1)
    steps = trial.steps(PLANTED_STEPS)
    figures: dict[str, Measured] = {"planted": {}, "shuffled planted": {}}
    models = _fitted(x, PLANTED_WIDTHS, ACTIVE, steps, PLANTED_BATCH, trial.seed)
    for width, model in models.items():
        recon = np.asarray(model.reconstruct(held))
        nearest = recovery(model, directions).per
        assert nearest is not None
        missed = nearest < LEARNED
        figures["planted"][f"missed_w{width}"] = float(missed.sum())
        for arm, rebuilt in (
            ("planted", recon),
            ("shuffled planted", held - np.roll(held - recon, 1, 0)),
        ):
            ratio = _missed_ratio(split_error(held, rebuilt), on[:, missed], directions[missed])
            figures[arm] |= _taken_apart(held, rebuilt, width) | {f"missed_ratio_w{width}": ratio}
    return figures


def _made(seed: int, rows: int, stream: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a sparse and a dense part, the sparse coefficients, and their directions."""
    rates = 1.0 / np.arange(1, TRUTHS + 1)
    rates = np.minimum(rates * ACTIVE / rates.sum(), MOST)
    planted = Planted(ELEMENTS, TRUTHS, frequencies=rates, seed=seed)
    x, coefficients = planted.sample(rows, stream)
    drawn = np.random.default_rng([seed, 1]).standard_normal((ELEMENTS, DENSE_DIRECTIONS))
    dense = np.random.default_rng([seed, 2, stream]).standard_normal((rows, DENSE_DIRECTIONS))
    x = x + (DENSE * dense @ np.linalg.qr(drawn)[0].T).astype(np.float32)
    return x, coefficients.toarray(), planted.directions


def _missed_ratio(parts: ErrorParts, on: np.ndarray, directions: np.ndarray) -> float:
    """Energy of truths in the linear part of the error, divided by that in the rest.

    Slopes that are nothing but chance add to both, and so bring the ratio nearer to that of the
    parts' own energies.
    """
    on = on[parts.rows]
    centred, spread = on - on.mean(0), on.var(0).clip(1e-12)
    linear, rest = (
        float((((part @ directions.T) * centred).mean(0) ** 2 / spread).sum())
        for part in (parts.linear, parts.nonlinear)
    )
    return linear / rest


def _ideal(seed: int, rows: int = HELD) -> Measured:
    """The most frequent truths as they are, and noise of one size in either place."""
    x, on, directions = _made(seed, rows, 1)
    learned = PLANTED_WIDTHS[1]
    recon = on[:, :learned] @ directions[:learned]
    noise = np.random.default_rng([seed, 3]).standard_normal(x.shape)
    noise *= NOISE * np.sqrt(((x - recon) ** 2).sum() / (noise**2).sum())
    cases = {
        "clean": (x, recon),
        "noisy_data": (x + noise, recon),
        "noisy_recon": (x, recon + noise),
    }
    return {
        f"{name}_{case}": value
        for case, pair in cases.items()
        for name, value in error_decomposition(*pair).items()
    }


def _parts(x: Tensor, models: dict[int, isthmus.Autoencoder], trial: Trial) -> Measured:
    """What a further dictionary makes of each part of the error."""
    width = WIDTHS[1]
    parts = split_error(x, models[width].reconstruct(x))
    figures: Measured = {}
    for name, part in (("linear", parts.linear), ("nonlinear", parts.nonlinear)):
        left = part.astype(np.float32)
        train, held = left[: 3 * len(left) // 4], left[3 * len(left) // 4 :]
        again = _fitted(train, (width,), K, trial.steps(PART_STEPS), BATCH, trial.seed)[width]
        figures[f"fvu_{name}"] = isthmus.evaluate(again, held)["fvu"]
    return figures


def _pursuit(x: Tensor, models: dict[int, isthmus.Autoencoder]) -> Measured:
    """Errors where gradient pursuit finds the codes, with as many latents as the encoder's."""
    figures: Measured = {}
    for width, model in models.items():
        atoms = linear_decoder(model).atoms().detach()
        bias = linear_decoder(model).offset.detach()
        active = (torch.as_tensor(model.encode(x)) > 0).sum(1)
        code = gradient_pursuit(model.scaler(x) - bias, atoms, active)
        recon, encoded = torch.as_tensor(model.decode(code)), model.reconstruct(x)
        for name, rebuilt in (("pursuit", recon), ("encoder", encoded)):
            found = error_decomposition(x, rebuilt)
            for measure in ("fvu", "nonlinear_fvu"):
                figures[f"{measure}_{name}_w{width}"] = found[measure]
    return figures
