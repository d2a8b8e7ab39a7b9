import numpy as np
import pytest
import torch

import isthmus
from isthmus.studies import Ground, Trial
from isthmus.studies.benches.planted import (
    LEVELS,
    MEASURES,
    KnownDictionary,
    planted,
    true_dictionary,
    true_features,
    with_active,
)

TREE = (-1, -1, 0, 1)


@pytest.fixture(scope="module")
def ground():
    return planted(width=8, truths=16, active=2.0).open(Trial(3, probing=True))


@pytest.fixture(scope="module")
def tree():
    bench = planted(
        width=8, truths=4, frequencies=(0.4, 0.4, 0.1, 0.1), tree=TREE, geometry="orthogonal",
        magnitudes="constant", about="a small tree",
    )  # fmt: skip
    assert "a small tree" in bench.setting
    return bench.open(Trial(3, probing=True))


@pytest.fixture(scope="module")
def dictionaries(ground):
    shared = {"latent_dim": 96, "steps": 3, "batch_size": 64, "seed": 0, "progress": False}
    return {
        "topk": isthmus.fit("topk", ground.rows, k=4, **shared),
        "msae": isthmus.fit("msae", ground.rows, k=4, **shared),
    }


def test_rows_held_out_are_others_of_the_same_directions(ground):
    again = planted(width=8, truths=16, active=2.0).open(Trial(4, probing=True))
    assert ground.rows.shape[1] == 8
    assert not np.array_equal(ground.rows[:16], ground.held[:16])
    assert not np.array_equal(ground.known["planted"].directions, again.known["planted"].directions)


def test_the_true_dictionary_keeps_the_largest_coefficients_of_either_sign():
    signed = planted(width=8, truths=16, active=3.0, magnitudes=(-1.0, 1.0))
    ground = signed.open(Trial(1, probing=True))
    found = true_dictionary(2).make({}, ground, Trial(1))
    truth = ground.known["planted"].sample(len(ground.held), 1)[1].toarray()
    codes = found.encode(ground.held)
    assert (codes < 0).any()
    assert ((codes != 0).sum(1) == np.minimum(2, (truth != 0).sum(1))).all()
    kept, left = np.abs(codes).max(1), np.abs(truth - codes).max(1)
    assert (kept >= left).all()
    whole = true_dictionary(16).make({}, ground, Trial(1))
    assert MEASURES["fvu"](whole, ground) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("kind", ["topk", "msae"])
def test_other_levels_are_those_of_the_same_weights(ground, dictionaries, kind):
    model = dictionaries[kind]
    for k in (1, 4, 9):
        codes = np.asarray(with_active(model, k).encode(ground.held))
        assert (codes != 0).sum(1).max() == k
    assert (np.asarray(model.encode(ground.held)) != 0).sum(1).max() == 4  # it is left as it was
    found = MEASURES["fvu_by_k"](model, ground)
    assert found["fvu_k4"] == pytest.approx(MEASURES["fvu"](model, ground))
    several = [found[f"fvu_k{k}"] for k in LEVELS]
    assert found["fvu_all_k"] == pytest.approx(np.prod(several) ** (1 / 3))


def test_an_opposite_is_an_atom_on_the_other_side(ground, dictionaries):
    model = dictionaries["topk"]
    weight = model.decoder.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:4], weight[4:] = torch.eye(8)[:4], torch.eye(8)[4]
            weight[3] = -torch.eye(8)[0]
        assert MEASURES["antipodal"](model, ground) == pytest.approx(2 / 96)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_axes_are_recovered_from_either_side(ground, dictionaries):
    model = dictionaries["topk"]
    directions = torch.as_tensor(ground.known["planted"].directions, dtype=torch.float32)
    kept = model.decoder.weight.detach().clone()
    try:
        with torch.no_grad():
            model.decoder.weight.copy_(-directions.repeat(6, 1))
        assert MEASURES["recovery"](model, ground) < 0.5
        assert MEASURES["axis_recovery"](model, ground) == 1.0
    finally:
        with torch.no_grad():
            model.decoder.weight.copy_(kept)


def test_true_features_absorb_nothing(tree):
    truth = true_features().make({}, tree, Trial(3))
    assert MEASURES["absorption"](truth, tree) == {"absorption": 0.0, "silence": 0.0}
    assert MEASURES["fvu"](truth, tree) == pytest.approx(0.0, abs=1e-9)
    assert MEASURES["l0"](truth, tree) == pytest.approx(1.0, abs=0.1)


def test_a_dictionary_that_is_made_to_absorb_is_seen_to(tree):
    directions = tree.known["planted"].directions

    def encode(rows):
        found = rows @ directions.T
        found[:, :2] -= found[:, 2:]  # a parent is left to its child's latent
        return np.where(found > 0.5, found, 0.0)

    atoms = directions.copy()
    atoms[2:] += atoms[:2]
    made = KnownDictionary(atoms, encode)
    np.testing.assert_allclose(made.reconstruct(tree.held), tree.held, atol=1e-5)
    found = MEASURES["absorption"](made, tree)
    assert found["silence"] == 1.0
    # A quarter of a parent's rows have its child.
    assert found["absorption"] == pytest.approx(0.25, abs=0.06)


def test_grounds_are_told_apart_by_their_seed(ground):
    assert isinstance(ground, Ground)
    assert ground.seed == 3
