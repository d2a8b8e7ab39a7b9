"""Archetypal atoms lie among the candidates, or as near as was asked for."""

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

import isthmus
from isthmus.anatomy import SparseCode
from isthmus.errors import IsthmusError
from isthmus.networks import ArchetypalDictionary

X = np.random.default_rng(0).normal(1.0, 2.0, (400, 6)).astype(np.float32)


def fitted(relaxation, **options):
    options = {"latent_dim": 12, "k": 3, "steps": 60, "batch_size": 50, "lr": 1e-2, **options}
    return isthmus.fit("topk", X, archetypal=relaxation, progress=False, **options)


def outside(points, hull):
    """How far each point lies from the convex hull, by SciPy's least squares with a heavy row."""
    heavy = 1e4 * np.abs(hull).max()
    system = np.concatenate([hull.T, np.full((1, len(hull)), heavy)])
    return np.array([nnls(system, np.append(point, heavy))[1] for point in points])


@pytest.mark.parametrize("average", [None, 0.9])
def test_atoms_are_convex_combinations_of_rows_of_the_data(average):
    dictionary = fitted(0.0, average=average).decoder
    atoms = (dictionary.atoms() / dictionary.size.exp()).detach().double().numpy()
    candidates = dictionary.candidates.double().numpy()
    assert outside(atoms, candidates).max() < 1e-4
    assert outside(2.0 * atoms, candidates).max() > 0.1
    assert float(dictionary.size.detach()) != 0.0


def test_candidates_are_rows_less_one_centre():
    model = fitted(0.0, steps=1, lr=1e-9, scaling="none")
    moved = X[:, None, :] - model.decoder.candidates.numpy()
    centre = model.decoder.bias.detach().numpy()
    assert (np.abs(moved - centre).max(2).min(0) < 1e-4).all()


def test_relaxed_atoms_are_no_farther_from_the_hull_than_was_asked_for():
    dictionary = fitted(0.3).decoder
    atoms = (dictionary.atoms() / dictionary.size.exp()).detach().double().numpy()
    away = outside(atoms, dictionary.candidates.double().numpy())
    assert 1e-3 < away.max() <= 0.3 + 1e-4
    assert float(dictionary.rest.detach().norm(dim=1).max()) <= 0.3 + 1e-5


def test_with_one_atom_a_candidate_and_a_large_rest_any_atom_can_be_had():
    """Without a bound it is a free dictionary: the error of a free one is reached."""
    free = fitted(None, steps=300, candidates=None, unit=False)
    loose = fitted(100.0, steps=300)
    errors = [isthmus.evaluate(model, X)["fvu"].value for model in (free, loose)]
    assert errors[1] < 1.25 * errors[0]
    assert isthmus.evaluate(fitted(0.0, steps=300), X)["fvu"].value > errors[1]


def test_gradients_are_those_of_the_dense_product():
    torch.manual_seed(0)
    dictionary = ArchetypalDictionary(8, (5,), 6, 0.5).double().train()
    rows = torch.randn(40, 5, dtype=torch.double)
    dictionary.choose(rows, rows.mean(0))
    twin = copy.deepcopy(dictionary)
    values = torch.rand(7, 3, dtype=torch.double)
    indices = torch.stack([torch.randperm(8)[:3] for _ in range(7)])
    code = SparseCode(values, indices, 8)
    dictionary.decode(code).square().sum().backward()
    atoms = (twin.mixing @ twin.candidates + twin.rest) * twin.size.exp()
    (code.z @ atoms + twin.bias).square().sum().backward()
    for name, parameter in dictionary.named_parameters():
        torch.testing.assert_close(parameter.grad, dict(twin.named_parameters())[name].grad)


def test_atoms_that_are_kept_follow_the_weights():
    dictionary, other = (fitted(0.2, seed=seed).decoder.eval() for seed in (0, 1))
    with torch.no_grad():
        first = dictionary.atoms()
        assert dictionary.atoms() is first
        dictionary.size += 1.0
        torch.testing.assert_close(dictionary.atoms(), np.e * first)
        dictionary.load_state_dict(other.state_dict())
        assert not torch.allclose(dictionary.atoms(), np.e * first)


def test_a_run_is_saved_and_resumed_with_its_candidates(tmp_path):
    model = fitted(0.2, out=tmp_path / "run", candidates=20)
    loaded = isthmus.load(tmp_path / "run")
    assert loaded.decoder.candidates.shape == (20, 6)
    np.testing.assert_array_equal(loaded.reconstruct(X), model.reconstruct(X))
    atoms = loaded.atoms().detach().numpy()
    np.testing.assert_allclose(atoms, model.atoms().detach().numpy())
    assert loaded.W_dec.shape == (12, 6)


def test_what_cannot_be_is_one_sentence():
    with pytest.raises(IsthmusError, match=r"500 candidates cannot be drawn from the 4.. rows"):
        fitted(0.0, candidates=500)
    with pytest.raises(IsthmusError, match="set archetypal, too"):
        fitted(None, candidates=5)
    with pytest.raises(IsthmusError, match="folded"):
        fitted(0.0, steps=1).decoder.times(torch.ones(12))
