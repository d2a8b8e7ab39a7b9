"""Shape annotations are checked wherever they stand, while the tests run."""

import importlib

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

import shapes
from isthmus.corruptions import GaussianNoise
from isthmus.recipes.clustering.depict import cluster_target
from isthmus.recipes.wasserstein_adversarial.swae import sliced_wasserstein

shaped = jaxtyped(typechecker=shapes.of_shapes)


@pytest.mark.parametrize("name", shapes.STATING)
def test_a_file_with_shapes_is_checked(name):
    """It was imported by the hook: not before it, and not past it."""
    module = importlib.import_module(name)
    assert type(module.__loader__).__name__ == "_JaxtypingLoader"


def test_no_file_states_shapes_in_another_way():
    for path in shapes.ROOT.rglob("*.py"):
        if path.name != "shapes.py":
            assert "jaxtyping" not in path.read_text(), f"{path} does not import isthmus.shapes"


def test_a_wrong_shape_is_refused_of_arguments_of_what_is_returned_and_beside_none():
    with pytest.raises(TypeCheckError):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2), torch.eye(2))
    with pytest.raises(TypeCheckError):
        GaussianNoise(0.1)(torch.zeros(3, 2, dtype=torch.int64))
    cluster_target(torch.ones(3, 2), None)
    with pytest.raises(TypeCheckError):
        cluster_target(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(TypeCheckError, match="return"):
        Wrong().sample(2)


class Wrong:
    @shaped
    def sample(self, n: int) -> Float[Tensor, "n 3"]:
        return torch.zeros(n, 2)


def test_outside_of_the_parts_of_models_the_library_answers_for_the_rest():
    """A wrong name reaches the function, and its sentence the user."""
    assert cluster_target(torch.ones(3, 2), None, name=7).shape == (3, 2)
