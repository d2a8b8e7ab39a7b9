"""DEPICT: targets against their optimum, layers against convolutions, stages, resumption."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.cluster import KMeans
from torch.nn import functional as F

import isthmus
import isthmus.training
import zoo
from isthmus.anatomy import Clock, Signal
from isthmus.errors import IsthmusError
from isthmus.evaluation.clustering import clustering_accuracy
from isthmus.networks.clean_noisy import LayeredDecoder, LayeredEncoder
from isthmus.recipes import get_recipe
from isthmus.recipes.clustering.depict import (
    NearCentres,
    cluster_target,
    clusters,
    memberships,
)
from steps import step_forward


def planted(n=240, seed=0):
    """Three kinds of 8x8 images: bars on the left, on the right, in the middle, with noise."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(3, size=n)
    x = 0.15 * rng.random((n, 1, 8, 8))
    for place, columns in enumerate((slice(0, 2), slice(6, 8), slice(3, 5))):
        x[kinds == place, :, :, columns] += 0.7
    return x.astype(np.float32), kinds


X, KINDS = planted()
SMALL = {
    "clusters": 3, "maps": (6, 6), "memory": 100, "steps": 40, "batch_size": 40, "lr": 3e-3,
    "pretraining": 0.5, "progress": False,
}  # fmt: skip


def untrained(x=X, **options):
    recipe = get_recipe("depict")
    torch.manual_seed(0)
    options = {"clusters": 3, "maps": (6, 6), "memory": 100, "pretraining": 0.5, **options}
    signal = Signal.infer(x).bounded(float(x.min()), float(x.max()))
    made = recipe.build(signal, recipe.parse(options)[0])
    with torch.no_grad():
        made.prepare(torch.from_numpy(x))
    return made.train()


# --- targets ---------------------------------------------------------------------------------


def test_the_target_of_equal_rows_is_the_optimum_of_the_two_divergences():
    """For rows that are all p: min over q of KL(q || p) + KL(q || uniform)."""
    p = np.array([0.6, 0.3, 0.1])

    def divergences(free):
        q = np.exp(free) / np.exp(free).sum()
        return (q * np.log(q / p)).sum() + (q * np.log(3 * q)).sum()

    free = minimize(divergences, np.zeros(3), tol=1e-12).x
    best = np.exp(free) / np.exp(free).sum()
    rows = torch.from_numpy(p).repeat(5, 1)
    np.testing.assert_allclose(cluster_target(rows, rows.sum(0))[0], best, atol=1e-5)


@pytest.mark.parametrize("name", ["depict", "released"])
def test_targets_are_the_formula_and_the_prior_takes_from_large_clusters(name):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([4.0, 1.0, 0.5], size=50)
    sizes = p.sum(0)
    wanted = p / np.sqrt(sizes) if name == "depict" else p**2 / sizes
    wanted /= wanted.sum(1, keepdims=True)
    q = cluster_target(torch.from_numpy(p), torch.from_numpy(sizes), name)
    np.testing.assert_allclose(q, wanted)
    free = cluster_target(torch.from_numpy(p), None, name)
    assert q[:, 0].sum() < free[:, 0].sum()
    if name == "depict":
        np.testing.assert_allclose(free, p)


def test_an_empty_cluster_leaves_the_targets_finite():
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.equal(cluster_target(p, p.sum(0)), p)


def test_student_assignments_and_their_gradient_are_those_of_dec():
    """Xie et al. 2016, equations 1 to 5, for one degree of freedom."""
    rng = np.random.default_rng(0)
    z, centres = rng.standard_normal((7, 4)), rng.standard_normal((3, 4))
    near = 1.0 / (1.0 + np.square(z[:, None] - centres).sum(2))
    q = near / near.sum(1, keepdims=True)
    p = q**2 / q.sum(0)
    p /= p.sum(1, keepdims=True)
    part = NearCentres(4, 3).double()
    with torch.no_grad():
        part.weight.copy_(torch.from_numpy(centres))
    codes = torch.from_numpy(z).requires_grad_()
    found = part(codes).softmax(1)
    np.testing.assert_allclose(found.detach(), q)
    target = cluster_target(found.detach(), found.detach().sum(0), "released")
    np.testing.assert_allclose(target, p)
    (target * (target / found).log()).sum().backward()
    pull = 2 * near * (p - q)
    gaps = z[:, None] - centres
    np.testing.assert_allclose(codes.grad, (pull[..., None] * gaps).sum(1))
    np.testing.assert_allclose(part.weight.grad, -(pull[..., None] * gaps).sum(0))


def test_student_assignments_begin_at_the_centres_of_k_means():
    model = untrained(assignment="student", pretraining=0.0)
    bottleneck = model.bottleneck
    assert torch.equal(bottleneck.softmax.weight, bottleneck.centres)


# --- layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 15, 9), (2, 4, 21), (1, 5, 5)]
)
def test_the_decoder_mirrors_the_encoder_for_every_size(shape):
    encoder = LayeredEncoder(Signal("image", shape).bounded(0.0, 1.0), 7, (5, 6))
    decoder = LayeredDecoder(encoder)
    x = torch.rand(2, *shape)
    first, second, code = encoder.path(encoder.scaled(x))
    assert (first.shape[1:], second.shape[1:]) == encoder.shapes[1:]
    assert code.shape == (2, 7)
    parts = decoder.layers(code).split(decoder.sizes, 1)
    assert [p.shape[1] for p in parts] == [x[0].numel(), first[0].numel(), second[0].numel()]
    assert decoder(code).shape == x.shape
    # Every pixel is seen.
    x = x.requires_grad_()
    encoder.path(x)[2].square().sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


def test_published_sizes_for_28_pixels():
    encoder = LayeredEncoder(Signal("image", (1, 28, 28)).bounded(0.0, 1.0), 10, (50, 50))
    assert encoder.shapes == ((1, 28, 28), (50, 13, 13), (50, 7, 7))
    assert [p.shape[2] for p in encoder.parameters() if p.ndim == 4] == [4, 5]


def test_the_layer_error_is_that_of_the_clean_layers_seen_from_the_noisy_code():
    model = untrained(hidden_weight=0.3)
    x = torch.from_numpy(X[:9])
    out = model(x, Clock(0, 10, 9))
    net, back = model.encoder.encoder, model.decoder
    scaled = 2.0 * (x - X.min()) / (X.max() - X.min()) - 1.0
    first = F.leaky_relu(F.conv2d(scaled, net.conv1.weight, net.conv1.bias, 2), 0.01)
    second = F.leaky_relu(F.conv2d(first, net.conv2.weight, net.conv2.bias, 2, 2), 0.01)
    clean = torch.tanh(second.flatten(1) @ net.dense.weight.T + net.dense.bias)
    assert not torch.allclose(out.code.z, clean)
    deep = F.leaky_relu(back.dense(out.code.z), 0.01).unflatten(1, second.shape[1:])
    middle = F.leaky_relu(back.deconv2(deep), 0.01)
    image = torch.tanh(back.deconv1(middle))
    errors = [
        (made - wanted).square().flatten(1).mean(1)
        for made, wanted in ((image, scaled), (middle, first), (deep, second))
    ]
    term = next(part.term for part in model.objective if part.term.name == "layer_error")
    torch.testing.assert_close(term(model, out), errors[0] + 0.3 * (errors[1] + errors[2]))
    model.eval()
    torch.testing.assert_close(torch.from_numpy(model.encode(X[:9])), clean)


def test_the_noisy_path_has_the_share_of_zeros_that_was_asked_for():
    encoder = LayeredEncoder(Signal("image", (1, 32, 32)).bounded(0.0, 1.0), 4, (8, 8))
    x = torch.rand(20, 1, 32, 32)
    torch.manual_seed(0)
    first, second, _ = encoder.path(x, 0.2)
    for layer in (first, second):
        assert (layer == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (encoder.path(x)[0] != 0).all()


def test_reconstructions_are_in_the_users_units():
    raw = (X * 200 - 30).astype(np.float32)
    model = isthmus.fit("depict", raw, **{**SMALL, "steps": 60, "lr": 1e-2})
    rebuilt = model.reconstruct(raw)
    assert rebuilt.min() >= raw.min() - 1e-3
    assert rebuilt.max() <= raw.max() + 1e-3
    assert ((rebuilt - raw) ** 2).mean() < 0.3 * raw.var()


# --- stages ----------------------------------------------------------------------------------


def losses_at(model, step, total=100):
    """Output and losses of a step, after which the softmax was told of its update."""
    out = step_forward(model, torch.from_numpy(X[:20]), Clock(step, total, 20))
    losses = model.objective(model, out)
    model.bottleneck.after_update()
    return out, losses


def target_of(model, out):
    return model.bottleneck.target(out.code.clean, out.clock.progress)


def test_first_only_the_layers_count_then_the_clusters_too():
    model = untrained(reconstruction=0.5)
    losses_at(model, 48)
    assert not model.bottleneck.started
    _, losses = losses_at(model, 49)
    assert losses.total.item() == pytest.approx(losses.terms["layer_error"].item())
    assert model.bottleneck.started  # by k-means after the last update of the pretraining
    centres = model.bottleneck.centres.clone()
    _, losses = losses_at(model, 50)
    assert torch.equal(model.bottleneck.centres, centres)
    wanted = 0.5 * losses.terms["layer_error"] + losses.terms["cluster"]
    assert losses.total.item() == pytest.approx(wanted.item())


def test_the_softmax_starts_from_kmeans_of_the_recent_codes():
    model = untrained()
    for step in (0, 1, 2):
        losses_at(model, step)
    with torch.no_grad():
        codes = model.encoder.eval()(torch.from_numpy(X[:100])).clean
        model.encoder.train()
        recent = model.bottleneck.recent.clone()
    # 60 rows have been seen since 100 were remembered: these fill the ring from its start.
    torch.testing.assert_close(recent[60:], codes[60:])
    torch.testing.assert_close(recent[:60], codes[:20].repeat(3, 1))

    assert not model.bottleneck.started
    losses_at(model, 49)
    bottleneck = model.bottleneck
    best = KMeans(3, n_init=50, random_state=0).fit(bottleneck.recent.double().numpy())
    order = lambda centres: centres[np.lexsort(centres.T)]  # noqa: E731
    np.testing.assert_allclose(order(bottleneck.centres.numpy()), order(best.cluster_centers_),
                               atol=1e-4)  # fmt: skip
    torch.testing.assert_close(
        bottleneck.softmax.weight.detach(), F.normalize(bottleneck.centres, dim=1)
    )


def test_targets_are_first_the_nearest_centres_and_then_the_balanced_predictions():
    model = untrained(start=0.1)
    losses_at(model, 49)
    out, _ = losses_at(model, 52)
    clean = model.encoder(torch.from_numpy(X[:20])).clean.detach()
    nearest = ((clean[:, None] - model.bottleneck.centres) ** 2).sum(2).argmin(1)
    assert torch.equal(target_of(model, out), F.one_hot(nearest, 3).float())

    out, _ = losses_at(model, 60)
    softmax = model.bottleneck.softmax
    sizes = softmax(model.bottleneck.recent).softmax(1).sum(0)
    wanted = cluster_target(softmax(clean).softmax(1), sizes)
    torch.testing.assert_close(target_of(model, out), wanted)
    assert not target_of(model, out).requires_grad

    free = untrained(start=0.1, size_prior=False)
    losses_at(free, 49)
    losses_at(free, 52)
    out, _ = losses_at(free, 60)
    clean = free.encoder(torch.from_numpy(X[:20])).clean
    wanted = free.bottleneck.softmax(clean).softmax(1).detach()
    torch.testing.assert_close(target_of(free, out), wanted)


def test_without_reconstruction_the_decoder_rests_after_the_pretraining():
    model = untrained(reconstruction=0.0)
    _, losses = losses_at(model, 70)
    losses.total.backward()
    assert all((p.grad == 0).all() for p in model.decoder.parameters())
    assert model.encoder.encoder.conv1.weight.grad.abs().max() > 0


def test_fewer_rows_than_the_memory_are_remembered_once_each():
    model = untrained(x=X[:30], memory=100)
    assert model.bottleneck.held == 30
    with torch.no_grad():
        model.encoder.encoder.dense.bias.add_(0.1)
    for start in (0, 20):
        step_forward(model, torch.from_numpy(X[start : start + 20]), Clock(0, 10, 20))
    codes = model.encoder(torch.from_numpy(X[:40])).clean.detach()
    recent = model.bottleneck.recent
    torch.testing.assert_close(recent[:30], torch.cat([codes[30:], codes[10:30]]))
    assert not recent[30:].any()


class Stop(isthmus.training.Callback):
    def __init__(self, after):
        self.after = after

    def on_step(self, trainer, step):
        if step == self.after:
            raise RuntimeError("killed")


@pytest.mark.parametrize("after", [5, 20, 21, 33])
def test_resumed_in_any_stage_the_weights_are_the_same(tmp_path, after):
    options = {**SMALL, "start": 0.2, "validation": 0.2, "save_every": 10, "validate_every": 10}
    whole = isthmus.fit("depict", X, **options)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("depict", X, out=tmp_path / "run", callbacks=[Stop(after)], **options)
    again = isthmus.resume(tmp_path / "run", X, progress=False)
    assert zoo.sha(again) == zoo.sha(whole)
    np.testing.assert_array_equal(clusters(again, X), clusters(whole, X))


# --- clusters --------------------------------------------------------------------------------


DEC = {
    "assignment": "student", "target": "released", "reconstruction": 0.0, "start": 0.0,
    "dropout": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"target": "released"}, DEC], ids=["paper", "code", "dec"])
def test_planted_kinds_are_found(options):
    model = isthmus.fit("depict", X, **{**SMALL, "steps": 100, **options})
    found = clusters(model, X)
    assert found.dtype == np.int64
    assert clustering_accuracy(found, KINDS).value > 0.97
    fresh, kinds = planted(seed=1)
    shares = memberships(model, fresh)
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(shares.argmax(1), clusters(model, fresh))
    assert clustering_accuracy(clusters(model, fresh), kinds).value > 0.97


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: untrained(x=X.reshape(240, 64)), "reads images"),
        (lambda: untrained(x=X[:, :, :3]), "smaller than the kernel"),
        (lambda: untrained(x=X[:2]), "2 rows cannot make clusters=3"),
        (lambda: untrained(pretraining=0.6, start=0.4), "no part of the run"),
        (lambda: memberships(zoo.build("plain")[0], zoo.VECTORS), "no clusters"),
    ],
)
def test_what_cannot_work_is_one_sentence(call, message):
    with pytest.raises(IsthmusError, match=message):
        call()
