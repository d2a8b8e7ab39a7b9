"""The contrastive objective against the sums of its definition."""

import numpy as np
import torch

from isthmus.studies.self_supervised.contrastive import info_nce


def written_out(a, b, temperature):
    views = np.concatenate([a, b])
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    losses = []
    for i in range(len(views)):
        partner = (i + len(a)) % len(views)
        near = [np.exp(views[i] @ views[j] / temperature) for j in range(len(views)) if j != i]
        losses.append(-np.log(np.exp(views[i] @ views[partner] / temperature) / sum(near)))
    return np.mean(losses)


def test_it_is_the_sum_of_its_definition():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3))
    found = info_nce(torch.from_numpy(a), torch.from_numpy(b), 0.3)
    np.testing.assert_allclose(found, written_out(a, b, 0.3), rtol=1e-12)


def test_equal_embeddings_cannot_be_told_apart():
    same = torch.ones(4, 2, dtype=torch.float64)
    np.testing.assert_allclose(info_nce(same, same, 0.5), np.log(7), rtol=1e-12)


def test_scale_does_not_matter():
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(info_nce(a, b, 0.2), info_nce(3 * a, 0.5 * b, 0.2))
