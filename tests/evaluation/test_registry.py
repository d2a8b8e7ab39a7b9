import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Code, GaussianCode
from isthmus.evaluation import Result, evaluate, measures

from .tiny import FEATURES, tiny


class SignedCode(Code):
    """A kind of code that the package has never heard of."""


class Signed(nn.Module):
    def forward(self, h, *, sample=False):
        return SignedCode(h)


@measures(SignedCode)
class PositiveShare:
    def __init__(self, setting):
        self.seed, self.shares = setting.seed, []

    def update(self, batch):
        assert not torch.is_grad_enabled()
        self.shares.append((batch.code.z > 0).double().mean(1))

    def results(self):
        shares = torch.cat(self.shares)
        return [Result("positive_share", float(shares.mean()), None, None, len(shares), "mean")]


class OddPosterior(GaussianCode):
    pass


class Odd(nn.Module):
    def forward(self, h, *, sample=False):
        return OddPosterior(h, h, torch.zeros_like(h))


@measures(OddPosterior)
class OwnKL:
    def __init__(self, setting):
        pass

    def update(self, batch):
        pass

    def results(self):
        return [Result("kl", -1.0, None, None, 1, "own")]


X = np.random.default_rng(0).normal(size=(20, FEATURES)).astype(np.float32)


def test_a_new_kind_of_code_adds_its_measures_to_the_general_ones():
    model = tiny(Signed())
    got = evaluate(model, X, batch_size=6)
    assert got["positive_share"].value == pytest.approx((model.encode(X) > 0).mean())
    assert {"fvu", "latent_rank"} <= set(got)
    assert "positive_share" not in evaluate(tiny(Odd()), X, samples=2)


def test_the_measure_of_a_subclass_replaces_that_of_its_parent():
    got = evaluate(tiny(Odd()), X, samples=2)
    assert got["kl"].estimator == "own"
    assert got["active_units"].value == 3
