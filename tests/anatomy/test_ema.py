"""An average of other parts: what it follows, and what it leaves alone."""

import pytest
import torch
from torch import nn

from isthmus.anatomy import EMA, Autoencoder, Batch, Clock, Part, Scaler, Signal, Step, View
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import TrainingOptions
from isthmus.training.stepper import Stepper

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """Each row as it is, and again for the teacher."""

    def forward(self, x):
        return [View(x), View(x, by="teacher")]


class Told(Part):
    """Draws its start, and counts what it is told."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))
        self.told = []

    def forward(self, x):
        return self.layers(x)

    def prepare(self, model, look):
        self.told.append("prepare")
        nn.init.normal_(self.layers[0].weight)

    def observe(self, out, step):
        self.told.append("observe")

    def after_update(self):
        self.told.append("after_update")


def model(*, called=True, decay=0.5, of="encoder"):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (4,)), encoder=Told(), bottleneck=Identity(), decoder=nn.Linear(4, 4),
        objective=MSE(), corruption=Twice() if called else None, scaler=Scaler((4,), "none"),
        parts={"teacher": EMA(of, decay)},
    )  # fmt: skip


def trained(net, steps=5):
    with torch.no_grad():
        net.prepare(X)
    options = TrainingOptions(batch_size=64, lr=0.05, optimiser="sgd", device="cpu")
    stepper = Stepper(net, options, total=steps)
    net.train()
    for step in range(steps):
        stepper.step(Batch(X + step), step)
    stepper.release()
    return net, net.parts["teacher"].copies[0], net.encoder


def test_hooks_reach_what_is_followed_and_not_its_copy():
    _, copy, encoder = trained(model(), steps=2)
    assert encoder.told == ["prepare", "observe", "after_update", "observe", "after_update"]
    assert copy.told == []


def test_it_starts_where_the_followed_part_was_set_up():
    net = model()
    with torch.no_grad():
        net.prepare(X)
    copy = net.parts["teacher"].copies[0]
    for mine, theirs in zip(copy.parameters(), net.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine is not theirs
        assert not mine.requires_grad


def test_weights_are_the_average_after_each_update():
    net = model(decay=0.75)
    with torch.no_grad():
        net.prepare(X)
    expected = [p.detach().clone() for p in net.encoder.parameters()]
    options = TrainingOptions(batch_size=64, lr=0.05, optimiser="sgd", device="cpu")
    stepper = Stepper(net, options, total=4)
    net.train()
    for step in range(4):
        stepper.step(Batch(X), step)
        now = [p.detach() for p in net.encoder.parameters()]
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, now, strict=True)]
    for mine, wanted in zip(net.parts["teacher"].copies[0].parameters(), expected, strict=True):
        torch.testing.assert_close(mine, wanted)


def test_a_teacher_that_is_called_keeps_the_statistics_of_its_own_inputs():
    _, copy, _ = trained(model(decay=1.0))
    mean = torch.zeros(6)
    with torch.no_grad():
        for step in range(5):
            mean = 0.9 * mean + 0.1 * copy.layers[0](X + step).mean(0)
    torch.testing.assert_close(copy.layers[1].running_mean, mean)
    assert copy.layers[1].num_batches_tracked == 5


def test_one_that_is_never_called_has_the_statistics_of_what_it_follows():
    _, copy, encoder = trained(model(called=False))
    assert encoder.layers[1].running_mean.abs().min() > 0
    assert torch.equal(copy.layers[1].running_mean, encoder.layers[1].running_mean)
    assert torch.equal(copy.layers[1].running_var, encoder.layers[1].running_var)


def test_no_gradient_passes_and_errors_are_one_sentence():
    net = model()
    net.train()
    out = net(X, Step(Clock()))
    assert out.codes[0].z.requires_grad
    assert not out.codes[1].z.requires_grad
    with pytest.raises(IsthmusError, match="the average of 'encodr' has nothing to follow"):
        model(of="encodr")
