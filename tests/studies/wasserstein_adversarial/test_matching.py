"""The kernel discrepancy that SWAE is compared with."""

import numpy as np
import torch
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity, StandardNormal
from isthmus.studies.wasserstein_adversarial.matching import (
    SCALES,
    KernelDiscrepancy,
    kernel_discrepancy,
)


def written_out(a, b):
    base = 2 * a.shape[1]

    def k(x, y):
        return sum(base * s / (base * s + ((x - y) ** 2).sum()) for s in SCALES)

    n = len(a)
    within = sum(k(s[i], s[j]) for s in (a, b) for i in range(n) for j in range(n) if i != j)
    return within / (n * (n - 1)) - 2 * np.mean([[k(x, y) for y in b] for x in a])


def test_the_discrepancy_is_the_sum_of_its_definition():
    a, b = np.random.default_rng(0).normal(size=(2, 6, 3))
    found = kernel_discrepancy(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found, written_out(a, b), rtol=1e-10)


def test_the_discrepancy_of_equal_laws_averages_to_zero_and_of_others_does_not():
    draw = torch.Generator().manual_seed(0)
    samples = torch.randn(200, 2, 16, 2, generator=draw)
    same = np.array([float(kernel_discrepancy(a, b)) for a, b in samples])
    assert abs(same.mean()) < 4 * same.std() / np.sqrt(len(same))
    apart = np.array([float(kernel_discrepancy(a + 1, b)) for a, b in samples])
    assert apart.mean() > 20 * abs(same.mean())


def test_the_gradient_is_finite_where_points_coincide():
    a = torch.zeros(4, 2, requires_grad=True)
    kernel_discrepancy(a, torch.zeros(4, 2)).backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_training_brings_the_codes_to_the_prior():
    rows = np.random.default_rng(0).normal(size=(1024, 2)).astype(np.float32) * 3 + 2
    torch.manual_seed(0)
    model = Autoencoder(
        Signal.infer(rows),
        encoder=nn.Linear(2, 2),
        bottleneck=Identity(),
        decoder=nn.Linear(2, 2),
        objective=KernelDiscrepancy() * 1.0,
        prior=StandardNormal(2),
    )
    isthmus.fit(model, rows, steps=400, batch_size=128, lr=1e-2, progress=False)
    z = model.encode(rows)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.25)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.4)
