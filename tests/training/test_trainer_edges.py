"""What goes wrong at the edges of a run: its last step, its validation rows, its second run."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Code, Part, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.data import as_source
from isthmus.objectives import MSE
from isthmus.training import Callback, Interrupted, Trainer, TrainingOptions
from isthmus.training.checkpoint import METRICS, read_checkpoint
from isthmus.training.non_finite_loss import NonFiniteLoss

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


class Hinge(Term):
    """A critic's term, so that there are two players."""

    name, unit = "hinge", "score"
    player = "critic"

    def forward(self, model, out):
        return model.critics["critic"](out.need_recon()).square().flatten()


def model_of(objective=None, **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal.infer(X), encoder=nn.Linear(4, 2), bottleneck=Identity(), decoder=nn.Linear(2, 4),
        objective=objective or MSE(), **parts,
    )  # fmt: skip


def trainer_of(model, steps=4, validation=None, folder=None, callbacks=(), **options):
    chosen = TrainingOptions(steps=steps, batch_size=10, log_every=1, **options)
    held = None if validation is None else as_source(validation)
    return Trainer(
        model, as_source(X), chosen, validation=held, folder=folder, callbacks=callbacks,
        progress=False,
    )  # fmt: skip


class Press(Callback):
    """Ctrl-C at a step."""

    def __init__(self, at):
        self.at, self.ended = at, 0

    def on_step(self, trainer, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def on_end(self, trainer):
        self.ended += 1


def test_every_validation_row_counts():
    rows = np.concatenate([X[:22], np.full((1, 4), 1000.0, np.float32)])
    model = model_of()
    record = trainer_of(model, steps=1, validation=rows).run().history[-1]
    with torch.no_grad():
        recon = model.reconstruct(torch.tensor(rows))
    assert record["validation/loss"] == pytest.approx(
        float(((recon - torch.tensor(rows)) ** 2).mean()), rel=1e-4
    )


def test_a_validation_loss_that_is_not_finite_stops_the_run():
    rows = X[:12].copy()
    rows[3] = 1e30
    with pytest.raises(NonFiniteLoss, match="mse"):
        trainer_of(model_of(), steps=2, validation=rows, validate_every=1).run()


def test_interrupted_and_run_again_goes_on():
    press = Press(at=2)
    trainer = trainer_of(model_of(), steps=5, callbacks=[press])
    with pytest.raises(Interrupted, match="step 2 of 5"):
        trainer.run()
    assert press.ended == 1
    assert not trainer.model.training
    press.at = -1
    trainer.run()
    assert trainer.step == 5


def test_ctrl_c_in_the_last_step_is_too_late(tmp_path):
    model = trainer_of(model_of(), folder=tmp_path / "r", callbacks=[Press(at=4)]).run()
    assert model.history[-1]["step"] == 4
    assert read_checkpoint(tmp_path / "r").progress["finished"]


def test_the_models_loss_is_called_loss_whoever_steps_first():
    critic = nn.Linear(4, 1)
    model = model_of(Hinge() + MSE(), critics={"critic": critic})
    assert model.objective.players == ["critic", "model"]
    record = trainer_of(model).run().history[-1]
    assert record["loss"] == record["mse"]
    assert record["critic/loss"] == record["critic/hinge"]


def test_hooks_run_once_a_step_for_the_player_they_belong_to():
    calls = []

    class Told(nn.Linear, Part):
        def __init__(self, name, *sizes):
            super().__init__(*sizes)
            self.called = name

        def after_update(self):
            calls.append(self.called)

    model = model_of(Hinge() + MSE(), critics={"critic": Told("critic", 4, 1)})
    model.encoder = Told("encoder", 4, 2)
    trainer_of(model, steps=3).run()
    assert calls == ["critic", "encoder"] * 3


def test_a_torn_last_line_of_the_log_does_not_stop_a_resume(tmp_path):
    class Stop(Callback):
        def on_step(self, trainer, step):
            if step == 3:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        trainer_of(model_of(), folder=tmp_path / "r", callbacks=[Stop()], save_every=2).run()
    log = tmp_path / "r" / METRICS
    log.write_bytes(log.read_bytes()[:-20] + b"\0" * 20)
    trainer = trainer_of(model_of(), folder=tmp_path / "r")
    trainer.restore(read_checkpoint(tmp_path / "r", state=True))
    trainer.run()
    whole = trainer_of(model_of())
    whole.run()
    for a, b in zip(trainer.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_record_is_json(tmp_path):
    trainer_of(model_of(), folder=tmp_path / "r", validation=X[:5]).run()
    for line in (tmp_path / "r" / METRICS).read_text().splitlines():
        assert all(math.isfinite(v) for v in json.loads(line).values())


def test_a_bottleneck_sees_sample_in_training_only():
    seen = []

    class Spy(nn.Module):
        def forward(self, h, *, sample=False):
            seen.append(sample)
            return Code(h)

    model = model_of()
    model.bottleneck = Spy()
    trainer_of(model, steps=1).run()
    assert seen == [True]
    model.encode(X)
    assert seen == [True, False]
