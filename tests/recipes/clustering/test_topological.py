"""The topological autoencoder: pairings against SciPy, the loss against NumPy, its gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist, pdist

import isthmus
from isthmus.anatomy import Code, Output, Signal, View
from isthmus.evaluation import persistence
from isthmus.recipes import get_recipe
from isthmus.recipes.clustering.topological import (
    Topology,
    lengths,
    persistence_pairs,
    random_pairs,
)


def points(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def spanning_tree(distances):
    return persistence.spanning_tree(len(distances), distances.__getitem__)[0]


def edge_lengths(distances, edges):
    return np.sort(distances[edges[:, 0], edges[:, 1]])


# --- pairings --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 28, 90])
def test_edges_are_scipys_spanning_tree(n):
    distances = cdist(points(n), points(n))
    wanted = minimum_spanning_tree(distances).tocoo()
    ours = {tuple(sorted(edge)) for edge in spanning_tree(distances).tolist()}
    assert ours == {tuple(sorted(e)) for e in zip(wanted.row, wanted.col, strict=True)}


@given(st.integers(1, 25), st.integers(1, 3), st.integers(0, 10**6))
def test_with_ties_and_duplicates_it_spans_and_has_the_heights_of_single_linkage(n, d, seed):
    """Integer points: many equal distances, many of them zero."""
    x = np.random.default_rng(seed).integers(0, 4, size=(n, d)).astype(float)
    distances = cdist(x, x)
    edges = spanning_tree(distances)
    assert edges.shape == (n - 1, 2)
    graph = np.zeros((n, n))
    graph[edges[:, 0], edges[:, 1]] = 1
    assert connected_components(graph, directed=False)[0] == 1
    merges = linkage(pdist(x), "single")[:, 2] if n > 1 else np.zeros(0)
    np.testing.assert_allclose(edge_lengths(distances, edges), merges)


def test_pairs_of_points_are_those_of_their_distances():
    x = points(40, 120)
    x[7] = x[3]
    pairs = persistence_pairs(torch.from_numpy(x))
    assert pairs.dtype == torch.int64
    wanted = spanning_tree(cdist(x, x))
    np.testing.assert_array_equal(pairs.numpy(), wanted)
    assert lengths(torch.from_numpy(x), pairs).min() == 0.0


@pytest.mark.parametrize("rows", [0, 1])
def test_no_point_and_one_point_have_no_edge(rows):
    assert spanning_tree(np.zeros((rows, rows))).shape == (0, 2)
    assert random_pairs(rows).shape == (0, 2)


def test_random_pairs_are_as_many_never_of_one_row_and_drawn_afresh():
    torch.manual_seed(0)
    drawn = random_pairs(200)
    assert drawn.shape == (199, 2)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert drawn.min() >= 0
    assert drawn.max() < 200
    assert len(drawn[:, 1].unique()) > 100
    assert not torch.equal(random_pairs(200), drawn)


# --- the loss --------------------------------------------------------------------------------


def model_for(signal, **options):
    recipe = get_recipe("topological")
    torch.manual_seed(0)
    return recipe.build(signal, recipe.parse({"scaling": "none", **options})[0])


def value(model, x, z, term=None):
    """The term for given data and codes."""
    term = term or topology(model)
    return term(model, Output(x, x, [View(x)], [Code(z)]))


def topology(model):
    return next(part.term for part in model.objective if part.term.name == "topology")


def test_the_loss_is_the_formula():
    x, z, scale = points(30, 5), points(30, 2, seed=1), 1.7
    of_x, of_z = cdist(x, x), cdist(z, z) / scale
    of_x /= of_x.max()
    total = 0.0
    for own, other in ((of_x, of_z), (of_z, of_x)):
        row, col = minimum_spanning_tree(own).nonzero()
        total += ((own[row, col] - other[row, col]) ** 2).sum()
    model = model_for(Signal("vector", (5,)))
    with torch.no_grad():
        topology(model).scale.fill_(scale)
    ours = value(model, torch.from_numpy(x), torch.from_numpy(z))
    assert ours.item() == pytest.approx(total / 30, rel=1e-6)


def test_gradients_reach_codes_and_scale_as_finite_differences_say():
    x = torch.from_numpy(points(12, 4))
    model = model_for(Signal("vector", (4,))).double()
    term = topology(model)

    def loss(z, scale):
        with torch.no_grad():
            before = term.scale.detach().clone()
        del term.scale
        term.scale = scale
        found = value(model, x, z)
        del term.scale
        term.scale = torch.nn.Parameter(before)
        return found

    z = torch.from_numpy(points(12, 2, seed=1)).requires_grad_()
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (z, scale))


def test_a_rotated_copy_at_the_right_scale_costs_nothing():
    x = torch.from_numpy(points(20, 3))
    turn = torch.linalg.qr(torch.from_numpy(points(3, 3, seed=2))).Q
    largest = torch.cdist(x, x).max().item()
    model = model_for(Signal("vector", (3,)))
    with torch.no_grad():
        topology(model).scale.fill_(largest)
    assert value(model, x, x @ turn).item() == pytest.approx(0.0, abs=1e-9)
    assert value(model, x, 1.2 * x @ turn).item() > 1e-3


def test_images_are_measured_by_their_largest_possible_distance():
    signal = Signal("image", (1, 4, 4)).bounded(-1.0, 3.0)
    model = model_for(signal)
    term = topology(model)
    assert term.largest == pytest.approx(4.0 * 4.0)
    assert Topology().largest is None
    x = torch.from_numpy(points(6, 16)).reshape(6, 1, 4, 4)
    z = torch.from_numpy(points(6, 2))
    scaled = value(model, x, z, Topology("persistent", 16.0))
    assert value(model, x, z).item() == pytest.approx(scaled.item())
    assert value(model, x, z).item() != pytest.approx(value(model, x, z, Topology()).item())


@pytest.mark.parametrize("pairs", ["persistent", "random"])
def test_coinciding_rows_have_a_finite_gradient(pairs):
    model = model_for(Signal("vector", (3,)))
    x, z = torch.ones(6, 3), torch.zeros(6, 2, requires_grad=True)
    loss = value(model, x, z, Topology(pairs))
    assert loss.item() == 0.0
    loss.backward()
    assert torch.isfinite(z.grad).all()
    assert value(model, x[:1], z[:1], Topology(pairs)).item() == 0.0


def test_the_control_compares_the_pairs_that_it_draws():
    model = model_for(Signal("vector", (5,)), pairs="random")
    x, z = points(20, 5), points(20, 2, seed=1)
    torch.manual_seed(3)
    drawn = [random_pairs(20).numpy() for _ in range(2)]
    of_x, of_z = cdist(x, x), cdist(z, z)
    difference = (of_x / of_x.max() - of_z) ** 2
    wanted = sum(difference[p[:, 0], p[:, 1]].sum() for p in drawn) / 20
    torch.manual_seed(3)
    ours = value(model, torch.from_numpy(x), torch.from_numpy(z))
    assert ours.item() == pytest.approx(wanted, rel=1e-6)


# --- the recipe ------------------------------------------------------------------------------


def test_published_network_and_training():
    recipe = get_recipe("topological")
    model = model_for(Signal("vector", (101,)))
    shapes = [p.shape for p in model.encoder.parameters() if p.ndim == 2]
    assert shapes == [(32, 101), (32, 32), (2, 32)]
    assert sum(isinstance(m, torch.nn.BatchNorm1d) for m in model.modules()) == 4
    training = recipe.parse({})[1]
    assert (training.batch_size, training.lr, training.weight_decay) == (28, 2.7e-4, 1e-5)
    weights = {part.term.name: part.weight.value for part in model.objective}
    assert weights == {"mse": 1.0, "topology": 0.43}


def test_training_keeps_the_lengths_of_the_tree():
    """Three clusters on a line: their order and gaps are the long edges of the tree."""
    rng = np.random.default_rng(0)
    centres = np.array([0.0, 4.0, 12.0])
    x = rng.normal(scale=0.2, size=(240, 8))
    x[:, 0] += np.repeat(centres, 80)
    x = x.astype(np.float32)
    model = isthmus.fit(
        "topological", x, weight=100.0, scaling="none", hidden=(16,), steps=120, lr=5e-3,
        batch_size=32, progress=False, log_every=1,
    )  # fmt: skip
    distances = [record["topology"] for record in model.history]
    z = model.encode(x)
    middles = np.array([z[i * 80 : (i + 1) * 80].mean(0) for i in range(3)])
    gaps = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    assert gaps[1] / gaps[0] == pytest.approx(2.0, rel=0.25)
    assert np.mean(distances[-20:]) < 0.2 * np.mean(distances[:5])


def test_without_weight_there_is_no_term_whose_scale_decay_could_bring_to_zero():
    # Of the scale nothing but weight decay has a gradient then, of which Adam makes steps of the
    # whole rate: from 1 it comes to zero, and the term divides by it.
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    model = isthmus.fit("topological", x, weight=0.0, lr=0.05, steps=400, progress=False)
    assert np.isfinite(model.encode(x)).all()
    assert "topology" not in model.history[-1]
