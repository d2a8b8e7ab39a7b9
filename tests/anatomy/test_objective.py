"""Objectives: sums, weights, players."""

import pytest
import torch
import toys
from torch import nn

import isthmus
import zoo
from isthmus.anatomy import (
    Autoencoder,
    Clock,
    Linear,
    Objective,
    Output,
    Signal,
    Step,
    Term,
    View,
    Watch,
    Weighted,
)  # fmt: skip
from isthmus.anatomy.objective import as_objective
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import Callback


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


# --- terms are modules ---------------------------------------------------------------------------


class Learnt(Term):
    """A term with a weight to learn, and a count; it never calls the __init__ of its base."""

    name, unit = "learnt", "units"

    def __init__(self):
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, model, out):
        return (out.code.z * self.weight).square().sum(1)

    def observe(self, out, step):
        self.seen += len(out.x)


def linear(objective):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=objective,
    )


def test_a_term_without_the_init_of_its_base_is_a_module():
    class Bare(Term):
        name, unit = "bare", "units"

        def __init__(self, scale):
            self.scale = scale

        def forward(self, model, out):
            return self.scale * out.x[:, 0]

    term = Bare(3.0)
    assert isinstance(term, nn.Module)
    assert term(None, out()).tolist() == [3.0, 9.0]
    assert repr(term) == "Bare(scale=3.0)"
    assert "name" not in repr(Learnt())


def test_the_state_of_terms_is_the_models():
    model = linear(MSE() + 0.1 * Learnt() + Watch(Mean()))
    assert isinstance(model.objective, Objective)
    own = {n for n in model.state_dict() if n.startswith("objectives.")}
    assert own == {"objectives.0.terms.1.weight", "objectives.0.terms.1.seen"}
    trained = {n for n, _ in model.named_parameters()}
    assert "objectives.0.terms.1.weight" in trained
    assert [type(part.term) for part in model.objective] == [MSE, Learnt, Watch]
    assert isinstance(next(iter(model.objective)), Weighted)
    assert len(model.objective) == len(model.objective.terms) == len(model.objective.weights) == 3


def test_the_state_of_a_term_is_trained_saved_and_restored(tmp_path):
    def fit(**more):
        return isthmus.fit(
            linear(MSE() + 0.1 * Learnt()), toys.X, steps=6, batch_size=16, lr=0.1, progress=False,
            **more,
        )  # fmt: skip

    class Stop(Callback):
        def on_step(self, run, step):
            if step == 4:
                raise RuntimeError("killed")

    whole = fit()
    term = whole.objective.terms[1]
    assert int(term.seen) == 96
    assert not torch.equal(term.weight, torch.ones(3))
    with pytest.raises(RuntimeError, match="killed"):
        fit(out=tmp_path / "run", save_every=2, callbacks=[Stop()])
    fresh = linear(MSE() + 0.1 * Learnt())
    again = isthmus.resume(tmp_path / "run", toys.X, model=fresh, progress=False)
    assert zoo.sha(again) == zoo.sha(whole)
    loaded = isthmus.load(tmp_path / "run", linear(MSE() + 0.1 * Learnt()))
    assert int(loaded.objective.terms[1].seen) == 96


def test_what_is_watched_weighs_nothing():
    """No gradient, no share of the total, no player; its value is in the log."""
    plain, watching = linear(MSE()), linear(MSE() + Watch(Learnt()) + Watch(Theirs()))
    assert watching.objective.players == ["model"]
    x = torch.randn(8, 6)
    for model in (plain, watching):
        losses = model.objective(model, model(x))
        losses.total.backward()
    one, other = (m.objective(m, m(x)) for m in (plain, watching))
    assert torch.equal(one.total, other.total)
    assert not other.terms["learnt"].requires_grad
    expected = watching.encoder(x).square().sum(1).mean()
    torch.testing.assert_close(other.terms["learnt"], expected.detach())
    assert watching.objective.terms[1].term.weight.grad is None
    for a, b in zip(plain.encoder.parameters(), watching.encoder.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert torch.equal(
        plain.objective.per_example(plain, plain(x)),
        watching.objective.per_example(watching, watching(x)),
    )
    described = watching.objective.describe()
    assert described[1] == {
        "term": "learnt", "unit": "units", "weight": "watched", "player": "model",
        "over": "examples",
    }  # fmt: skip


def test_what_is_watched_is_logged():
    model = linear(MSE() + Watch(L2()))
    run = toys.trainer(model, steps=4, log_every=1, lr=1e-9)
    run.run()
    first = run.history[0]
    z = linear(MSE()).encoder(run.batches[0].x)
    assert first["l2"] == pytest.approx(z.square().sum(1).mean().item(), rel=1e-5)
    assert first["loss"] == first["mse"]


class L2(Term):
    name, unit, rebuilds = "l2", "units", False

    def forward(self, model, out):
        return out.code.z.square().sum(1)


def test_watching_a_term_that_rebuilds_nothing_rebuilds_nothing():
    assert not (L2() + Watch(Named())).rebuilds
    assert (L2() + Watch(Mean())).rebuilds


class Named(L2):
    name = "named"


# --- what terms share ----------------------------------------------------------------------------


class Shares(Term):
    unit = "units"

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def forward(self, model, out):
        def make():
            self.calls.append(self.name)
            return model.encoder(out.x).sum(1)

        return out.memo("sum", make)


def test_a_memo_is_made_once_a_step_with_gradients():
    calls = []
    model = linear(Shares("a", calls) + 2 * Shares("b", calls))
    x = torch.randn(8, 6)
    losses = model.objective(model, model(x))
    assert calls == ["a"]
    torch.testing.assert_close(losses.total, 3 * model.encoder(x).sum(1).mean())
    losses.total.backward()
    torch.testing.assert_close(model.encoder.weight.grad, 3 * x.mean(0).expand(3, 6))
    model.objective(model, model(x))
    assert calls == ["a", "a"]


def test_what_was_made_without_gradients_is_not_handed_to_who_needs_them():
    calls = []
    model = linear(Watch(Shares("a", calls)) + Shares("b", calls) + Shares("c", calls))
    losses = model.objective(model, model(torch.randn(8, 6)))
    assert calls == ["a", "b"]
    assert losses.total.requires_grad


class Mine(Term):
    name, unit = "mine", "1"

    def __init__(self, value):
        self.value = value

    def forward(self, model, out):
        return self.value


class Whole(Mine):
    name, per_example, estimator = "whole", False, "mean"


class Nameless(Term):
    def forward(self, model, out):
        return out.x


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (Mine(torch.tensor(1.0)), r"the term mine returned shape \(\): return \(rows,\)"),
        (Mine(None), "the term mine returned NoneType"),
        (Whole(torch.ones(3)), r"the term whole returned shape \(3,\): return a scalar"),
    ],
)
def test_a_term_that_returns_something_else_is_one_sentence(term, said):
    with pytest.raises(IsthmusError, match=said):
        as_objective(term)(None, None)


def test_a_term_without_a_name_is_one_sentence():
    with pytest.raises(IsthmusError, match="the term Nameless has no name"):
        as_objective(Nameless())
