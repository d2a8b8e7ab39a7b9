"""GroupMax: one latent of each group, on every path."""

import pytest
import torch

from isthmus.bottlenecks import GroupMax
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations, using


def parts(rows=30, width=640, d=24, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, d, generator=g), torch.randn(width, d, generator=g)
    return x.to(dtype), w.to(dtype), torch.randn(width, generator=g).to(dtype)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("k", [4, 10, 7])
def test_codes_and_gradients_are_those_of_the_definition(path, k):
    x, w, b = (t.requires_grad_() for t in parts())
    centre = torch.ones(24, requires_grad=True)
    target = torch.randn(30, 640)
    with using(path):
        code = GroupMax(640, k, 100)(Preactivations(x, w, b, centre))
        (code.z * target).sum().backward()
    ours = [t.grad for t in (x, w, b, centre)]
    plain = [t.detach().double().requires_grad_() for t in (x, w, b, centre)]
    u = (plain[0] - plain[3]) @ plain[1].T + plain[2]
    group = torch.arange(640) * k // 640
    best = torch.stack([u[:, group == g].amax(1) for g in range(k)], 1)
    z = torch.relu(u * (u == best[:, group]))
    torch.testing.assert_close(code.z.double(), z.detach(), atol=1e-4, rtol=1e-4)
    assert code.values.shape == (30, k)
    (z * target).sum().backward()
    for a, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(a.double(), expected.grad, atol=1e-3, rtol=1e-4)


def test_of_equal_latents_the_first_is_kept():
    x, w = torch.ones(2, 3), torch.ones(8, 3)
    code = GroupMax(8, 2, 100)(Preactivations(x, w, torch.zeros(8), None))
    assert code.indices.tolist() == [[0, 4], [0, 4]]


def test_latents_of_a_group_grow_alike_or_not_at_all():
    part = GroupMax(8, 2, 100)
    part.times(torch.tensor([2.0, 2, 2, 2, 3, 3, 3, 3]))
    with pytest.raises(IsthmusError, match="latents of a group are chosen by their size"):
        part.times(torch.tensor([2.0, 2, 2, 1, 3, 3, 3, 3]))
