"""Buffers of an average: copied, but for the running statistics of its own calls."""

import torch
from torch import nn

from isthmus.anatomy import EMA, Autoencoder, Batch, Scaler, Signal, View
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE
from isthmus.training import TrainingOptions
from isthmus.training.stepper import Stepper

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """Each row as it is, and again for the teacher."""

    def forward(self, x):
        return [View(x), View(x, by="teacher")]


class Counting(nn.Module):
    """A buffer that is no statistic of a normalisation layer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        return x


def model(*, called=True, decay=0.5):
    torch.manual_seed(0)
    layers = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 4), Counting()
    return Autoencoder(
        Signal("vector", (4,)), encoder=nn.Sequential(*layers), bottleneck=Identity(),
        decoder=nn.Linear(4, 4), objective=MSE(), corruption=Twice() if called else None,
        scaler=Scaler((4,), "none"), parts={"teacher": EMA("encoder", decay)},
    )  # fmt: skip


def trained(net):
    with torch.no_grad():
        net.prepare(X)
    net.encoder[3].count.fill_(3.0)
    options = TrainingOptions(batch_size=64, lr=0.05, optimiser="sgd", device="cpu")
    stepper = Stepper(net, options, total=5)
    net.train()
    for step in range(5):
        stepper.step(Batch(X + step), step)
    stepper.release()
    return net.parts["teacher"].copies[0], net.encoder


def test_a_teacher_that_is_called_keeps_the_statistics_of_its_own_inputs():
    copy, _ = trained(model(decay=1.0))
    mean = torch.zeros(6)
    with torch.no_grad():
        for step in range(5):
            mean = 0.9 * mean + 0.1 * copy[0](X + step).mean(0)
    torch.testing.assert_close(copy[1].running_mean, mean)
    assert copy[1].num_batches_tracked == 5
    assert copy[3].count == 3.0


def test_one_that_is_never_called_has_the_statistics_of_what_it_follows():
    copy, encoder = trained(model(called=False))
    assert encoder[1].running_mean.abs().min() > 0
    assert torch.equal(copy[1].running_mean, encoder[1].running_mean)
    assert torch.equal(copy[1].running_var, encoder[1].running_var)
