import numpy as np
import pytest
import torch

import isthmus
from isthmus.interpretation.geometry import ErrorParts, split_error
from isthmus.studies.sparse.dark_matter import (
    WIDTHS,
    K,
    _change,
    _fall,
    _ideal,
    _made,
    _missed_ratio,
    _other_errors,
    _pursuit,
    _taken_apart,
)


def test_changes_over_widths():
    figures = dict(zip((f"fvu_w{width}" for width in WIDTHS), (0.4, 0.3, 0.2), strict=True))
    assert _change(figures, "fvu", WIDTHS) == pytest.approx(0.2 / 0.3)
    assert _fall(figures, WIDTHS) == pytest.approx(0.5)


def test_energy_of_missed_truths_is_their_slope():
    rng = np.random.default_rng(0)
    on = rng.exponential(size=(50_000, 2)) * (rng.random((50_000, 2)) < 0.2)
    directions = np.eye(3)[:2]
    linear, rest = 0.8 * on @ directions, 0.2 * on @ directions
    rest = rest + [0.0, 0.0, 5.0] * rng.standard_normal((50_000, 1))
    parts = ErrorParts(np.arange(50_000), linear + rest, linear, np.zeros(50_000))
    assert _missed_ratio(parts, on, directions) == pytest.approx(16.0, rel=0.01)


def test_planted_rows_share_their_truth_over_streams():
    x, on, directions = _made(1, 500, 0)
    y, _, same = _made(1, 500, 1)
    np.testing.assert_array_equal(directions, same)
    assert not np.allclose(x, y)
    dense = x - on @ directions
    assert np.linalg.matrix_rank(dense, tol=1e-3) == 8
    assert dense.std() * np.sqrt(64 / 8) == pytest.approx(0.3, rel=0.05)


def test_noise_on_an_ideal_reconstruction_is_not_linear_in_the_data():
    found = _ideal(0)
    clean, noisy = (found[f"nonlinear_fvu_{case}"].value for case in ("clean", "noisy_recon"))
    total, more = (found[f"fvu_{case}"].value for case in ("clean", "noisy_recon"))
    assert noisy - clean == pytest.approx(more - total, rel=0.1)


def fvu(x, recon):
    return ((x - recon) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()


def test_figures_are_those_of_least_squares():
    x = _made(0, 3000, 0)[0].astype(np.float64)
    recon = np.tanh(x) + 0.1 * np.roll(x, 1, 0)
    found = _taken_apart(x, recon, 7)
    held = split_error(x, recon).rows
    rest = np.setdiff1d(np.arange(3000), held)
    with_one = np.column_stack([x, np.ones(3000)])
    error = x - recon
    wanted = np.column_stack([error, (error**2).sum(1)])
    said = with_one[held] @ np.linalg.lstsq(with_one[rest], wanted[rest], rcond=None)[0]
    expected = {
        "error_r2": 1 - fvu(error[held], said[:, :-1]),
        "norm_r2": 1 - fvu(wanted[held, -1:], said[:, -1:]),
        "fvu": fvu(x[held], recon[held]),
        "nonlinear_fvu": fvu(x[held], recon[held] + said[:, :-1]),
    }
    for name, value in expected.items():
        assert found[f"{name}_w7"].value == pytest.approx(value, rel=1e-6), name


def test_errors_of_other_rows_are_the_same_errors():
    x, recon = torch.randn(5, 3), torch.randn(5, 3)
    other = x - _other_errors(x, recon)
    torch.testing.assert_close(other[1:], (x - recon)[:-1])
    torch.testing.assert_close(other[0], (x - recon)[-1])


def test_pursuit_is_the_loop_over_rows_in_the_models_units():
    rows = 3.0 * torch.randn(300, 12, generator=torch.Generator().manual_seed(0)) + 5.0
    model = isthmus.fit("topk", rows, latent_dim=40, k=K, steps=2, batch_size=64, progress=False)
    found = _pursuit(rows, {40: model})
    atoms = model.decoder.weight.detach().double().numpy()
    bias = model.decoder.bias.detach().double().numpy()
    active = (np.asarray(model.encode(rows)) > 0).sum(1)
    inside = model.scaler(rows).double().numpy() - bias
    recon = []
    for row, latents in zip(inside, active, strict=True):
        z, chosen = np.zeros(40), np.zeros(40, bool)
        for _ in range(latents):
            products = atoms @ (row - z @ atoms)
            chosen[products.argmax()] = True
            change = (products * chosen) @ atoms
            step = change @ (row - z @ atoms) / max(change @ change, 1e-30)
            z = np.maximum(z + step * products * chosen, 0.0)
        recon.append(z @ atoms)
    held = split_error(rows, rows).rows
    part = np.stack(recon)[held]
    assert found["fvu_pursuit_w40"].value == pytest.approx(fvu(inside[held], part), rel=1e-3)
    assert found["fvu_pursuit_w40"].value < found["fvu_encoder_w40"].value
