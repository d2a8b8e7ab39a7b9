"""Nested state as tensors and JSON, and seeds as functions."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.training.seeding import mix, seeded
from isthmus.training.state import flatten, unflatten

leaves = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
    | st.integers(0, 9).map(lambda n: torch.full((2,), float(n)))
)  # fmt: skip
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 5) | st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(nested)
def test_round_trip_through_json(value):
    tensors = {}
    plain = json.loads(json.dumps(flatten(value, "x", tensors)))
    assert equal(unflatten(plain, tensors), value)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_what_cannot_be_stored_is_an_error():
    with pytest.raises(TypeError, match="state of type set"):
        flatten({"a": {1}}, "x", {})


def test_seeds_are_distinct_and_stable():
    seeds = {mix(a, b) for a in range(60) for b in range(60)}
    assert len(seeds) == 3600
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1)
    assert mix(0) == 0xE220A8397B1DCDAF >> 1  # the published first output of SplitMix64 from 0


def test_seeding_a_step_is_a_function_of_its_numbers():
    draws = []
    for step in (3, 4, 3):
        with seeded(torch.device("cpu"), 0, 4, step):
            draws.append(torch.rand(2))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
