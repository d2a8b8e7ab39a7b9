"""TopK: what is kept, by what order, with which k, and who has fired."""

import numpy as np
import pytest
import torch

from isthmus.anatomy import Autoencoder, Clock, Output, Signal, SparseCode, Step, View
from isthmus.bottlenecks import TopK
from isthmus.bottlenecks.topk import WideSparseCode
from isthmus.kernels import Preactivations, using
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE

ROWS, WIDTH, D = 9, 400, 6
PATHS = ["reference", "torch", "auto"]


def preactivations(seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(ROWS, D)), rng.normal(size=(WIDTH, D))
    b = rng.normal(size=WIDTH) + shift
    h = Preactivations(*(torch.tensor(a, dtype=torch.float32) for a in (x, w, b)), None)
    return h, x.astype(np.float32).astype(np.float64) @ w.T + b


def around(dictionary, bottleneck):
    return Autoencoder(
        Signal.infer(np.zeros((2, D), np.float32)),
        encoder=DictionaryEncoder(dictionary),
        bottleneck=bottleneck,
        decoder=dictionary,
        objective=MSE(),
    )


def observed(part, h):
    """The code of a training step, after which the counter is told of it."""
    code = part(h, sample=True)
    part.counter.observe(Output(h.x, h.x, [View(h.x)], [code]), Step())
    return code


def kept(u, k, key):
    """The k entries of each row of ``u`` with the largest ``key``, by sorting."""
    z = np.zeros_like(u)
    for row, (values, order) in enumerate(zip(u, np.argsort(-key, axis=1), strict=True)):
        z[row, order[:k]] = values[order[:k]]
    return z


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("k", [1, 5, 150])
def test_the_k_largest_rectified(path, k):
    h, u = preactivations(shift=-2.0)
    with using(path):
        code = TopK(WIDTH, k, 10)(h)
    assert code.values.shape == (ROWS, k)
    np.testing.assert_allclose(code.z, np.maximum(kept(u, k, u), 0.0), atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_by_magnitude_signs_are_kept(path):
    h, u = preactivations()
    with using(path):
        code = TopK(WIDTH, 5, 10, magnitude=True)(h)
    np.testing.assert_allclose(code.z, kept(u, 5, np.abs(u)), atol=1e-5)
    assert (code.values < 0).any()
    assert (code.values > 0).any()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wide", [None, 20])
def test_norms_decide_what_is_kept_but_not_its_value(path, wide):
    h, u = preactivations()
    dictionary = Dictionary(WIDTH, (D,), unit=False)
    norms = np.random.default_rng(1).uniform(0.1, 5.0, WIDTH)
    with torch.no_grad():
        dictionary.weight.mul_(torch.tensor(norms, dtype=torch.float32)[:, None])
    part = TopK(WIDTH, 5, 10, weigh=True, wide=wide)
    assert list(part.parameters()) == []
    with using(path):
        code = part(h, sample=True, model=around(dictionary, part))
    z = np.maximum(kept(u, 5, u * norms), 0.0)
    np.testing.assert_allclose(code.z.detach(), z, atol=1e-5)
    assert np.abs(z - np.maximum(kept(u, 5, u), 0.0)).max() > 0.1


@pytest.mark.parametrize("path", PATHS)
def test_the_wide_code_contains_the_narrow_one(path):
    h, u = preactivations()
    part = TopK(WIDTH, 5, 10, wide=20)
    with using(path):
        code = observed(part, h)
    assert isinstance(code, WideSparseCode)
    np.testing.assert_allclose(code.z.detach(), np.maximum(kept(u, 5, u), 0.0), atol=1e-5)
    np.testing.assert_allclose(code.wide.z.detach(), np.maximum(kept(u, 20, u), 0.0), atol=1e-5)
    # Only the narrow one counts as fired, and only it is there at inference.
    fired = torch.from_numpy((kept(u, 5, u) > 0).any(0))
    assert torch.equal(part.counter.silent_rows == 0, fired)
    assert type(part(h)) is SparseCode
    assert part(h).values.shape == (ROWS, 5)


@pytest.mark.parametrize(
    ("step", "k"), [(0, 105), (5, 80), (10, 55), (19, 10), (20, 5), (21, 5), (199, 5)]
)
def test_k_falls_in_a_line_over_a_tenth_of_the_run(step, k):
    h, _ = preactivations()
    part = TopK(WIDTH, 5, 10, start=105)
    assert part(h, sample=True, step=Step(Clock(step, 200))).values.shape == (ROWS, k)
    assert part(h, sample=True).values.shape == (ROWS, 5)
    assert part(h).values.shape == (ROWS, 5)
    # Held-out rows are judged with the k that is used at inference.
    assert part.eval()(h, sample=True, step=Step(Clock(step, 200))).values.shape == (ROWS, 5)


def test_a_latent_selected_with_value_zero_has_not_fired():
    x = torch.tensor([[1.0], [1.0]])
    weight, bias = torch.tensor([[2.0], [-1.0], [-3.0]]), torch.zeros(3)
    part = TopK(3, 2, 10)
    code = observed(part, Preactivations(x, weight, bias, None))
    assert 1 in code.indices
    assert part.counter.silent_rows.tolist() == [0, 2, 2]
    signed = TopK(3, 2, 10, magnitude=True)
    observed(signed, Preactivations(x, weight, bias, None))
    assert signed.counter.silent_rows.tolist() == [0, 2, 0]


@pytest.mark.parametrize("start", [5, 300])
def test_the_start_is_scaled_to_rebuild_best(start):
    """No other factor of the encoder gives a smaller first error."""
    torch.manual_seed(0)
    dictionary = Dictionary(WIDTH, (D,), unit=False)
    made = around(dictionary, TopK(WIDTH, 5, 10, start=start, weigh=True, fit_scale=True))
    x = torch.randn(100, D)
    made.prepare(x)
    weight = made.encoder.weight.detach().clone()
    assert made.bottleneck.counter.silent_rows.max() == 0
    assert float((weight / dictionary.weight.detach()).std()) < 1e-5

    def error(factor):
        with torch.no_grad():
            made.encoder.weight.copy_(factor * weight)
            out = made(x, Clock(0, 100))
            return MSE()(made, out).mean().item()

    errors = [error(factor) for factor in (0.8, 0.95, 1.0, 1.05, 1.2)]
    assert min(errors) == errors[2]
