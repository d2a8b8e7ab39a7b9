"""Codes and their counts, against loops and sets by hand."""

import numpy as np
import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.interpretation.circuits import (
    code_scores,
    discrete_codes,
    edge_scores,
    head_dictionary,
)

RNG = np.random.default_rng(0)
POSITIVE, NEGATIVE = RNG.integers(-1, 6, (9, 2, 3)), RNG.integers(-1, 6, (7, 2, 3))


@pytest.mark.parametrize("share", [False, True])
def test_scores_are_counts_of_sets(share):
    scores = code_scores(POSITIVE, NEGATIVE, share=share)
    assert scores.shape == (2, 3)
    for layer in range(2):
        for head in range(3):
            ours, theirs = (set(c[:, layer, head].tolist()) for c in (POSITIVE, NEGATIVE))
            expected = len(ours - theirs) / (len(ours | theirs) if share else 1)
            assert scores[layer, head] == expected
    assert len(set(scores.ravel())) > 1


@pytest.mark.parametrize("share", [False, True])
def test_edges_are_pairs_that_occur_together_by_counting_matrices(share):
    """As the authors count: a matrix of codes by codes for each pair of heads."""
    scores = edge_scores(POSITIVE, NEGATIVE, share=share)
    expected = np.zeros((6, 6))
    for i in range(6):
        for j in range(6):
            matrices = []
            for codes in (POSITIVE.reshape(9, 6), NEGATIVE.reshape(7, 6)):
                matrix = np.zeros((8, 8))
                for prompt in codes:
                    matrix[prompt[i], prompt[j]] += 1
                matrices.append(matrix > 0)
            if i != j:
                expected[i, j] = (matrices[0] & ~matrices[1]).sum()
                if share:
                    expected[i, j] /= matrices[0].sum() + matrices[1].sum()
    np.testing.assert_allclose(scores, expected)
    assert len(set(scores.ravel())) > 2


def test_a_head_that_answers_has_codes_of_its_own():
    """Heads that write the same on all prompts score nothing, one that sorts them scores."""
    draw = torch.Generator().manual_seed(0)
    kinds = torch.nn.functional.normalize(torch.randn(4, 12, generator=draw), dim=1)
    outputs = kinds[0].expand(20, 1, 3, 12).clone()
    outputs[:10, 0, 1] = kinds[1 + torch.arange(10) % 3]  # the positive prompts
    dictionary = head_dictionary(outputs, steps=300, latent_dim=32)
    codes = discrete_codes(dictionary, outputs)
    assert codes.shape == (20, 1, 3)
    scores = code_scores(codes[:10], codes[10:])
    assert scores[0, 1] >= 2
    assert scores[0, 0] == scores[0, 2] == 0
    values = torch.as_tensor(dictionary.encode(outputs.flatten(0, -2).numpy()))
    expected = torch.where(values.amax(1) > 0, values.argmax(1), -1)
    assert np.array_equal(codes.ravel(), expected.numpy())


def test_where_nothing_is_active_the_code_is_none():
    outputs = torch.randn(10, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    dictionary = head_dictionary(outputs, steps=2, latent_dim=8)
    with torch.no_grad():
        dictionary.encoder.bias.fill_(-1e4)
    assert (discrete_codes(dictionary, outputs) == -1).all()


def test_what_are_no_codes_is_refused():
    with pytest.raises(IsthmusError, match="integers"):
        code_scores(POSITIVE.astype(float), NEGATIVE)
    with pytest.raises(IsthmusError, match="one model"):
        edge_scores(POSITIVE, NEGATIVE[:, :1])
