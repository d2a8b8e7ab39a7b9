"""Optimisers by name, groups, learning rates."""

import math

import pytest
import torch
import toys
from torch import nn

import isthmus
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.training import TrainingOptions
from isthmus.training.optimisers import learning_rate, make_optimiser, optimiser_class


def rates(total, **options):
    at = learning_rate(TrainingOptions(lr=0.5, **options), total)
    return [at(Clock(step, total)) / 0.5 for step in range(total)]


def test_constant_linear_cosine():
    assert rates(4) == [1.0] * 4
    assert rates(4, lr_schedule="linear") == pytest.approx([1.0, 0.75, 0.5, 0.25])
    half = [0.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert rates(4, lr_schedule="cosine") == pytest.approx(half)


def test_burda_spends_three_to_the_i_parts_at_each_rate():
    values = rates(3280, lr_schedule="burda")
    expected = [10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    assert values == pytest.approx(expected)


def test_half_exponential():
    values = rates(8, lr_schedule="half-exponential")
    assert values == pytest.approx([1.0] * 5 + [0.01**0.25, 0.01**0.5, 0.01**0.75])


def test_a_late_fall_begins_after_four_fifths():
    flat = [1.0] * 9
    assert rates(10, lr_schedule="last-fifth") == pytest.approx([*flat, 0.5])
    assert rates(10, lr_schedule="cool-down") == pytest.approx([*flat, 0.5 * (1 + 1 / 32)])


def test_warm_up_rises_to_the_full_rate_and_is_cut_in_short_runs():
    assert rates(100, warmup=4)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates(20, warmup=1000)[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates(3, warmup=1000) == [1.0] * 3


def test_the_rate_may_be_stated_for_another_batch():
    options = TrainingOptions(lr=0.2, lr_batch=256, batch_size=64)
    assert learning_rate(options, 5)(Clock(0, 5)) == pytest.approx(0.05)


def test_the_schedule_reaches_every_group_of_the_optimiser_and_the_log():
    run = toys.trainer(
        toys.fresh("adversarial"), steps=10, log_every=1, lr_schedule="linear", lr=0.1,
        groups=[{"match": "decoder.*", "lr": 0.5}],
    )  # fmt: skip
    model = run.run()
    last = 0.1 * 0.1
    seen = {g["lr"] for o in run.stepper.optimisers.values() for g in o.param_groups}
    assert sorted(seen) == pytest.approx([0.5 * last, last])
    assert [r["lr"] for r in model.history] == pytest.approx(
        [0.1 * (1 - t / 10) for t in range(10)]
    )


# --- groups -----------------------------------------------------------------------------------


def test_a_groups_rate_and_decay_against_a_loop_by_hand():
    settings = {"optimiser": "sgd", "weight_decay": 0.3, "lr": 0.05, "steps": 5}
    groups = [{"match": "decoder.*", "lr": 0.1, "weight_decay": 0.0}, {"match": "*.bias", "lr": 0}]
    model = linear_model()
    by_hand = linear_model()
    run = toys.trainer(model, groups=groups, **settings)
    run.run()
    slow = {"params": list(by_hand.decoder.parameters()), "lr": 0.005, "weight_decay": 0.0}
    still = {"params": [by_hand.encoder.bias], "lr": 0.0}
    rest = {"params": [by_hand.encoder.weight]}
    optimiser = torch.optim.SGD([slow, still, rest], lr=0.05, weight_decay=0.3)
    for step in range(5):
        x = run.batches[step].x
        (by_hand.decoder(by_hand.encoder(x)) - x).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert_same(model, by_hand)


def linear_model():
    from isthmus.anatomy import Autoencoder, Signal
    from isthmus.bottlenecks import Identity
    from isthmus.objectives import MSE

    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=MSE(),
    )


def assert_same(a, b, **tolerance):
    others = dict(b.named_parameters())
    for name, parameter in a.named_parameters():
        torch.testing.assert_close(parameter, others[name], msg=name, **tolerance)


def test_groups_by_number_of_axes():
    named = [("w", nn.Parameter(torch.zeros(2, 2))), ("b", nn.Parameter(torch.zeros(2)))]
    options = TrainingOptions(weight_decay=0.1, groups=[{"ndim": 1, "weight_decay": 0.0}])
    made = make_optimiser(named, options)
    assert [(len(g["params"]), g["weight_decay"]) for g in made.param_groups] == [(1, 0), (1, 0.1)]
    assert made.param_groups[0]["params"][0] is named[1][1]


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(IsthmusError, match=r"'encodr\.\*' matches no parameter: .* decoder"):
        isthmus.fit("plain", toys.X, groups=[{"match": "encodr.*"}], steps=1)


# --- by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cls"),
    [("adam", "Adam"), ("AdamW", "AdamW"), ("sgd", "SGD"), ("torch.optim.RMSprop", "RMSprop")],
)
def test_optimisers_by_name(name, cls):
    assert optimiser_class(name) is getattr(torch.optim, cls)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimiser": "adm"}, "did you mean 'adam'"),
        ({"optimiser": "optimizer"}, "unknown optimiser"),
        ({"optimiser": "lbfgs"}, "unknown optimiser"),
        ({"optimiser": "sparseadam"}, "unknown optimiser"),
        ({"optimiser": "muon"}, "cannot be set up"),
        ({"optimiser_options": {"bets": [0, 0.9]}}, "did you mean 'betas'"),
        ({"optimiser_options": {"betas": [2, 3]}}, "cannot be set up: Invalid beta"),
        ({"optimiser_options": {"betas": [0.9]}}, "cannot be set up"),
        ({"optimiser_options": {"betas": 0.9}}, "cannot be set up"),
        ({"optimiser_options": {"eps": "small"}}, "cannot be set up"),
        ({"optimiser_options": {"lr": 0.1}}, "set lr=0.1"),
        ({"optimiser_options": {"weight_decay": 0.1}}, "set weight_decay=0.1"),
        ({"optimiser_options": {"params": 1}}, "unknown argument"),
        ({"optimiser": "rprop", "weight_decay": 0.1}, "no weight_decay"),
    ],
)
def test_errors_of_optimisers_are_one_sentence(options, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        isthmus.fit("plain", toys.X, steps=2, progress=False, **options)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("extra", [{"foreach": True}, {"amsgrad": True}, {"fused": False}])
def test_implementations_can_be_chosen(extra):
    isthmus.fit("plain", toys.X, steps=2, progress=False, optimiser_options=extra)


def test_a_class_that_another_library_has_wrapped_takes_what_it_took(monkeypatch):
    """As nnsight does to every optimiser of torch when it is imported."""
    named = [("w", nn.Parameter(torch.zeros(3)))]
    options = TrainingOptions(optimiser="adamw", lr=0.3, optimiser_options={"eps": 1e-3})
    before = make_optimiser(named, options).defaults

    class Wrapped(torch.optim.AdamW):
        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

    monkeypatch.setattr(torch.optim, "AdamW", Wrapped)
    after = make_optimiser(named, options).defaults
    assert after == before
    assert (after["lr"], after["eps"], after["fused"]) == (0.3, 1e-3, True)
