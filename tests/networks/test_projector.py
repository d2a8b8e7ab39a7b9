import pytest
import torch
from torch import nn

from isthmus.errors import IsthmusError
from isthmus.networks import Projector


def test_layers_are_those_of_barlow_twins():
    projector = Projector(6, (10, 12), 4)
    kinds = [type(m) for m in projector.layers]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*block, *block, nn.Linear]
    assert all(m.bias is None for m in projector.layers if isinstance(m, nn.Linear))
    assert projector(torch.randn(8, 6)).shape == (8, 4)


def test_out_dim_is_the_last_hidden_width_unless_given():
    assert (
        Projector(6, (10, 12)).out_dim == Projector(6, (10, 12))(torch.randn(8, 6)).shape[1] == 12
    )


def test_every_parameter_is_trained():
    torch.manual_seed(0)
    projector = Projector(6, (10, 12), 4)
    out = projector(torch.randn(8, 6))
    (out * torch.randn_like(out)).sum().backward()
    assert [n for n, p in projector.named_parameters() if not p.grad.any()] == []


def test_a_projector_has_hidden_layers():
    with pytest.raises(IsthmusError, match="hidden"):
        Projector(6, ())
