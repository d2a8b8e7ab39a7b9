"""What all measures of similarity share: any unit, and no complex numbers."""

import numpy as np
import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.evaluation import similarity

rng = np.random.default_rng(0)
A = rng.normal(size=(60, 5)) + 3.0
B = A @ rng.normal(size=(5, 4)) + rng.normal(size=(60, 4))
MEASURES = [getattr(similarity, name) for name in similarity.__all__ if name != "unit_pairs"]


@pytest.mark.parametrize("exponent", [-700, 700, 1015])
@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
def test_numbers_of_any_size_are_compared(measure, exponent):
    expected = measure(A, B)
    assert np.isfinite(expected.value)
    for found in (measure(np.ldexp(A, exponent), B), measure(A, np.ldexp(B, exponent))):
        assert found.value == expected.value
        assert found.note == expected.note


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
def test_complex_numbers_are_refused(measure):
    with pytest.raises(IsthmusError, match="first rows are complex: pass real and imaginary"):
        measure(A + 1j, B)
    with pytest.raises(IsthmusError, match="second rows are complex"):
        measure(A, torch.from_numpy(B).to(torch.complex64))
