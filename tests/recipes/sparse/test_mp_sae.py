"""MP-SAE: one atom after the other; a dictionary of another recipe with this encoder."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.recipes.sparse.mp_sae import to_matching_pursuit

X = np.random.default_rng(0).normal(0.5, 1.0, (400, 12)).astype(np.float32)


def fitted(recipe="mp-sae", **options):
    options = {"latent_dim": 32, "k": 4, "steps": 40, "batch_size": 100, **options}
    return isthmus.fit(recipe, X, lr=3e-3, progress=False, **options)


def test_codes_are_those_of_the_definition_and_rebuild_by_the_same_atoms():
    model = fitted()
    atoms = model.decoder.weight.detach().double()
    np.testing.assert_allclose(atoms.norm(dim=1), 1.0, atol=1e-5)
    x = model.scaler(torch.from_numpy(X)).double() - model.decoder.bias.detach().double()
    left, z = x.clone(), torch.zeros(400, 32, dtype=torch.float64)
    for _ in range(4):
        size, best = (left @ atoms.T).max(1)
        size = torch.relu(size)
        z.scatter_add_(1, best[:, None], size[:, None])
        left -= size[:, None] * atoms[best]
    np.testing.assert_allclose(model.encode(X), z, atol=2e-4)
    left_over = (model.scaler(torch.from_numpy(X)) - model.scaler(
        torch.from_numpy(model.reconstruct(X)))).double()  # fmt: skip
    np.testing.assert_allclose(left_over, left, atol=2e-4)


def test_more_steps_after_training_rebuild_better_each_time(tmp_path):
    model = fitted(out=tmp_path / "run")
    errors = []
    for k in (1, 2, 4, 8, 16):
        model.bottleneck.k = k
        errors.append(float(np.square(model.reconstruct(X) - X).mean()))
        assert ((model.encode(X) != 0).sum(1) <= k).all()
    assert errors == sorted(errors, reverse=True)
    isthmus.save(model, tmp_path / "again")
    assert isthmus.load(tmp_path / "again").bottleneck.k == 16
    with pytest.raises(IsthmusError, match="k=0 must be a positive whole number"):
        model.bottleneck.k = 0


def test_training_lowers_the_error():
    first, last = fitted(steps=1), fitted(steps=150)

    def error(model):
        return float(np.square(model.reconstruct(X) - X).mean())

    assert error(last) < 0.8 * error(first)


def test_orthogonal_pursuit_rebuilds_better_than_plain_with_the_same_atoms():
    model = fitted()
    plain, orthogonal = (to_matching_pursuit(model, 4, orthogonal=o) for o in (False, True))
    np.testing.assert_allclose(plain.encode(X), model.encode(X), atol=1e-5)
    error = [np.square(m.reconstruct(X) - X).mean() for m in (plain, orthogonal)]
    assert error[1] < error[0]


def test_the_atoms_of_another_recipe(tmp_path):
    model = fitted("topk")
    pursuing = to_matching_pursuit(model, 6)
    ours, theirs = pursuing.decoder.weight.detach(), model.decoder.weight.detach()
    torch.testing.assert_close(ours, torch.nn.functional.normalize(theirs, dim=1))
    assert np.square(pursuing.reconstruct(X) - X).mean() < (
        np.square(model.reconstruct(X) - X).mean()
    )
    isthmus.save(pursuing, tmp_path / "mp")
    np.testing.assert_array_equal(isthmus.load(tmp_path / "mp").encode(X), pursuing.encode(X))


def test_a_model_without_a_linear_dictionary_is_refused():
    model = isthmus.fit("vae", X, latent_dim=2, steps=2, progress=False)
    with pytest.raises(IsthmusError):
        to_matching_pursuit(model, 3)


def test_orthogonal_pursuit_of_more_than_there_can_be_is_refused():
    with pytest.raises(IsthmusError, match="more than orthogonal pursuit can take"):
        fitted(k=13, orthogonal=True)
