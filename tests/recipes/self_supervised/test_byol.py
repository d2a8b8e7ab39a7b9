"""BYOL: ten steps against a loop by hand, its teacher, and what it embeds."""

import copy
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
import zoo
from commands import command
from isthmus.anatomy import Batch, Clock, Signal, View
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.self_supervised.byol import TaughtViews
from isthmus.training import Callback, TrainingOptions
from isthmus.training.lars import LARS
from isthmus.training.optimisers import learning_rate, make_optimiser
from isthmus.training.stepper import Stepper
from recipes.self_supervised import joint

RECIPE = get_recipe("byol")
SMALL = {"latent_dim": 12, "projector": 32, "embedding": 16, "hidden": (32,)}
X, Y = joint.vectors()


def build(signal=None, **options):
    chosen, training = RECIPE.parse({**SMALL, "scaling": "none", **options})
    torch.manual_seed(0)
    return RECIPE.build(signal or Signal("vector", (60,)), chosen), training


def started(**options):
    model, training = build(**options)
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
    return model.train(), training


def follow(model, part):
    """The teacher's copy of a part."""
    return model.parts["teacher"].copies[("encoder", "bottleneck").index(part)]


# --- the oracle: plain PyTorch, nothing of the library's ---------------------------------------


def stack(*widths, bias=False):
    """Linear, batch normalisation and ReLU, then linear."""
    layers = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
    return [*layers, nn.Linear(widths[-2], widths[-1], bias=bias)]


def by_hand(model, batches, *, halves, base, lr, decay, warmup):
    """Algorithm 1 of Grill et al. 2020, LARS and both schedules: the weights it ends on."""
    f = nn.Sequential(*stack(60, 32, 12, bias=True))
    g, q = nn.Sequential(*stack(12, 32, 16)), nn.Sequential(*stack(16, 32, 16))
    online = nn.ModuleList([f, g, q]).double()
    given = [*model.encoder.parameters(), *model.bottleneck.parameters()]
    given += model.parts["predictor"].parameters()
    with torch.no_grad():
        for mine, theirs in zip(online.parameters(), given, strict=True):
            mine.copy_(theirs)
    target = copy.deepcopy(nn.ModuleList([f, g]))
    momentum = [torch.zeros_like(p) for p in online.parameters()]
    total = len(batches)
    for k, batch in enumerate(batches):
        gradients = [torch.zeros_like(p) for p in online.parameters()]
        for x in batch.chunk(halves):
            v1 = x + 0.3 * torch.sin(7 * x)
            v2 = 1.2 * x - 0.3 * torch.cos(5 * x)
            with torch.no_grad():
                t1, t2 = (target[1](target[0](v)) for v in (v1, v2))
                t1, t2 = (t / t.norm(dim=1, keepdim=True) for t in (t1, t2))
            p1, p2 = (q(g(f(v))) for v in (v1, v2))
            p1, p2 = (p / p.norm(dim=1, keepdim=True) for p in (p1, p2))
            loss = (p1 - t2).square().sum(1).mean() + (p2 - t1).square().sum(1).mean()
            own = torch.autograd.grad(loss, list(online.parameters()))
            for whole, part in zip(gradients, own, strict=True):
                whole += part / halves
        rate = lr * min(1, (k + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * k / total))
        with torch.no_grad():
            for p, grad, m in zip(online.parameters(), gradients, momentum, strict=True):
                if p.ndim > 1:
                    grad = grad + decay * p
                    grad = grad * 1e-3 * p.norm() / grad.norm()
                m.mul_(0.9).add_(grad)
                p -= rate * m
            tau = 1 - (1 - base) * (math.cos(math.pi * k / total) + 1) / 2
            followed = [*f.parameters(), *g.parameters()]
            for mine, theirs in zip(target.parameters(), followed, strict=True):
                mine.mul_(tau).add_((1 - tau) * theirs)
    return list(online.parameters()), list(target.parameters())


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("base", [0.996, 0.5])
def test_ten_steps_are_those_of_a_loop_by_hand(halves, base):
    model, _ = build(decay=base)
    model.corruption = TaughtViews(joint.Bent())
    model = model.double()
    with torch.no_grad():
        model.prepare(torch.from_numpy(X).double())
    before = model.encoder.layers[0].weight.detach().clone()
    batches = list(torch.from_numpy(X).double().split(100))
    settings = {"lr": 8.0, "weight_decay": 0.01, "warmup": 1}
    by = {"lr": 8.0, "decay": 0.01, "warmup": 1, "halves": halves, "base": base}
    online, target = by_hand(copy.deepcopy(model), batches, **by)
    options = TrainingOptions(
        optimiser="lars", lr_schedule="cosine", batch_size=100, accumulate=halves, device="cpu",
        **settings,
    )  # fmt: skip
    stepper = Stepper(model.train(), options, total=10)
    for step, batch in enumerate(batches):
        stepper.step(Batch(batch), step)
    stepper.release()
    found = [*model.encoder.parameters(), *model.bottleneck.parameters()]
    found += model.parts["predictor"].parameters()
    taught = list(model.parts["teacher"].parameters())
    # Running statistics are left out: here they follow the first view alone, once a step.
    for mine, theirs in zip([*found, *taught], [*online, *target], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)
    assert (found[0] - before).abs().max() > 1e-2
    assert (taught[0] - found[0]).abs().max() > 1e-2


def test_tau_rises_as_in_lightly():
    # lightly 1.5.22: cosine_schedule(k, 10, 0.996, 1), whose half cosine has nine steps.
    theirs = [
        0.996, 0.9961206147584282, 0.9964679111137621, 0.997, 0.9976527036446662,
        0.9983472963553338, 0.999, 0.9995320888862379, 0.9998793852415718,
    ]  # fmt: skip
    decay = build()[0].parts["teacher"].decay
    assert [decay(Clock(k, 9)) for k in range(9)] == pytest.approx(theirs, abs=1e-15)
    still = build(decay=0.0)[0].parts["teacher"].decay
    assert [still(Clock(k, 9)) for k in range(9)] == [0.0] * 9


# --- teacher and views ------------------------------------------------------------------------


def test_each_view_is_seen_by_both_networks():
    model, _ = started()
    out = model(torch.from_numpy(X[:32]))
    assert [view.by for view in out.views] == [None, None, "teacher", "teacher"]
    for i in range(2):
        assert torch.equal(out.views[i].x, out.views[i + 2].x)
        # At the start the teacher is a copy.
        torch.testing.assert_close(out.codes[i].embedding, out.codes[i + 2].embedding)
    assert not torch.equal(out.views[0].x, out.views[1].x)
    assert out.recon is None


def test_the_teacher_has_no_gradient_and_no_optimiser():
    model, training = started()
    out = model(torch.from_numpy(X[:32]))
    model.objective(model, out).total.backward()
    for name, parameter in model.named_parameters():
        has = parameter.grad is not None and bool(parameter.grad.any())
        assert has is not name.startswith("parts.teacher"), name
    stepper = Stepper(model, training.model_copy(update={"device": "cpu"}), total=3)
    held = {id(p) for o in stepper.optimisers.values() for g in o.param_groups for p in g["params"]}
    own = {n: id(p) in held for n, p in model.named_parameters()}
    assert {n for n, inside in own.items() if not inside} == {
        n for n in own if n.startswith("parts.teacher.")
    }
    stepper.release()
    assert not any(p.requires_grad for p in model.parts["teacher"].parameters())


def test_codes_are_the_online_encoders():
    model, _ = started()
    before = model.encode(X[:20], code=True)
    with torch.no_grad():
        for parameter in model.parts.parameters():
            parameter.mul_(2.0)
    after = model.encode(X[:20], code=True)
    assert torch.equal(before.embedding, after.embedding)
    torch.testing.assert_close(after.z, model.eval().encoder(torch.from_numpy(X[:20])).detach())
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(2.0)
    assert not np.array_equal(model.encode(X[:20]), after.z.numpy())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_running_statistics_move_once_a_step_from_the_first_view(accumulate):
    model, training = started()
    model.corruption = TaughtViews(joint.Bent())
    options = training.model_copy(
        update={"device": "cpu", "accumulate": accumulate, "batch_size": 100}
    )
    stepper = Stepper(model, options, total=2)
    x = torch.from_numpy(X[:100])
    first = joint.Bent()(x[: 100 // accumulate])[0].x
    with torch.no_grad():
        inside = model.encoder.layers[0](first).mean(0)
        predicted = model.parts["predictor"].layers[0](
            model(x[: 100 // accumulate]).codes[0].embedding
        )
    model.encoder.layers[1].reset_running_stats()
    follow(model, "encoder").layers[1].reset_running_stats()
    model.parts["predictor"].layers[1].reset_running_stats()
    stepper.step(Batch(x), 0)
    norm = model.encoder.layers[1]
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * inside)
    torch.testing.assert_close(follow(model, "encoder").layers[1].running_mean, 0.1 * inside)
    own = model.parts["predictor"].layers[1].running_mean
    torch.testing.assert_close(own, 0.1 * predicted.mean(0))


# --- what it learns ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt():
    return isthmus.fit("byol", X, **{**SMALL, **joint.ADAM, "decay": 0.9})


def test_classes_can_be_told_better_than_by_a_random_encoder(learnt):
    random = isthmus.fit("byol", X, **{**SMALL, **joint.ADAM, "lr": 1e-9})
    assert joint.probe(learnt, X, Y) > joint.probe(random, X, Y) + 0.2
    assert joint.spread(learnt, X) > 0.6


def test_without_predictor_and_lag_the_embedding_collapses():
    model, _ = build(as_source(X).signal, decay=0.0, scaling="auto")
    model.parts["predictor"] = nn.Identity()
    collapsed = isthmus.fit(model, X, **joint.ADAM)
    assert joint.spread(collapsed, X) < 0.1
    assert collapsed.history[-1]["loss"] < 0.05


def test_images_are_learnt_and_do_not_collapse():
    images, y = joint.gratings()
    options = {**SMALL, **joint.ADAM, "steps": 100, "batch_size": 64, "decay": 0.9, "hidden": None}
    model = isthmus.fit("byol", images, **options)
    random = isthmus.fit("byol", images, **{**options, "lr": 1e-9, "steps": 2})
    assert joint.probe(model, images, y) > joint.probe(random, images, y) + 0.2
    assert joint.spread(model, images) > 0.4


def test_evaluate_says_rank_and_spread(learnt):
    results = isthmus.evaluate(learnt, X)
    z = learnt.encode(X).astype(np.float64)
    assert results["latent_std"].value == pytest.approx(z.std(0).mean(), rel=1e-4)
    assert 1 < results["latent_rank"].value <= 12
    assert results["numerical_rank"].value == 12
    with pytest.raises(IsthmusError, match="no decoder"):
        learnt.score(X)


def test_held_out_loss_of_the_teacher_is_near_that_in_training():
    options = {**SMALL, **joint.ADAM, "validation": 0.2, "log_every": 30, "validate_every": 30}
    last = {}
    for record in isthmus.fit("byol", X, **options).history:
        last.update(record)
    assert last["validation/loss"] == pytest.approx(last["loss"], rel=0.08)


def test_published_rates_and_decay():
    model, training = build()
    options = make_optimiser(
        [(n, p) for n, p in model.named_parameters() if p.requires_grad], training
    )
    assert isinstance(options, LARS)
    assert {(g["weight_decay"], g["lr_factor"]) for g in options.param_groups} == {(1.5e-6, 1.0)}
    peak = learning_rate(training, 10**7)(Clock(3127, 10**7))
    assert peak == pytest.approx(0.2 * 4096 / 256, rel=1e-4)
    chosen, training = RECIPE.parse({})
    assert (chosen["projector"], chosen["embedding"], chosen["decay"]) == (4096, 256, 0.996)
    assert (training.epochs, training.batch_size) == (1000, 4096)


# --- runs -------------------------------------------------------------------------------------


class Stop(Callback):
    def __init__(self, after):
        self.after = after

    def on_step(self, trainer, step):
        if step == self.after:
            raise RuntimeError("killed")


@pytest.mark.parametrize("after", [1, 5, 8])
def test_resumed_it_ends_on_the_same_bits(tmp_path, after):
    options = {**SMALL, "steps": 10, "batch_size": 64, "progress": False, "save_every": 2}
    options |= {"lr": 5.0, "decay": 0.9}
    whole = isthmus.fit("byol", X, **options)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("byol", X, out=tmp_path / "run", callbacks=[Stop(after)], **options)
    resumed = isthmus.resume(tmp_path / "run", X, progress=False)
    assert zoo.sha(resumed) == zoo.sha(whole)
    lag = follow(whole, "encoder").layers[0].weight - whole.encoder.layers[0].weight
    assert lag.abs().max() > 1e-4


def test_a_fresh_process_loads_the_same_codes_and_teacher(tmp_path):
    options = {**SMALL, "steps": 4, "batch_size": 64, "progress": False}
    model = isthmus.fit("byol", X, out=tmp_path / "run", **options)
    np.save(tmp_path / "x.npy", X[:9])
    script = (
        "import sys, numpy as np, isthmus\n"
        "m = isthmus.load('run')\n"
        "assert not any(p.requires_grad for p in m.parts['teacher'].parameters())\n"
        "np.save('z.npy', m.encode(np.load('x.npy')))\n"
        "np.save('t.npy', m.parts['teacher'].copies[0].layers[0].weight.detach().numpy())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), model.encode(X[:9]))
    taught = follow(model, "encoder").layers[0].weight.detach().numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), taught)


def test_half_precision_keeps_the_teacher_whole(learnt):
    model = isthmus.fit("byol", X, precision="bf16", **{**SMALL, **joint.ADAM, "decay": 0.9})
    assert {p.dtype for p in model.parts["teacher"].parameters()} == {torch.float32}
    assert joint.probe(model, X, Y) > joint.probe(learnt, X, Y) - 0.1
    assert joint.spread(model, X) > 0.6


def test_several_at_once_are_as_each_alone():
    options = {"steps": 5, "batch_size": 64, "progress": False, "device": "cpu"}
    variants = {"slow": SMALL, "quick": {**SMALL, "decay": 0.5}}
    both = isthmus.fit_many({n: ("byol", v) for n, v in variants.items()}, X, **options)
    for name, variant in variants.items():
        assert zoo.sha(both[name]) == zoo.sha(isthmus.fit("byol", X, **variant, **options))
    assert zoo.sha(both["slow"]) != zoo.sha(both["quick"])


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=X[:200])
    command("fit", "byol", "data.npz", "latent_dim=6", "projector=16", "steps=5", "-o", "run")
    assert "latent_rank" in command("evaluate", "run")
    command("encode", "run", "data.npz", "-o", "codes.npz")
    with np.load("codes.npz") as codes:
        assert codes["z"].shape == (200, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.5}, "decay"),
        ({"decays": 0.9}, "decay"),
        ({"projector": 0}, "projector"),
        ({"batch_size": 8, "accumulate": 8}, "more than one row"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        isthmus.fit("byol", X, steps=2, progress=False, **{**SMALL, **options})
    assert "\n" not in str(problem.value)


def test_an_own_encoder_is_followed_too():
    own = nn.Sequential(nn.Flatten(), nn.Linear(60, 12))
    model, _ = build(encoder=own)
    assert model.encoder is own
    teacher = follow(model, "encoder")
    assert torch.equal(teacher[1].weight, own[1].weight)
    assert teacher[1].weight is not own[1].weight
    assert View(torch.zeros(2, 60)).by is None
