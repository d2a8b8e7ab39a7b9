"""The claim on dark matter: its controls, against least squares and a loop over rows."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.interpretation.geometry import error_decomposition, split_error
from isthmus.studies.sparse import dark_matter as page


def test_planted_rows_are_sparse_and_dense_parts():
    x, on, directions = page.made(1, 500)
    dense = x - on @ directions
    assert np.linalg.matrix_rank(dense, tol=1e-3) == page.DENSE_DIRECTIONS
    assert dense.std() * np.sqrt(64 / 8) == pytest.approx(page.DENSE, rel=0.05)
    assert not np.allclose(x, page.made(2, 500)[0])


def test_an_ideal_dictionary_leaves_what_is_linear_and_noise_on_it_is_not():
    found = page.ideal(0, 8192)
    assert found["ideal"]["error_r2"].value > 0.5
    clean, noisy = found["ideal"], found["noisy-reconstruction"]
    more = noisy["fvu"].value - clean["fvu"].value
    gained = noisy["nonlinear_fvu"].value - clean["nonlinear_fvu"].value
    assert gained == pytest.approx(more, rel=0.1)


def test_errors_of_other_rows_are_the_same_errors_and_not_linear():
    x = page.made(0, 3000)[0]
    recon = np.tanh(x)
    other = page.other_errors(x, recon, 0)
    dealt, own = (np.sort(error, 0) for error in (x - other, x - recon))
    np.testing.assert_allclose(dealt, own, atol=1e-6)
    assert error_decomposition(x, recon)["error_r2"].value > 0.3
    assert error_decomposition(x, other)["error_r2"].value < 0.0


def test_errors_are_those_of_rows_far_away_where_neighbours_are_alike():
    """Tokens of one text are: the error of the token before would be linear in the activation."""
    x = np.repeat(page.made(0, 1500)[0], 2, 0)
    found = error_decomposition(x, page.other_errors(x, np.tanh(x), 0))
    assert found["error_r2"].value < 0.0


def test_pursuit_is_the_loop_over_rows_in_the_models_units():
    rows = (3.0 * np.random.default_rng(0).standard_normal((300, 12)) + 5.0).astype(np.float32)
    model = isthmus.fit("topk", rows, latent_dim=40, k=16, steps=2, batch_size=64, progress=False)
    found = page.pursued(rows, model)
    atoms = model.decoder.weight.detach().double().numpy()
    bias = model.decoder.bias.detach().double().numpy()
    active = (np.asarray(model.encode(rows)) > 0).sum(1)
    inside = model.scaler(torch.from_numpy(rows)).double().numpy() - bias
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
    wanted, left = inside[held], inside[held] - np.stack(recon)[held]
    wanted = (left**2).sum() / ((wanted - wanted.mean(0)) ** 2).sum()
    assert found["pursuit"]["fvu"].value == pytest.approx(wanted, rel=1e-3)
    assert found["pursuit"]["fvu"].value < found["encoder"]["fvu"].value
