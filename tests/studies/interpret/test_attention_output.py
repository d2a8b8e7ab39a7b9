"""The claim on attention outputs: what strings are of, and units of both signs."""

import numpy as np
import torch

from isthmus.studies.interpret import attention_output as page


def test_strings_are_of_tokens_of_middling_rank():
    ids = torch.tensor([5] * 9 + [2] * 7 + [8] * 4 + [1] * 2)
    assert page.common(ids, 0, 2) == [5, 2]
    assert page.common(ids, 1, 4) == [2, 8, 1]


def test_units_have_both_signs():
    values = np.array([[1.0, -2.0]])
    assert page.both_signs(values).tolist() == [[1.0, -2.0, -1.0, 2.0]]
