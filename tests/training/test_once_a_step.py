"""What a step leaves behind is left once: counters, thresholds, controls, running statistics."""

from itertools import product

import pytest
import torch
import toys
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

import zoo
from isthmus.anatomy import Autoencoder, Clock, Player, Signal, Step, View
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE, L0Control
from isthmus.testing.small import cut
from isthmus.training.running_statistics import OncePerStep

STEPS, ROWS = 5, 16
CASES = [
    pytest.param(players, accumulate, turns, id=f"{players} players, {accumulate} parts, {turns}x")
    for players, accumulate, turns in product((1, 2), (1, 2, 4), (1, 3))
]
every_case = pytest.mark.parametrize(("players", "accumulate", "turns"), CASES)


def played(model, players, turns, latent):
    """The model with a critic, where there are two players, and several turns for each."""
    given = [Player("model", steps=turns)]
    if players == 2:
        model.critics["critic"] = nn.Linear(latent, 1)
        model.objective = model.objective + 0.1 * toys.Fool() + toys.Judge()
        given.append(Player("critic", steps=turns))
    model.given_players = tuple(given)
    return model


def trained(model, accumulate, **options):
    run = toys.trainer(model, steps=STEPS, accumulate=accumulate, log_every=1, **options)
    run.run()
    assert [len(p) for p in run.stepper.parameters.values()].count(0) == 0
    return model


def sparse(name, **options):
    torch.manual_seed(0)
    return toys.recipe(name, latent_dim=12, **options)


@every_case
def test_batchtopk_and_its_counter(players, accumulate, turns, monkeypatch):
    model = played(sparse("batchtopk", k=2), players, turns, 12)
    prepare = model.bottleneck.prepare

    def silence(*args):
        prepare(*args)
        model.encoder.weight[0].zero_()
        model.encoder.bias[0] = -1e9

    monkeypatch.setattr(model.bottleneck, "prepare", silence)
    trained(model, accumulate)
    assert int(model.bottleneck.batches) == STEPS
    silent = model.bottleneck.counter.silent_rows
    assert int(silent[0]) == STEPS * ROWS
    assert int(silent.max()) == STEPS * ROWS
    assert int(silent.min()) < ROWS
    assert float(model.bottleneck.threshold) > 0


def test_batchtopks_threshold_is_the_same_for_one_player_and_for_two():
    """Of the first step: later the critic has its say."""
    found = []
    for players in (1, 2):
        model = played(sparse("batchtopk", k=2), players, 1, 12)
        run = toys.trainer(model, steps=1)
        run.run()
        found.append(float(model.bottleneck.threshold))
    assert found[0] == found[1] > 0


@every_case
@pytest.mark.parametrize("name", ["topk", "relu-l1", "jumprelu", "gated"])
def test_every_counter_sees_each_row_once(name, players, accumulate, turns):
    own = {"k": 2} if name == "topk" else {"l0": 2.0}
    model = played(sparse(name, **own), players, turns, 12)
    seen = []
    count = model.bottleneck.counter.count
    model.bottleneck.counter.count = lambda code: (seen.append(len(code.entries)), count(code))
    trained(model, accumulate)
    assert seen == [ROWS] * STEPS


@every_case
def test_a_control_measures_once(players, accumulate, turns, monkeypatch):
    measured, answered = [], []
    measure, answer = L0Control.measure, L0Control.answer

    def counted(self, code):
        measured.append(len(code.entries))
        measure(self, code)

    def told(self, *about):
        answered.append(int(self.rows))
        return answer(self, *about)

    monkeypatch.setattr(L0Control, "measure", counted)
    monkeypatch.setattr(L0Control, "answer", told)
    trained(played(sparse("relu-l1", l0=2.0), players, turns, 12), accumulate)
    assert measured == [ROWS] * STEPS
    assert [rows for rows in answered if rows] == [ROWS] * STEPS


# --- running statistics --------------------------------------------------------------------------


class Often(nn.Module):
    """Calls its network several times a forward pass, on different rows."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        return self.net(x) + self.net(5.0 * x) + self.net(x - 9.0)


class Twice(nn.Module):
    def forward(self, x):
        return [View(x), View(3.0 * x)]


class Again(MSE):
    """A term that encodes again."""

    def forward(self, model, out):
        return super().forward(model, out) + model.encoder(out.x + 4.0).square().mean(1)


def normed(encoder, **parts):
    torch.manual_seed(0)
    chosen = {"objective": MSE(), **parts}
    return Autoencoder(
        Signal("vector", (6,)), encoder=encoder, bottleneck=Identity(), decoder=nn.Linear(3, 6),
        **chosen,
    )  # fmt: skip


def once(calls):
    return nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)) if calls == "once" else Often()


def norm_of(model):
    (layer,) = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    return layer


@every_case
@pytest.mark.parametrize("calls", ["once", "often", "two views", "a term"])
def test_statistics_move_once_a_step(calls, players, accumulate, turns):
    more = {"two views": {"corruption": Twice()}, "a term": {"objective": Again()}}
    model = normed(once("often" if calls == "often" else "once"), **more.get(calls, {}))
    model = trained(played(model, players, turns, 3), accumulate)
    layer = norm_of(model)
    assert int(layer.num_batches_tracked) == STEPS
    assert layer.track_running_stats
    assert layer._forward_hooks == {}


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_statistics_are_those_of_the_first_call(accumulate):
    model = normed(Often())
    run = toys.trainer(model, steps=1, accumulate=accumulate)
    run.build()
    first = run.batches[0].x[: ROWS // accumulate]
    seen = model.encoder.net[0](first).detach()
    run.run()
    layer = norm_of(model)
    torch.testing.assert_close(layer.running_mean, 0.1 * seen.mean(0))
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * seen.var(0))


def test_what_a_later_call_returns_is_normalised_by_its_own_batch():
    model = normed(Often())
    often = OncePerStep(model)
    x = torch.randn(8, 6)
    plain = model.encoder(x)
    with often:
        torch.testing.assert_close(model.encoder(x), plain)
        model.eval()  # as a term that looks at the deterministic path may do
        evaluated = model.encoder(x)
    torch.testing.assert_close(model.encoder(x), evaluated)
    often.release()


def test_a_network_in_evaluation_mode_keeps_its_statistics():
    model = normed(once("once"))
    model.encoder.eval()
    run = toys.trainer(model, steps=2)
    run.build()
    run.stepper.train()
    model.encoder.eval()
    for step in range(2):
        run.stepper.step(run.batches[step], step)
    assert int(norm_of(model).num_batches_tracked) == 0
    run.stepper.release()


# --- the rule ----------------------------------------------------------------------------------


def count(rows):
    return len(next(iter(rows.values())) if isinstance(rows, dict) else rows)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_the_forward_pass_changes_no_buffer(name):
    model, _, rows = zoo.build(name)
    norms = [n for n, m in model.named_modules() if isinstance(m, _NormBase)]
    model.train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in (0, 3):
            batch = model.signal.batch(cut(rows, 0, 32))
            out = model(batch, Step(Clock(step, 9, 32, count(rows))))
            for player in model.objective.players:
                model.objective(model, out, player)
    for found, kept in ((model.named_buffers(), before), (model.named_parameters(), weights)):
        for key, tensor in found:
            if key.rpartition(".")[0] not in norms:
                assert torch.equal(tensor, kept[key]), key
