"""Pre-activations of several encoders as one: against the block-diagonal product that they are."""

import pytest
import torch

from isthmus.kernels import Preactivations, Stacked, using

ROWS, WIDTHS, INPUTS = 13, (40, 64, 24), (5, 7, 3)


def made(seed=0):
    """Parts with weights of their own, and all of them as one block-diagonal encoder."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).requires_grad_()

    xs = [draw(ROWS, d) for d in INPUTS]
    weights = [draw(width, d) for width, d in zip(WIDTHS, INPUTS, strict=True)]
    biases = [draw(width) for width in WIDTHS]
    parts = [Preactivations(x, w, b, None) for x, w, b in zip(xs, weights, biases, strict=True)]
    whole = torch.cat(xs, 1) @ torch.block_diag(*weights).T + torch.cat(biases)
    return Stacked(parts), whole, [*xs, *weights, *biases]


def gradients(value, leaves):
    return torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)


def same_gradients(one, other, leaves):
    for a, b in zip(gradients(one, leaves), gradients(other, leaves), strict=True):
        torch.testing.assert_close(torch.zeros(()) if a is None else a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
class TestStacked:
    def test_dense_is_the_block_diagonal_product(self, path):
        with using(path):
            h, whole, leaves = made()
            assert (len(h), h.width) == whole.shape
            torch.testing.assert_close(h.dense(), whole, atol=1e-5, rtol=1e-5)
            same_gradients(h.dense().square().sum(), whole.square().sum(), leaves)

    @pytest.mark.parametrize("how", ["plain", "magnitude", "priority"])
    def test_the_largest_are_those_of_all(self, path, how):
        with using(path):
            h, whole, leaves = made()
            priority = torch.rand(h.width) + 0.1 if how == "priority" else None
            values, indices = h.top(2, magnitude=how == "magnitude", priority=priority)
            key = (
                whole.abs() if how == "magnitude" else whole * (1 if priority is None else priority)
            )
            at = key.topk(2, dim=1).indices
            assert torch.equal(indices.sort(1).values, at.sort(1).values)
            torch.testing.assert_close(values, whole.gather(1, indices), atol=1e-5, rtol=1e-5)
            same_gradients(values.square().sum(), whole.gather(1, at).square().sum(), leaves)

    def test_the_largest_of_each_are_those_of_its_block(self, path):
        with using(path):
            h, whole, _ = made()
            _, indices = h.top_of_each(2)
            for number, own in enumerate(whole.split(WIDTHS, 1)):
                at = own.topk(2, dim=1).indices + h.starts[number]
                found = indices[:, 2 * number : 2 * number + 2]
                assert torch.equal(found.sort(1).values, at.sort(1).values)

    def test_what_is_above_a_cutoff_is_all_of_it(self, path):
        with using(path):
            h, whole, leaves = made()
            cutoff = torch.full((h.width,), 5.0)
            found, wanted = h.above(cutoff), torch.where(whole > 5.0, whole, 0.0)
            if found is None:
                assert path == "reference" or (whole > 5.0).any()
                return
            values, indices = found
            dense = torch.zeros_like(whole).scatter_add(1, indices, values)
            torch.testing.assert_close(dense, wanted, atol=1e-5, rtol=1e-5)
            same_gradients(dense.square().sum(), wanted.square().sum(), leaves)

    def test_some_latents_and_some_rows_are_those(self, path):
        with using(path):
            h, whole, _ = made()
            latents, rows = torch.tensor([1, 3, 39, 104, 127]), torch.tensor([0, 12, 4])
            torch.testing.assert_close(h.of(latents).dense(), whole[:, latents])
            torch.testing.assert_close(h.take(rows).dense(), whole[rows])
