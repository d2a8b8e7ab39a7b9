"""Objectives: sums, weights, players."""

import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Clock, Linear, Output, Signal, Step, Term, View
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE


class First(Term):
    name, unit = "first", "units"

    def forward(self, model, out):
        return out.x[:, 0]


class Mean(Term):
    name, unit, per_example, estimator = "mean", "units", False, "the mean of a batch"

    def forward(self, model, out):
        return out.x.mean()


class Theirs(Term):
    name, unit, player = "theirs", "units", "critic"

    def forward(self, model, out):
        return 10.0 * out.x[:, 1]


X = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def out(step=0, total=10):
    return Output(X, X, [View(X)], [], step=Step(Clock(step, total)))


def test_a_weighted_sum():
    losses = (First() + 3 * Mean() + Theirs() * 0.5)(None, out())
    assert losses.total.item() == 2.0 + 3 * 2.5
    assert {k: v.item() for k, v in losses.terms.items()} == {"first": 2.0, "mean": 2.5}


def test_each_player_has_its_own_loss_and_steps_in_order():
    objective = First() + 0.5 * Theirs()
    assert objective.players == ["model", "critic"]
    assert objective(None, out(), "critic").total.item() == 0.5 * 30.0
    with pytest.raises(ValueError, match="no term for the player 'judge'"):
        objective(None, out(), "judge")


def test_a_weight_may_be_a_schedule_on_either_side():
    ramp = Linear(0.0, 1.0, 10, fit=None)
    for objective in (First() * ramp, ramp * First()):
        assert objective(None, out(5)).total.item() == pytest.approx(1.0)


def test_a_factor_scales_every_weight():
    objective = 2 * (First() + 3 * Mean())
    assert objective(None, out()).total.item() == 2 * (2.0 + 7.5)


def test_rows_of_the_loss_leave_out_set_terms():
    rows = (2 * First() + Mean()).per_example(None, out())
    assert rows.tolist() == [2.0, 6.0]


def test_two_terms_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share the name 'first'"):
        First() + First()


def test_the_description_says_what_a_set_term_is_over():
    described = (First() + 0.5 * Mean()).describe()
    assert described[0] == {
        "term": "first",
        "unit": "units",
        "weight": "1.0",
        "player": "model",
        "over": "examples",
    }
    assert described[1]["over"] == "the batch (the mean of a batch)"
    assert described[1]["weight"] == "0.5"


def test_a_term_of_a_critic_that_is_not_there_is_refused():
    parts = {"encoder": nn.Identity(), "bottleneck": Identity(), "decoder": nn.Identity()}
    with pytest.raises(ValueError, match="no critic is named 'critic'"):
        Autoencoder(Signal("vector", (2,)), objective=MSE() + Theirs(), **parts)
