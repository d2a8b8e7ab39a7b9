"""BatchTopK: exactly k a row on average, one threshold at inference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import isthmus
from isthmus.anatomy import Clock, Output, Signal, SparseCode, Step, View
from isthmus.bottlenecks import BatchTopK
from isthmus.bottlenecks.batchtopk import smallest_of, top_of_batch
from isthmus.kernels import Preactivations, using

PATHS = ["reference", "torch", "auto"]


def preactivations(rows=40, width=640, d=5, shift=0.0, seed=0, repeat=1):
    """Rows of very different sizes, so that they differ in how many of theirs are kept."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, d)) * rng.uniform(0.2, 2.0, (rows, 1))
    x = np.repeat(x, repeat, 0)
    w, b = rng.normal(size=(width, d)), np.full(width, shift)
    h = Preactivations(*(torch.tensor(a, dtype=torch.float32) for a in (x, w, b)), None)
    return h, np.maximum(h.x.double().numpy() @ h.weight.double().numpy().T + shift, 0.0)


def top(h, k):
    """The code, and the smallest value that it keeps."""
    code = top_of_batch(h, k)
    return code, smallest_of(code.entries)


LONG = Clock(0, 1_000_000)


def trained_on(part, h, clock=LONG, parts=1):
    """A training step's forward pass, and what the step then lets the bottleneck observe."""
    code = part(h, sample=True)
    part.observe(Output(h.x, h.x, [View(h.x)], [code]), Step(clock, parts=parts))
    return code


def of_batch(u, k):
    """The k rows largest of all, by sorting."""
    cut = np.sort(u.ravel())[::-1][k * len(u) - 1]
    return np.where(u >= cut, u, 0.0), cut


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("k", [1, 4, 30])
def test_exactly_k_a_row_on_average(path, k):
    h, u = preactivations()
    with using(path):
        code, smallest = top(h, k)
    z, cut = of_batch(u, k)
    np.testing.assert_allclose(code.z, z, atol=1e-5)
    assert int((code.z != 0).sum()) == k * len(u)
    assert float(smallest) == pytest.approx(cut, rel=1e-5)
    counts = (code.z != 0).sum(1)
    assert counts.min() < k < counts.max()


def test_with_few_active_latents_the_code_is_sparse():
    h, _ = preactivations()
    for path in ("torch", "auto"):
        with using(path):
            assert isinstance(top_of_batch(h, 2), SparseCode)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shift", [-1.0, -4.0, -100.0])
def test_where_fewer_are_positive_all_of_these_stay(path, shift):
    h, u = preactivations(rows=70, width=160, shift=shift)
    k = 9
    with using(path):
        code, smallest = top(h, k)
    positive = u[u > 0]
    if len(positive) <= k * len(u):
        np.testing.assert_allclose(code.z, u, atol=1e-5)
        assert float(smallest) == pytest.approx(
            positive.min(initial=np.inf) if len(positive) else 0
        )
    else:
        assert int((code.z != 0).sum()) == k * len(u)


@pytest.mark.parametrize("path", PATHS)
def test_ties_do_not_add_up(path):
    """Ten copies of each row: every value comes ten times, and the cut falls among equals."""
    h, u = preactivations(rows=7, repeat=10)
    with using(path):
        code = top_of_batch(h, 1)
    assert int((code.z != 0).sum()) == len(u) == 70
    np.testing.assert_allclose(
        np.sort(code.z.numpy().ravel())[-70:], np.sort(u.ravel())[-70:], atol=1e-5
    )


def test_half_precision_keeps_no_more():
    h, u = preactivations()
    with torch.autocast("cpu", torch.bfloat16):
        code = top_of_batch(h, 4)
    assert code.z.dtype == torch.bfloat16
    assert int((code.z != 0).sum()) == 4 * len(u)


@given(
    rows=st.integers(1, 30), width=st.integers(1, 300), k=st.integers(1, 5), seed=st.integers(0, 99)
)
def test_paths_agree(rows, width, k, seed):
    k = min(k, width)
    h, u = preactivations(rows, width, 3, 0.1, seed)
    with using("reference"):
        expected, cut = top(h, k)
    for path in ("torch", "auto"):
        with using(path):
            code, smallest = top(Preactivations(h.x, h.weight, h.bias, None), k)
        torch.testing.assert_close(code.z, expected.z, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(smallest, cut, atol=1e-5, rtol=1e-5)
    assert int((expected.z != 0).sum()) == min(k * rows, int((u > 0).sum()))


@pytest.mark.parametrize("path", PATHS)
def test_gradients_are_those_of_the_dense_product_where_it_is_kept(path):
    h, u = preactivations()
    k, upstream = 3, torch.randn(u.shape, generator=torch.Generator().manual_seed(0))
    leaves = [t.clone().requires_grad_() for t in (h.x, h.weight, h.bias)]
    with using(path):
        code = top_of_batch(Preactivations(*leaves, None), k)
        (code.z * upstream).sum().backward()
    kept = torch.from_numpy(of_batch(u, k)[0] > 0)
    exact = [t.detach().double().requires_grad_() for t in leaves]
    dense = exact[0] @ exact[1].T + exact[2]
    (torch.where(kept, dense, 0.0) * upstream).sum().backward()
    for ours, truth in zip(leaves, exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), truth.grad, atol=1e-4, rtol=1e-4)


# --- the threshold ---------------------------------------------------------------------------


def test_the_forward_pass_alone_moves_nothing():
    part = BatchTopK(640, 3, 10)
    part(kept_of(0)[0], sample=True)
    assert float(part.threshold) == 0.0
    assert int(part.batches) == 0
    assert not part.counter.silent_rows.any()


def test_of_an_accumulated_batch_the_mean_of_the_parts_counts():
    """Each part kept its own largest; the joined rows are one batch."""
    part, codes, cuts = BatchTopK(640, 3, 10), [], []
    for seed in (0, 1):
        h, cut = kept_of(seed)
        codes.append(part(h, sample=True).offgraph())
        cuts.append(cut)
    joined = type(codes[0]).join(codes)
    x = torch.zeros(80, 5)
    part.observe(Output(x, x, [View(x)], [joined]), Step(Clock(0, 100), parts=2))
    assert int(part.batches) == 1
    assert float(part.threshold) == pytest.approx(np.mean(cuts), rel=1e-5)


def kept_of(seed, k=3):
    h, u = preactivations(seed=seed)
    return h, of_batch(u, k)[1]


def test_the_threshold_is_the_mean_of_the_smallest_values_kept():
    part, cuts = BatchTopK(640, 3, 10), []
    for seed in range(5):
        h, cut = kept_of(seed)
        trained_on(part, h)
        cuts.append(cut)
        assert float(part.threshold) == pytest.approx(np.mean(cuts), rel=1e-5)


@pytest.mark.parametrize(("decay", "total", "memory"), [(0.75, 1000, 4), (0.999, 60, 3)])
def test_old_batches_are_forgotten(decay, total, memory):
    """After as many batches as it remembers, each new one has the weight 1 / memory."""
    part, expected = BatchTopK(640, 3, 10, decay=decay), 0.0
    for seed in range(7):
        h, cut = kept_of(seed)
        trained_on(part, h, Clock(seed, total))
        expected += (cut - expected) / min(seed + 1, memory)
        assert float(part.threshold) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_at_inference_a_row_is_judged_alone(path):
    part = BatchTopK(640, 3, 10)
    trained_on(part, kept_of(0)[0])
    before = {n: t.clone() for n, t in part.state_dict().items()}
    h, u = preactivations(seed=1)
    threshold = float(part.threshold)
    with using(path):
        for sample in (False, True):  # held-out rows are judged as at inference
            code = part.eval()(h, sample=sample)
            np.testing.assert_allclose(code.z, np.where(u > threshold, u, 0.0), atol=1e-5)
        alone = part(Preactivations(h.x[4:5], h.weight, h.bias, None))
    np.testing.assert_allclose(alone.z, np.where(u > threshold, u, 0.0)[4:5], atol=1e-5)
    assert all(torch.equal(t, before[n]) for n, t in part.state_dict().items())
    assert {"threshold", "batches"} <= set(before)


def test_the_start_is_scaled_to_rebuild_best():
    model = isthmus.recipes.get_recipe("batchtopk").build(
        Signal.infer(np.zeros((2, 6), np.float32)),
        {"latent_dim": 200, "k": 3, "scaling": "none"},
    )
    x = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    model.prepare(x)
    assert int(model.bottleneck.batches) == 0
    rebuilt = (model.train()(x, Clock(0, 100)).recon - model.decoder.bias).detach()
    left = x - model.decoder.bias.detach() - rebuilt
    # The best factor of a vector leaves a rest that is orthogonal to it.
    assert float((left * rebuilt).sum()) == pytest.approx(0.0, abs=1e-2)
    assert float(rebuilt.square().sum()) > 10.0
