"""Predicting one view's embedding from another's: against NumPy, lightly, and by gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Code, EmbeddingCode, Output, Signal, View
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import CrossPrediction, cosine_distance

RNG = np.random.default_rng(0)
P1, P2, T1, T2 = (torch.from_numpy(RNG.normal(size=(5, 4))) for _ in range(4))


def model(predictor=None):
    return Autoencoder(
        Signal("vector", (4,)), encoder=nn.Identity(), bottleneck=Identity(), decoder=None,
        objective=CrossPrediction(), parts={"predictor": predictor or nn.Identity()},
    )  # fmt: skip


def output(*embeddings):
    codes = [EmbeddingCode(e, e) for e in embeddings]
    return Output(embeddings[0], embeddings[0], [View(e) for e in embeddings], codes)


def loss(*embeddings, predictor=None):
    return CrossPrediction()(model(predictor), output(*embeddings))


def unit(x):
    return x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True)


def test_it_is_the_squared_distance_of_unit_vectors():
    expected = ((unit(P1) - unit(T2)) ** 2).sum(1) + ((unit(P2) - unit(T1)) ** 2).sum(1)
    np.testing.assert_allclose(loss(P1, P2, T1, T2), expected, rtol=1e-12)
    torch.testing.assert_close(cosine_distance(P1, 3 * P1), torch.zeros(5).double())
    torch.testing.assert_close(cosine_distance(P1, -P1), torch.full((5,), 4.0).double())


def test_against_lightly():
    # NegativeCosineSimilarity()(P1, T2) and (P2, T1) of lightly 1.5.22: minus the mean cosine.
    first, second = -0.49354367340107874, 0.22418518450523459
    assert loss(P1, P2, T1, T2).mean().item() == pytest.approx(4 + 2 * (first + second), rel=1e-12)


def test_without_a_teacher_the_targets_are_the_embeddings_themselves():
    predictor = nn.Linear(4, 4).double()
    torch.testing.assert_close(
        loss(P1, P2, predictor=predictor), loss(P1, P2, P1, P2, predictor=predictor)
    )
    # A quarter of it is the loss of Chen and He's algorithm 1, and 1.
    cosine = nn.CosineSimilarity(dim=1)
    theirs = -0.5 * (cosine(predictor(P1), P2) + cosine(predictor(P2), P1)).mean()
    torch.testing.assert_close(0.25 * loss(P1, P2, predictor=predictor).mean(), theirs + 1.0)


def test_gradients_are_those_of_finite_differences_and_never_reach_the_targets():
    p1, p2, t1, t2 = (e.clone().requires_grad_() for e in (P1, P2, T1, T2))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, T1, T2), (p1, p2))
    loss(p1, p2, t1, t2).sum().backward()
    assert t1.grad is None
    assert t2.grad is None
    both = P1.clone().requires_grad_()
    loss(both, P2).sum().backward()
    torch.testing.assert_close(both.grad, _gradient(P1, P2))  # as if P1 were predicted alone


def _gradient(p, target):
    p = p.clone().requires_grad_()
    cosine_distance(p, target).sum().backward()
    return p.grad


def test_half_precision_is_compared_in_single():
    value = cosine_distance(P1.bfloat16(), T2.bfloat16())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, cosine_distance(P1, T2).float(), rtol=0.02, atol=0.02)


def test_a_code_without_an_embedding_is_refused():
    out = Output(P1, P1, [View(P1), View(P2)], [Code(P1), Code(P2)])
    with pytest.raises(IsthmusError, match="EmbeddingCode"):
        CrossPrediction()(model(), out)
