import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import isthmus
from isthmus.anatomy import Signal
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.networks.merged_statistics import MergedMoments, Ridge, Span, merge
from isthmus.recipes import get_recipe
from isthmus.recipes.federated import daef as page
from isthmus.recipes.federated.daef import DAEFSolver, Solved, SolvedLayer

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(150, 3)) @ RNG.normal(size=(3, 9)) + 0.3 * RNG.normal(size=(150, 9))).astype(
    np.float32
)
SMALL = {"latent_dim": 3, "hidden": (7, 5), "projection_seed": 1}


def built(rows=X, **options):
    recipe = get_recipe("daef")
    chosen, _ = recipe.parse({**SMALL, **options})
    model = recipe.build(as_source(rows).signal, chosen)
    assert isinstance(model.solver, DAEFSolver)
    return model


def solve(parts, **options) -> Solved:
    """The roles of a federation, one after another."""
    model = built(np.concatenate(parts), **options)
    solved = model.solver.start(model)
    for stage in model.solver.stages:
        found = [model.solver.local(solved, stage, as_source(part)) for part in parts]
        solved = model.solver.solve(model, solved, stage, merge(found))
    return solved


def gap(a: Solved, b: Solved) -> float:
    pairs = zip((*a.weights, a.bias, a.scale), (*b.weights, b.bias, b.scale), strict=True)
    return max(float((u - v).abs().max()) for u, v in pairs)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def ridge(inputs, wanted, slope, penalty):
    """Weighted normal equations with a bias row, one output at a time, in NumPy."""
    A = np.column_stack([np.ones(len(inputs)), inputs])
    columns = []
    for j in range(wanted.shape[1]):
        F = np.diag(slope[:, j])
        left = A.T @ F @ F @ A + penalty * np.eye(A.shape[1])
        columns.append(np.linalg.solve(left, A.T @ F @ F @ wanted[:, j]))
    return np.column_stack(columns)


# --- statistics ------------------------------------------------------------------------------


def test_ridge_solves_the_weighted_normal_equations():
    inputs, wanted = RNG.normal(size=(40, 5)), RNG.normal(size=(40, 3))
    slope = sigmoid(wanted) * (1 - sigmoid(wanted))
    data = [torch.from_numpy(a) for a in (inputs, wanted, slope)]
    for penalty in (1e-2, 3.0):
        w = Ridge.of([tuple(data)]).solve(penalty)
        np.testing.assert_allclose(w, ridge(inputs, wanted, slope, penalty), atol=1e-10)
        w = Ridge.of([(data[0], data[1], None)]).solve(penalty)
        expected = ridge(inputs, wanted, np.ones_like(slope), penalty)
        np.testing.assert_allclose(w, expected, atol=1e-10)


def test_merged_ridge_has_the_factor_and_sums_of_all_rows():
    inputs, wanted = torch.randn(30, 4).double(), torch.randn(30, 2).double()
    slope = torch.rand(30, 2).double()
    parts = [Ridge.of([(inputs[i], wanted[i], slope[i])]) for i in torch.arange(30).split(11)]
    merged = merge(parts)
    A = torch.cat([torch.ones(30, 1), inputs], 1)
    for j in range(2):
        gram = (A * slope[:, j, None] ** 2).T @ A
        torch.testing.assert_close(merged.factor[j] @ merged.factor[j].T, gram)
        torch.testing.assert_close(merged.M[:, j], A.T @ (slope[:, j] ** 2 * wanted[:, j]))


def test_span_leads_with_the_left_singular_vectors():
    rows = torch.from_numpy(X).double()
    leading = Span.of(rows.split(40)).leading(4).numpy()
    U = np.linalg.svd(X.astype(np.float64).T)[0][:, :4]
    np.testing.assert_allclose(np.abs((U * leading).sum(0)), np.ones(4), atol=1e-10)
    assert (leading[np.abs(leading).argmax(0), range(4)] > 0).all()


def test_sign_does_not_hang_on_rounding_between_a_column_and_its_negative():
    column = RNG.normal(size=(60, 1))
    rows = torch.from_numpy(np.hstack([column, -column, 0.1 * RNG.normal(size=(60, 1))]))
    for seed in range(10):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        assert Span.of([rows[order]]).leading(1)[0, 0] > 0


def test_directions_beyond_the_rank_are_zero():
    rows = torch.from_numpy(RNG.normal(size=(50, 2)) @ RNG.normal(size=(2, 6)))
    leading = Span.of(rows.split(20)).leading(4)
    torch.testing.assert_close(leading[:, :2].norm(dim=0), torch.ones(2).double())
    assert (leading[:, 2:] == 0).all()


def test_moments_merge_to_those_of_all_rows():
    rows = torch.from_numpy(1e4 + X.astype(np.float64))
    merged = merge([MergedMoments.of(rows[:1].split(1)), MergedMoments.of(rows[1:].split(33))])
    assert merged.rows == 150
    torch.testing.assert_close(merged.mean, rows.mean(0))
    torch.testing.assert_close(merged.squares / 150, rows.var(0, correction=0))


# --- the method ------------------------------------------------------------------------------


@pytest.mark.parametrize("projection", ["orthogonal", "xavier"])
def test_model_is_the_published_chain_of_solutions(projection):
    """All layers again, in NumPy, from the method's definition alone."""
    options = {**SMALL, "projection": projection, "penalty": 0.05, "output_penalty": 0.2}
    model = isthmus.fit("daef", X, encoder_hidden=(6,), progress=False, **options)
    scaled = StandardScaler().fit_transform(X.astype(np.float64))
    layers = [p for p in model.modules() if isinstance(p, SolvedLayer)]
    h = scaled
    for layer, width in zip(layers, (6, 3), strict=False):
        U = np.linalg.svd(h.T)[0][:, :width]
        before = h @ (U * np.sign((U * layer.weight.numpy()).sum(0)))
        h = sigmoid(before)
    np.testing.assert_allclose(model.encode(X), h, atol=1e-5)
    for place in (1, 2):
        weight, bias = (a.numpy() for a in model.solver.random_layer(place))
        features = sigmoid(h @ weight + bias)
        before = h @ ridge(features, before, h * (1 - h), 0.05)[1:].T
        h = sigmoid(before)
    last = ridge(h, scaled, np.ones_like(scaled), 0.2)
    recon = h @ last[1:] + last[0]
    np.testing.assert_allclose(-model.score(X), ((recon - scaled) ** 2).mean(1), rtol=1e-3)
    assert model.history[0]["mse"] == pytest.approx(((recon - scaled) ** 2).mean(), rel=1e-6)


def test_linear_encoder_directions_span_the_principal_subspace():
    model = isthmus.fit("daef", X, progress=False, **SMALL)
    W = next(p for p in model.modules() if isinstance(p, SolvedLayer)).weight.numpy()
    V = PCA(3).fit(StandardScaler().fit_transform(X)).components_
    np.testing.assert_allclose(np.linalg.svd(V @ W)[1], np.ones(3), atol=1e-5)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 149), max_size=6, unique=True), st.booleans())
def test_partitions_do_not_change_the_weights(cuts, shuffled):
    whole = solve([X])
    order = np.random.default_rng(1).permutation(len(X)) if shuffled else np.arange(len(X))
    assert gap(solve(np.split(X[order], sorted(cuts))), whole) <= 1e-6


@pytest.mark.parametrize(
    "options", [{"encoder_hidden": (6,)}, {"projection": "xavier"}, {"scaling": "global"}]
)
def test_parts_give_the_weights_of_their_concatenation(options):
    parts = np.split(X, [5, 60, 90])
    assert gap(solve(parts, **options), solve([X], **options)) <= 1e-6
    together, apart = built(**options), built(**options)
    together.solver.fit(together, as_source(X), lambda *_: None)
    figures = apart.solver.fit_parts(apart, [as_source(part) for part in parts])
    for (name, a), b in zip(
        together.state_dict().items(), apart.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=name)
    assert figures["mse"] == pytest.approx(-float(together.score(X).mean()), rel=1e-4) or (
        options.get("scaling") == "global"
    )


def test_chunks_do_not_change_the_weights(monkeypatch):
    whole = solve([X])
    monkeypatch.setattr(page, "CHUNK", 13)
    assert gap(solve([X]), whole) <= 1e-9


def test_rows_never_meet_before_they_are_summed():
    """What a partition sends has a size that does not grow with its rows."""
    model = built()
    solved = model.solver.start(model)
    for stage in model.solver.stages:
        few, many = (model.solver.local(solved, stage, as_source(x)) for x in (X[:40], X))
        for name, value in vars(many).items():
            if name != "rows":
                assert value.shape == getattr(few, name).shape
        solved = model.solver.solve(model, solved, stage, many)


# --- random features -------------------------------------------------------------------------


def test_random_features_depend_on_the_stored_seed_alone():
    model = built()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    first = [model.solver.random_layer(place) for place in (1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    for (w, b), (v, c) in zip(first, [built().solver.random_layer(p) for p in (1, 2)], strict=True):
        assert torch.equal(w, v)
        assert torch.equal(b, c)
    other = built(projection_seed=2).solver.random_layer(1)[0]
    assert not torch.allclose(first[0][0], other)
    assert "solver.seed" in model.state_dict()


def test_orthogonal_features_are_orthonormal_and_xavier_ones_have_its_variance():
    for hidden, latent in (((9, 7, 5), 3), ((3, 5), 4)):
        solver = built(hidden=hidden, latent_dim=latent).solver
        for place in range(1, len(hidden) + 1):
            weight, bias = solver.random_layer(place)
            gram = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            torch.testing.assert_close(gram, torch.eye(min(weight.shape)).double())
            assert bias.norm() == pytest.approx(1)
    wide = Signal("vector", (500,))
    recipe = get_recipe("daef")
    options = {"latent_dim": 200, "hidden": (300,), "projection": "xavier"}
    weight, _ = recipe.build(wide, recipe.parse(options)[0]).solver.random_layer(1)
    # The standard error of a standard deviation over 60,000 draws is 0.3 percent.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.015)


# --- the recipe ------------------------------------------------------------------------------


def test_sigmoid_output_solves_for_clipped_logits_and_stays_in_range():
    U = (X - X.min(0)) / np.ptp(X, axis=0)
    model = isthmus.fit("daef", U, output="sigmoid", penalty=0.1, progress=False, **SMALL)
    recon = model.reconstruct(U)
    assert 0 < recon.min() < recon.max() < 1
    d = np.clip(U.astype(np.float64), 1e-3, 1 - 1e-3)
    with torch.no_grad():
        hidden = model.decoder[:2](torch.from_numpy(model.encode(U))).double().numpy()
    last = ridge(hidden, np.log(d / (1 - d)), d * (1 - d), 0.01)
    np.testing.assert_allclose(recon, sigmoid(hidden @ last[1:] + last[0]), atol=1e-4)
    with pytest.raises(IsthmusError, match="output=sigmoid"):
        isthmus.fit("daef", X, output="sigmoid", progress=False)


def test_no_gradient_and_all_weights_saved(tmp_path):
    model = isthmus.fit("daef", X, progress=False, out=tmp_path / "run", latent_dim=3, seed=5)
    assert not any(p.requires_grad for p in model.parameters())
    again = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(again.score(X), model.score(X))
    assert again.solver.seed == model.solver.seed
    other = isthmus.fit("daef", X, progress=False, latent_dim=3, seed=6)
    assert other.solver.seed != model.solver.seed


def test_too_many_latents_are_refused():
    with pytest.raises(IsthmusError, match="latent_dim to 9 or less"):
        built(latent_dim=10)
    with pytest.raises(IsthmusError, match="2 rows, fewer than the 3 latents"):
        isthmus.fit("daef", X[:2], progress=False, **SMALL)


@pytest.mark.parametrize("shape", [(20,), (1, 8, 8), (1, 28, 28)])
def test_default_options_fit_vectors_and_images(shape):
    rows = np.random.default_rng(0).random((120, *shape), dtype=np.float32)
    model = isthmus.fit("daef", rows, progress=False)
    Z = model.encode(rows)
    assert Z.shape == (120, 4)
    assert model.reconstruct(rows).shape == rows.shape
    np.testing.assert_array_equal(Z, model.encode(rows))


def test_constant_columns_keep_their_scale():
    rows = np.hstack([X, np.full((len(X), 1), 2.1, dtype=np.float32)])
    model = isthmus.fit("daef", rows, progress=False, **SMALL)
    assert model.scaler.scale[-1] == 1
    assert np.isfinite(model.score(rows + 1)).all()
    with pytest.raises(IsthmusError, match="constant"):
        isthmus.fit("daef", np.full((20, 5), 2.1, dtype=np.float32), progress=False)


def test_tumours_stand_out_as_from_principal_components():
    data, benign = load_breast_cancer(return_X_y=True)
    normal, malignant = data[benign == 1], data[benign == 0]
    train, test = normal[:250], np.concatenate([normal[250:], malignant])
    label = np.r_[np.zeros(len(normal) - 250), np.ones(len(malignant))]
    model = isthmus.fit("daef", train, progress=False)
    scaler = StandardScaler().fit(train)
    pca = PCA(4).fit(scaler.transform(train))
    z = scaler.transform(test)
    error = ((z - pca.inverse_transform(pca.transform(z))) ** 2).mean(1)
    ours, baseline = roc_auc_score(label, -model.score(test)), roc_auc_score(label, error)
    assert ours > 0.9
    assert ours >= baseline - 0.03
