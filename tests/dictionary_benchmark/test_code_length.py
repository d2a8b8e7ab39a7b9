"""Description length against a closed form and the measure that stands."""

import numpy as np
import pytest

from isthmus.dictionary_benchmark.code_length import ALLOWED, CodeLength
from isthmus.evaluation.description import (
    coarsest_bins,
    coded_bits,
    description_length,
    row_bits,
)

from .planted_host import POINT, ground, host, random, true


def mean(outcome):
    above, below = np.array(list(outcome.figures["bits"].values())).sum(0)
    return above / below


def test_one_hot_codes_cost_the_entropies_of_their_latents(tmp_path):
    model = host()
    place = ground(tmp_path, [], model)
    counts = np.bincount(place.running(POINT, 0).tokens.ids[:, 1:].ravel(), minlength=28)
    p = counts[counts > 0] / place.running(POINT, 0).tokens.mask[:, 1:].sum().item()
    p = p[: (p < 1).sum()]
    expected = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum()
    found = CodeLength().run(true(model), place, 0)
    assert mean(found) == pytest.approx(expected, rel=0.06)


def test_bits_are_those_of_the_description_length_at_the_same_tolerance(tmp_path):
    model = host()
    place = ground(tmp_path, [], model)
    one, x = random(), place.running(POINT, 0).x.astype(np.float64)
    allowed = ALLOWED * np.square(x - x.mean(0)).mean()
    whole = description_length(
        one.codes(x.astype(np.float32)), allowed, one.atoms,
        residual=x - one.rebuilt(x.astype(np.float32)),
    )  # fmt: skip
    assert mean(CodeLength().run(one, place, 0)) == pytest.approx(whole.value)


def test_the_bits_of_rows_have_the_mean_of_the_code():
    codes = np.random.default_rng(0).exponential(size=(50, 4)) * (np.arange(4) > 0)
    width = coarsest_bins(codes, 0.01)
    assert row_bits(codes, width).mean() == pytest.approx(coded_bits(codes, width).value)
