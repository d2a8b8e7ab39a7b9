"""The loop against loops written by hand; players, validation, the log."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import Callback

DIGITS = np.random.default_rng(0).random((64, 1, 8, 8)).astype(np.float32)


def linear(seed=0):
    torch.manual_seed(seed)
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


def by_hand(run, model, steps, optimiser, clip=None, clip_value=None):
    """The plain loop over the trainer's own batches."""
    for step in range(steps):
        x = run.batches[step].x
        (model.decoder(model.encoder(x)) - x).square().mean().backward()
        if clip_value is not None:
            nn.utils.clip_grad_value_(model.parameters(), clip_value)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize(
    ("name", "cls", "extra"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.5, 0.9)}),
        ("adamw", torch.optim.AdamW, {"eps": 1e-4}),
        ("sgd", torch.optim.SGD, {"momentum": 0.8}),
        ("rmsprop", torch.optim.RMSprop, {}),
    ],
)
def test_against_a_loop_by_hand(name, cls, extra):
    model, other = linear(), linear()
    run = toys.trainer(
        model, optimiser=name, optimiser_options=extra, weight_decay=0.01, steps=15, lr=3e-2
    )
    run.run()
    by_hand(run, other, 15, cls(other.parameters(), lr=3e-2, weight_decay=0.01, **extra))
    assert_same(model, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [1e-3, 0.5, 100.0])
@pytest.mark.parametrize("value", [None, 1e-3])
def test_clipping_is_torchs(clip, value):
    model, other = linear(), linear()
    run = toys.trainer(model, optimiser="sgd", clip=clip, clip_value=value, lr=0.3)
    run.run()
    by_hand(run, other, 9, torch.optim.SGD(other.parameters(), lr=0.3), clip, value)
    assert_same(model, other)


def test_no_number_of_a_gradient_is_beyond_its_bound():
    model, start = linear(), linear()
    toys.trainer(model, optimiser="sgd", clip_value=1e-4, lr=1.0, steps=1).run()
    before = dict(start.named_parameters())
    moved = torch.cat([(p - before[n]).abs().flatten() for n, p in model.named_parameters()])
    assert moved.max() <= 1.001e-4
    assert (moved > 0.99e-4).float().mean() > 0.5


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_accumulating_parts_is_the_whole_batch(parts):
    a, b = linear(), linear()
    for model, accumulate in ((a, 1), (b, parts)):
        toys.trainer(model, accumulate=accumulate, optimiser="sgd", lr=0.2, log_every=1).run()
    assert_same(a, b, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(a.history, b.history, strict=True):
        # the log too is of the whole batch, not of its last part
        assert mine["mse"] == pytest.approx(theirs["mse"], rel=1e-5)
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def test_accumulation_must_divide_the_batch():
    with pytest.raises(IsthmusError, match="does not divide"):
        toys.trainer(linear(), accumulate=5)


# --- players ----------------------------------------------------------------------------------


def test_each_player_steps_on_its_own_loss_and_weights():
    """Against alternating steps by hand: each player's loss moves its own weights only."""
    torch.manual_seed(0)
    model, other = plain_adversarial(), plain_adversarial()
    other.load_state_dict(model.state_dict())
    run = toys.trainer(model, optimiser="sgd", lr=0.1, steps=6)
    run.run()
    own = [*other.encoder.parameters(), *other.decoder.parameters()]
    theirs = list(other.critics.parameters())
    critic = other.critics["critic"]
    for step in range(6):
        x = run.batches[step].x
        for mine, loss in ((own, fooling), (theirs, judging)):
            z = other.encoder(x)
            gradients = torch.autograd.grad(loss(other, critic, x, z), mine)
            with torch.no_grad():
                for parameter, gradient in zip(mine, gradients, strict=True):
                    parameter -= 0.1 * gradient
    assert_same(model, other, rtol=1e-5, atol=1e-6)


def fooling(model, critic, x, z):
    return (model.decoder(z) - x).square().mean() + 0.1 * F.softplus(-critic(z)).mean()


def judging(model, critic, x, z):
    return F.softplus(critic(z)).mean()


class SeesCodes(Term):
    name, unit, player = "sees_codes", "nats", "critic"

    def forward(self, model, out):
        return F.softplus(model.critics["critic"](out.code.z)[:, 0])


def plain_adversarial():
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=MSE() + 0.1 * toys.Fool() + SeesCodes(),
        critics={"critic": nn.Linear(3, 1)},
    )


def frozen(model):
    model.decoder.requires_grad_(False)
    return {n: p.clone() for n, p in model.decoder.named_parameters()}


@pytest.mark.parametrize("make", [linear, plain_adversarial])
def test_weights_that_the_user_froze_stay_frozen(make):
    model = make()
    before = frozen(model)
    toys.trainer(model, weight_decay=0.1, average=0.5).run()
    for name, parameter in model.decoder.named_parameters():
        assert torch.equal(parameter, before[name]), name
        assert not parameter.requires_grad
    assert all(p.requires_grad for p in model.encoder.parameters())


def test_nothing_to_train_is_an_error():
    model = linear()
    model.requires_grad_(False)
    with pytest.raises(IsthmusError, match="no weights to train"):
        toys.trainer(model).run()


# --- validation -------------------------------------------------------------------------------


class Drift(Term):
    """A validation loss that is known: its step's entry of a list, in training one to follow."""

    name, unit = "drift", "units"

    def __init__(self, losses):
        self.losses = losses

    def forward(self, model, out):
        pull = (model.encoder.weight - 1.0).square().mean()  # so that the weights move
        known = pull.detach() * 0 + self.losses[out.clock.step]
        return (pull if model.training else known).expand(len(out.x))


@pytest.mark.parametrize(
    ("losses", "patience", "stops", "best"),
    [
        ([5, 4, 3, 4, 5, 6, 7, 8, 9], 2, 5, 3),
        ([5, 4, 3, 4, 2, 6, 7, 8, 9], 2, 7, 5),
        ([5, 5, 5, 5, 5, 5, 5, 5, 5], 3, 4, 1),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], 1, 9, 9),
    ],
)
def test_early_stopping_keeps_the_best_weights(losses, patience, stops, best):
    class Track(Callback):
        def __init__(self):
            self.weights = {}

        def on_step(self, trainer, step):
            self.weights[step] = trainer.model.encoder.weight.detach().clone()

    track, model = Track(), linear()
    model.objective = Drift([float(loss) for loss in losses]) * 1.0
    run = toys.trainer(
        model, held=True, validate_every=1, patience=patience, callbacks=[track], lr=0.1
    )
    run.run()
    assert run.step == stops
    assert torch.equal(model.encoder.weight, track.weights[best])
    assert not torch.equal(model.encoder.weight, track.weights[best - 1 or 2])


def test_without_patience_the_last_weights_are_kept():
    model = linear()
    model.objective = Drift([1.0, 2, 3, 4, 5, 6, 7, 8, 9]) * 1.0
    run = toys.trainer(model, held=True, validate_every=1)
    run.run()
    assert run.step == 9
    assert run.best["step"] == 1


def test_the_validation_loss_is_that_of_all_held_rows():
    model = linear()
    run = toys.trainer(model, held=True, batch_size=16, steps=5)
    run.run()
    x = toys.HELD.rows(torch.arange(40))
    expected = (model.decoder(model.encoder(x)) - x).square().mean().item()
    logged = [r["validation/mse"] for r in model.history if "validation/mse" in r]
    assert logged[-1] == pytest.approx(expected, rel=1e-4)


def test_validation_sees_neither_dropout_nor_batch_statistics():
    model = toys.fresh()
    toys.trainer(model, held=True, steps=4, batch_size=20).run()
    logged = [r["validation/mse"] for r in model.history if "validation/mse" in r][-1]
    expected = -model.score(toys.HELD).mean().item()
    assert logged == pytest.approx(expected, rel=1e-5)


def test_a_validation_loss_that_is_not_finite_ends_the_run():
    model = linear()
    model.objective = Drift([5.0, math.nan, *[1.0] * 7]) * 1.0
    with pytest.raises(IsthmusError, match="drift became NaN or infinite at step 1"):
        toys.trainer(model, held=True, validate_every=1).run()


def test_patience_needs_validation():
    with pytest.raises(IsthmusError, match=r"set validation=0\.1"):
        isthmus.fit("plain", toys.X, patience=3, steps=3)


# --- the log, callbacks, precision ------------------------------------------------------------


def test_the_log_on_disk_is_the_history(tmp_path):
    model = toys.trainer(toys.fresh("adversarial"), tmp_path, held=True, log_every=2).run()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == model.history
    trained = [r for r in model.history if "lr" in r]
    assert [r["step"] for r in trained] == [2, 4, 6, 8, 9]
    assert {"loss", "mse", "fool", "critic/loss", "critic/judge"} <= set(trained[0])
    first = trained[0]
    assert first["loss"] == pytest.approx(first["mse"] + 0.1 * first["fool"], rel=1e-5)


def test_callbacks_hear_everything_in_order(tmp_path):
    heard = []

    class Listen(Callback):
        def on_start(self, trainer):
            heard.append("start")

        def on_step(self, trainer, step):
            heard.append(step)

        def on_log(self, trainer, record):
            heard.append("log")

        def on_save(self, trainer, folder):
            heard.append("save")

        def on_end(self, trainer):
            heard.append("end")

    toys.trainer(
        toys.fresh(), tmp_path, steps=4, log_every=2, save_every=3, callbacks=[Listen()]
    ).run()
    assert heard == ["start", "save", 1, 2, "log", 3, "save", 4, "log", "save", "end"]


def test_a_full_disk_stops_the_run_with_one_sentence_and_keeps_the_checkpoint(
    tmp_path, monkeypatch
):
    import errno
    import os
    from pathlib import Path

    folder = tmp_path / "run"
    toys.trainer(toys.fresh(), folder, steps=3).run()
    kept = {p.name: p.read_bytes() for p in folder.rglob("*.safetensors")}
    real = Path.open

    def full(path, mode="r", *args, **kwargs):
        if "a" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, *args, **kwargs)

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    monkeypatch.setattr(Path, "open", full)
    run = toys.trainer(toys.fresh(), copy, steps=9)
    from isthmus.training import read_checkpoint

    state = read_checkpoint(folder, state=True)
    state.progress["finished"] = False
    run.restore(state)
    with pytest.raises(IsthmusError, match="cannot write the log"):
        run.run()
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in copy.rglob("*.safetensors")} == kept


@pytest.mark.parametrize("kind", list(toys.MODELS))
def test_half_precision(kind):
    full, half = toys.fresh(kind), toys.fresh(kind)
    toys.trainer(full, steps=3).run()
    toys.trainer(half, steps=3, precision="bf16").run()
    assert all(p.dtype == torch.float32 for p in half.parameters())
    assert zoo.sha(full) != zoo.sha(half)
    assert all(bool(torch.isfinite(p).all()) for p in half.parameters())


def test_an_absent_device_is_an_error():
    with pytest.raises(IsthmusError, match="device 'cuda:77' is not there: use device=auto"):
        toys.trainer(toys.fresh(), device="cuda:77")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_it_learns_the_same(tmp_path):
    plain, compiled = linear(), linear()
    toys.trainer(plain).run()
    toys.trainer(compiled, tmp_path, compile=True).run()
    assert_same(plain, compiled, rtol=1e-3, atol=1e-4)
    assert set(compiled.state_dict()) == set(plain.state_dict())


# --- what fit refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: isthmus.fit("plain", toys.X[:0]), "empty"),
        (lambda: isthmus.fit("plain", toys.X[:9], batch_size=16), "fewer than one batch"),
        (lambda: isthmus.fit("plain", np.where(toys.X > 1, np.nan, toys.X)), "NaN or infinity"),
        (lambda: isthmus.fit("plain", toys.X.astype(str)), "numeric"),
        (lambda: isthmus.fit("plain", np.full((50, 3), 7.0)), "nothing to learn"),
        (lambda: isthmus.fit("plain", toys.X, network="conv", steps=1), "network"),
        (lambda: isthmus.fit(toys.fresh(), toys.X, batch_size=1, steps=1), "more than one row"),
        (lambda: isthmus.fit(linear(), toys.X, k=3), "unknown training option 'k'"),
        (lambda: isthmus.fit(linear(), toys.X[:, :4], steps=1), "the model reads"),
        (
            lambda: isthmus.fit("plain", toys.X, validation_data=toys.X[:, :4], steps=1),
            "the model reads",
        ),
        (lambda: isthmus.fit("plain", "no-such-set"), "no-such-set"),
        (lambda: isthmus.fit("plain", object()), "cannot be read"),
        (lambda: isthmus.save(linear(), "nowhere"), "pass them as X"),
    ],
)
def test_errors_are_one_sentence(call, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        call()
    assert "\n" not in str(problem.value)


def test_few_rows_make_one_batch_where_none_was_asked_for():
    model = isthmus.fit("plain", toys.X[:20], latent_dim=2, steps=3, progress=False)
    assert model.config["training"]["batch_size"] == 20
