"""Players as data: who trains what, with which optimiser, how often."""

import inspect

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Player, Signal, Term
from isthmus.anatomy.players import covers, modules_of, owner_of
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE


class Fools(Term):
    name, unit = "fools", "nats"

    def forward(self, model, out):
        return F.softplus(-model.critics["critic"](out.code.z)[:, 0])


class Judges(Term):
    name, unit, player = "judges", "nats", "critic"

    def forward(self, model, out):
        return F.softplus(model.critics["critic"](out.code.z)[:, 0])


def adversarial(*players, **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=MSE() + 0.1 * Fools() + Judges(),
        critics={"critic": nn.Linear(3, 1)},
        players=players,
        **parts,
    )


def by_hand(run, model, optimisers, every, turns, steps):
    """Alternating steps with torch's own optimisers, on the run's batches."""
    for step in range(steps):
        x = run.batches[step].x
        for name, optimiser in optimisers.items():
            if step % every[name]:
                continue
            for _ in range(turns[name]):
                own = [p for group in optimiser.param_groups for p in group["params"]]
                gradients = torch.autograd.grad(model.objective(model, model(x), name).total, own)
                for parameter, gradient in zip(own, gradients, strict=True):
                    parameter.grad = gradient
                optimiser.step()
                optimiser.zero_grad()


@pytest.mark.parametrize(
    ("given", "cls", "options", "every", "turns"),
    [
        ({}, torch.optim.Adam, {"lr": 1e-2}, 1, 1),
        ({"lr": 0.3}, torch.optim.Adam, {"lr": 0.3}, 1, 1),
        ({"optimiser": "sgd", "lr": 0.1}, torch.optim.SGD, {"lr": 0.1}, 1, 1),
        (
            {"optimiser": "rmsprop", "optimiser_options": {"alpha": 0.5}, "weight_decay": 0.2},
            torch.optim.RMSprop, {"lr": 1e-2, "alpha": 0.5, "weight_decay": 0.2}, 1, 1,
        ),
        ({"every": 3}, torch.optim.Adam, {"lr": 1e-2}, 3, 1),
        ({"steps": 4}, torch.optim.Adam, {"lr": 1e-2}, 1, 4),
        (
            {"every": 2, "steps": 3, "optimiser": "sgd", "optimiser_options": {"momentum": 0.9}},
            torch.optim.SGD, {"lr": 1e-2, "momentum": 0.9}, 2, 3,
        ),
    ],
)  # fmt: skip
def test_a_player_against_a_loop_by_hand_bit_for_bit(given, cls, options, every, turns):
    model, other = adversarial(Player("critic", **given)), adversarial()
    run = toys.trainer(model, steps=7)
    run.run()
    optimisers = {
        "model": torch.optim.Adam(
            [*other.encoder.parameters(), *other.decoder.parameters()], lr=1e-2, fused=True
        ),
        "critic": cls(other.critics.parameters(), **fused(cls), **options),
    }
    by_hand(run, other, optimisers, {"model": 1, "critic": every}, {"model": 1, "critic": turns}, 7)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def fused(cls):
    """What the trainer asks for where a class offers it."""
    return {"fused": True} if "fused" in inspect.signature(cls).parameters else {}


def test_the_models_own_player_may_be_given_too():
    model, other = adversarial(Player("model", every=2, lr=0.2)), adversarial()
    run = toys.trainer(model, steps=4, optimiser="sgd", lr=0.05)
    run.run()
    optimisers = {
        "model": torch.optim.SGD(
            [*other.encoder.parameters(), *other.decoder.parameters()], 0.2, fused=True
        ),
        "critic": torch.optim.SGD(other.critics.parameters(), 0.05, fused=True),
    }
    by_hand(run, other, optimisers, {"model": 2, "critic": 1}, {"model": 1, "critic": 1}, 4)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_players_rate_follows_the_runs_schedule():
    model = adversarial(Player("critic", lr=0.4))
    run = toys.trainer(model, steps=10, lr=0.1, lr_schedule="linear")
    run.run()
    rates = {n: o.param_groups[0]["lr"] for n, o in run.stepper.optimisers.items()}
    assert rates == {"model": pytest.approx(0.01), "critic": pytest.approx(0.04)}


def test_several_turns_have_fresh_draws_on_the_same_rows():
    seen = []

    class Noisy(nn.Module):
        def forward(self, x):
            from isthmus.anatomy import View

            seen.append((x.clone(), torch.rand(3)))
            return View(x)

    model = adversarial(Player("critic", steps=3), corruption=Noisy())
    toys.trainer(model, steps=1).run()
    assert len(seen) == 4
    assert all(torch.equal(x, seen[0][0]) for x, _ in seen)
    assert len({tuple(draw.tolist()) for _, draw in seen}) == 4


# --- who owns what -----------------------------------------------------------------------------


def owned(model, player):
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)] for p in model.player_parameters(player)}


def test_patterns_say_whose_a_weight_is():
    class Bends(Term):
        name, unit, player = "bends", "units", "bias"

        def forward(self, model, out):
            return out.code.z.square().sum(1)

    model = Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 6), objective=MSE() + Bends(),
        players=[Player("bias", parts=("*.bias", "decoder.none"))],
    )  # fmt: skip
    assert owned(model, "bias") == {"encoder.bias", "decoder.bias"}
    assert owned(model, "model") == {"encoder.weight", "decoder.weight"}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    toys.trainer(model, steps=2).run()
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters() if "encoder" in n)
    # No gradient of the decoder's bias comes from that player's term.
    assert torch.equal(model.decoder.bias, before["decoder.bias"])


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("encoder", "encoder", True), ("encoder", "encoder.0.weight", True),
        ("encoder", "encoder2.weight", False), ("encoder.*", "encoder.0.weight", True),
        ("*.bias", "encoder.0.bias", True), ("*.bias", "encoder.0.weight", False),
        ("encoder.[01].*", "encoder.1.weight", True), ("Encoder", "encoder", False),
        ("encoder.*", "encoder", True), ("encoder.*", "encoder2", False),
    ],
)  # fmt: skip
def test_what_a_pattern_covers(pattern, name, covered):
    assert covers(pattern, name) is covered


def test_modules_follow_their_weights():
    players = [Player("critic", parts=("critics.critic.*",))]
    model = adversarial()
    assert [n for n, _ in modules_of(model, "critic", players)] == ["critics.critic"]
    assert "critics.critic" not in dict(modules_of(model, "model", players))
    assert owner_of("encoder.weight", players) == "model"
    assert owner_of("critics.other.weight", players) == "other"


def test_a_critic_without_a_term_is_not_trained():
    """A model that only listens to its critic must not train it to please."""
    torch.manual_seed(0)
    model = Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 6), objective=MSE() + Fools(), critics={"critic": nn.Linear(3, 1)},
    )  # fmt: skip
    before = model.critics["critic"].weight.detach().clone()
    toys.trainer(model, steps=3, lr=0.1).run()
    assert torch.equal(model.critics["critic"].weight, before)


def test_players_come_in_the_order_of_the_terms():
    model = adversarial(Player("critic", lr=0.1))
    assert [p.name for p in model.players()] == ["model", "critic"]
    assert model.players()[1].parts == ("critics.critic",)
    model.objective = Judges() + MSE()
    assert [p.name for p in model.players()] == ["critic", "model"]


def test_a_player_without_terms_is_refused():
    with pytest.raises(
        IsthmusError, match=r"no term belongs to, 'critc': did you mean 'critic'\?"
    ) as p:
        adversarial(Player("critc"))
    assert "\n" not in str(p.value)
    from isthmus.anatomy.players import default_players

    with pytest.raises(
        IsthmusError, match="'judge' has no term in the objective: give a term play"
    ):
        default_players(adversarial().objective, ["critic"], [Player("judge")])


@pytest.mark.parametrize("counts", [{"every": 0}, {"steps": 0}, {"every": -1}])
def test_counts_are_counts(counts):
    with pytest.raises(IsthmusError, match=r"'critic' has every=.* and steps=.*: both are counts"):
        Player("critic", **counts)


def test_a_player_with_nothing_to_train_is_refused():
    model = adversarial(Player("critic", parts=("critics.judge",)))
    with pytest.raises(IsthmusError, match="the critic has no weights to train"):
        toys.trainer(model, steps=1).run()


def test_a_player_of_another_optimiser_does_not_inherit_the_arguments_of_the_runs():
    model = adversarial(Player("critic", optimiser="sgd"))
    run = toys.trainer(model, steps=2, optimiser_options={"betas": (0.5, 0.9)})
    run.run()
    assert run.stepper.optimisers["model"].defaults["betas"] == (0.5, 0.9)
    assert isinstance(run.stepper.optimisers["critic"], torch.optim.SGD)
