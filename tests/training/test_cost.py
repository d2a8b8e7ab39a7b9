"""Counted work: the same on any machine, and as much as a hand count says."""

import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.data import ArraySource
from isthmus.kernels import path_in_use, portable
from isthmus.kernels.dispatch import backend_for
from isthmus.objectives import MSE
from isthmus.training import TrainingOptions
from isthmus.training.cost import Counter, Work, counted, timed
from isthmus.training.stages import legs_of
from isthmus.training.stepper import Stepper
from training import toys


def model(width=8):
    return Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, width), bottleneck=Identity(),
        decoder=nn.Linear(width, 6), objective=MSE(),
    )  # fmt: skip


def cost(made, source=toys.SOURCE, **options):
    chosen = TrainingOptions(steps=100, **options)
    return counted(made, source, chosen, legs_of(made, chosen, 100))


def test_multiplications_are_counted_forward_and_backward():
    layer, x = nn.Linear(6, 8), torch.ones(5, 6)
    with Counter() as counter:
        layer(x).sum().backward()
    # The input asks for no gradient: one product forward, and one for the weights.
    assert counter.work.flops == 2 * (2 * 5 * 6 * 8)


def test_views_move_nothing():
    x = torch.ones(4, 6)
    with Counter() as counter:
        x.view(24)
    assert (counter.work.operations, counter.work.bytes) == (1, 0)


def test_a_fused_recurrent_layer_is_counted():
    layer = nn.LSTM(6, 8, batch_first=True)
    with torch.no_grad(), Counter() as counter:
        layer(torch.ones(5, 7, 6))
    least = 2 * 5 * 7 * (4 * 8 * 6 + 4 * 8 * 8)
    assert counter.work.flops >= least


def test_counting_is_deterministic_and_leaves_no_trace():
    made, before = model(), torch.get_rng_state()
    weights = {name: t.clone() for name, t in made.state_dict().items()}
    assert cost(made) == cost(made)
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_more_work_costs_more():
    assert cost(model(2000)) > 2 * cost(model(20))
    rows = ArraySource(torch.randn(4000, 6).numpy())
    assert cost(model(500), rows, batch_size=2048) > 3 * cost(model(500), rows, batch_size=256)


def test_of_a_large_batch_few_rows_are_trained(monkeypatch):
    seen, plain = [], Stepper.step

    def step(self, batch, number):
        seen.append(len(batch))
        return plain(self, batch, number)

    monkeypatch.setattr(Stepper, "step", step)
    cost(model(), ArraySource(torch.randn(4000, 6).numpy()), batch_size=2048)
    assert seen == [256, 128]


def test_a_model_that_cannot_be_copied_is_estimated():
    class Once(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies")

    made = model()
    made.encoder = Once(6, 8)
    assert cost(made) == pytest.approx(Work(500, 6 * 110 * 128, 60 * 110).seconds, rel=0.2)


def test_portable_is_for_one_thread_and_a_while():
    x = torch.ones(2, 2)
    before = backend_for(x)
    with portable():
        assert backend_for(x).name == "torch"
    assert backend_for(x) is before
    assert path_in_use() in ("torch", "native")


def test_timing_trains_a_copy():
    made, chosen = model(), TrainingOptions(steps=100)
    weights = {name: t.clone() for name, t in made.state_dict().items()}
    found = timed(made, toys.SOURCE, chosen, legs_of(made, chosen, 100), torch.device("cpu"))
    assert 0.0 < found < 5.0
    assert all(torch.equal(t, weights[n]) for n, t in made.state_dict().items())
