"""Every bottleneck of ours keeps the contracts, and one that breaks one is told which."""

import pytest
import torch
from torch import nn

from isthmus import bottlenecks
from isthmus.anatomy import Code
from isthmus.testing import bottleneck_checks, check_bottleneck


class Sparse(nn.Module):
    """A sparse bottleneck behind the encoder whose pre-activations it reads."""

    def __init__(self, bottleneck):
        super().__init__()
        torch.manual_seed(0)
        self.dictionary = bottlenecks.Dictionary(12, (6,))
        self.encoder = bottlenecks.DictionaryEncoder(self.dictionary)
        self.bottleneck = bottleneck

    def forward(self, h, *, sample=False):
        return self.bottleneck(self.encoder(h), sample=sample)


OURS = {
    "identity": (bottlenecks.Identity(), 6),
    "gaussian": (bottlenecks.GaussianBottleneck(), 6),
    "topk": (Sparse(bottlenecks.TopK(12, 3, 100)), 6),
    "batchtopk": (Sparse(bottlenecks.BatchTopK(12, 3, 100)), 6),
    "relu": (Sparse(bottlenecks.ReLU(12, 100)), 6),
    "jumprelu": (Sparse(bottlenecks.JumpReLUBottleneck(12, 0.01, 0.01)), 6),
    "gated": (Sparse(bottlenecks.Gated(12, 100)), 6),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_keep_them(name):
    check_bottleneck(*OURS[name])


class Noisy(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h + torch.randn_like(h))


class Raw(nn.Module):
    def forward(self, h, *, sample=False):
        return h


class Centred(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h - h.mean(0))


class Rounded(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h.round() * torch.ones(1, requires_grad=True))


class Rooted(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h + (h - h).abs().sqrt())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, h, *, sample=False):
        self.seen += len(h)
        return Code(h)


class Hidden(nn.Module):
    size = 1.0

    def forward(self, h, *, sample=False):
        if self.training:
            self.size = self.size + 1.0
        return Code(h / self.size)


class Forgetful(Code):
    def __init__(self, z):
        super().__init__(z)

    def tensors(self):
        return {"z": self.z[:1]}


class Cut(nn.Module):
    def forward(self, h, *, sample=False):
        return Forgetful(h)


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        (Raw(), "code", "return a Code"),
        (Noisy(), "deterministic", "draw only where sample is true"),
        (Centred(), "rows", "use nothing of the batch"),
        (Cut(), "stored", "the rows come first in what"),
        (Rounded(), "gradient", "no gradient through"),
        (Rooted(), "gradient", "NaN or infinity"),
        (Hidden(), "state", "in parameters or buffers"),
        (Counting(), "evaluation", "changes 'seen'"),
    ],
)
def test_what_is_broken_is_said(broken, check, words):
    found = {one.name: one for one in bottleneck_checks(broken, 4)}
    with pytest.raises(AssertionError, match=words) as problem:
        found[check]()
    assert "\n" not in str(problem.value)
    with pytest.raises(AssertionError):
        check_bottleneck(broken, 4)


def test_the_bottleneck_and_the_generator_are_left_as_they_were():
    norm = nn.BatchNorm1d(4)

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, h, *, sample=False):
            return Code(self.norm(h))

    made, state = Normed(), torch.get_rng_state()
    before = {k: v.clone() for k, v in made.state_dict().items()}
    check_bottleneck(made, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in made.state_dict().items())


def test_a_width_or_rows_are_needed():
    with pytest.raises(ValueError, match="width_in"):
        check_bottleneck(Raw())
