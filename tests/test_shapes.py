"""Shape annotations are checked wherever they stand, while the tests run."""

import importlib

import pytest
import torch
from jaxtyping import TypeCheckError

import shapes


@pytest.mark.parametrize("name", shapes.ANNOTATED)
def test_a_file_with_shapes_is_checked(name):
    """It was imported by the hook: not before it, and not past it."""
    module = importlib.import_module(name)
    assert type(module.__loader__).__name__ == "_JaxtypingLoader"


def test_no_file_states_shapes_in_another_way():
    for path in shapes.ROOT.rglob("*.py"):
        if path.name != "_shapes.py":
            assert "jaxtyping" not in path.read_text(), f"{path} does not import isthmus._shapes"


def test_a_wrong_shape_is_refused_below_and_above_the_parts_of_models():
    from isthmus.corruptions import GaussianNoise
    from isthmus.recipes.wasserstein_adversarial.swae import sliced_wasserstein

    with pytest.raises(TypeCheckError):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2), torch.eye(2))
    with pytest.raises(TypeCheckError):
        GaussianNoise(0.1)(torch.zeros(3, 2, dtype=torch.int64))
