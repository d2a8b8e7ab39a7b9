"""Features are the code, and the projector only makes what is compared."""

import pytest
import torch

from isthmus.bottlenecks import Projection
from isthmus.errors import IsthmusError
from isthmus.networks import Projector


def test_features_pass_through_and_the_embedding_is_the_projectors():
    bottleneck = Projection(Projector(4, (5,), 3)).eval()
    h = torch.randn(6, 4)
    code = bottleneck(h)
    assert code.z is h
    torch.testing.assert_close(code.embedding, bottleneck.projector(h))
    assert code.embedding.shape == (6, 3)


def test_one_row_is_too_few_in_training_alone():
    bottleneck = Projection(Projector(4, (4,), 4))
    with pytest.raises(IsthmusError, match="batch_size to 2"):
        bottleneck.train()(torch.zeros(1, 4))
    assert bottleneck.eval()(torch.zeros(1, 4)).embedding.shape == (1, 4)
