"""The control of L0: on simulated plants, at its limits, and through a run that is cut off."""

import copy
import math
import shutil

import numpy as np
import pytest
import torch
from scipy.stats import norm

import isthmus
from isthmus.anatomy import Clock, SparseCode, ThresholdCode
from isthmus.errors import IsthmusError
from isthmus.objectives import Coefficient, Held, L0Control
from isthmus.objectives.l0_control import count_active
from isthmus.training import Callback

WIDTH, SPREAD = 1024, 0.125
X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


class Plant:
    """Latents N(0, spread^2) cut at t, which creeps to where the price wants it, ``lr`` a step.

    A price c wants the cutoff ``spread a log(1 + c / c0)``: a million latents would not respond
    faster than their learning rate lets them.
    """

    def __init__(self, control, start, *, lr, c0, floor=0.0, noise=0.03):
        self.control, self.t, self.lr, self.c0, self.floor = control, start * SPREAD, lr, c0, floor
        self.rng, self.noise = np.random.default_rng(0), noise

    @property
    def l0(self):
        return WIDTH * norm.sf(self.t / SPREAD)

    def step(self):
        seen = self.l0 * math.exp(self.noise * self.rng.normal())
        self.control.rows += 1000
        self.control.active += 1000 * seen
        wanted = SPREAD * (self.floor + math.log1p(float(self.control.coefficient) / self.c0))
        self.t += np.clip(0.05 * (wanted - self.t), -self.lr, self.lr)
        self.t += float(self.control.answer())


def run(target, *, lr=1e-3, first=1.0, steps=1000, start=None, **options):
    control = L0Control(float(target), WIDTH)
    control.begin(first, SPREAD)
    start = norm.isf(target / WIDTH) if start is None else start
    plant = Plant(control, start, lr=lr, c0=1.0, **options)
    found = []
    for _ in range(steps):
        plant.step()
        found.append(plant.l0)
    return control, np.array(found)


@pytest.mark.parametrize("target", [8, 32, 128])
@pytest.mark.parametrize("lr", [1e-5, 1e-3, 1e-2])
@pytest.mark.parametrize("first", [0.2, 30.0])
def test_it_holds_the_target_whatever_the_rate_and_the_first_coefficient(target, lr, first):
    _, found = run(target, lr=lr, first=first)
    assert abs(found[-200:] / target - 1.0).max() < 0.05


@pytest.mark.parametrize("target", [8, 32, 128])
def test_the_coefficient_found_is_the_one_that_wants_the_target(target):
    """Without the help of the shift the plant would rest at the target as well."""
    control, _ = run(target, lr=1e-2, steps=4000, noise=0.01)
    exact = math.exp(norm.isf(target / WIDTH)) - 1.0
    assert float(control.coefficient) == pytest.approx(exact, rel=0.1)


def test_a_start_with_half_of_the_latents_active():
    _, found = run(32, start=0.0)
    assert abs(found[-200:] / 32 - 1.0).max() < 0.05
    assert found.min() > 16  # it did not shoot past the target


def test_a_target_that_the_reconstruction_alone_would_not_reach():
    control, found = run(128, floor=2.0, lr=2e-3, steps=2000)  # at no price 23 latents
    assert float(control.coefficient) == pytest.approx(0.01)
    assert abs(found[-200:] / 128 - 1.0).max() < 0.05


def test_one_step_by_hand():
    control = L0Control(4.0, 16)
    control.begin(0.5, 2.0)
    # 8 + 4 + 2 in three rows, in two parts of unequal size
    control.measure(ThresholdCode(torch.ones(1, 16)[:, :8]))
    control.measure(
        SparseCode(torch.tensor([[1.0] * 4, [-2.0, 3.0, 0.0, 0.0]]), torch.zeros(2, 4).long(), 16)
    )
    assert float(control.coefficient) == pytest.approx(0.5)
    moved = control.answer()
    error = math.log(14 / 3 / 4)
    assert float(moved) == pytest.approx(0.05 * error * 2.0)
    assert float(control.coefficient) == pytest.approx(0.5 * math.exp(0.05 * error))
    assert Held(control)(Clock()) == control.coefficient
    before = float(control.coefficient)
    assert float(control.answer()) == 0.0  # nothing new was measured
    assert float(control.coefficient) == before


def test_limits():
    control = L0Control(4.0, 16)
    control.begin(1.0, 1.0)
    nothing, everything = ThresholdCode(torch.zeros(2, 16)), ThresholdCode(torch.ones(2, 16))
    for code, limit in ((nothing, 1e-2), (everything, 1e4)):
        for _ in range(1000):
            control.measure(code)
            control.answer()
        assert float(control.coefficient) == pytest.approx(limit)
    steps = 0
    while control.coefficient > 1.0:  # no windup: as many steps back as the range has
        control.measure(nothing)
        control.answer()
        steps += 1
    assert steps == pytest.approx(math.log(1e4) / 0.05, abs=2)


def test_a_ramp_falls_to_the_target_over_a_fifth_of_the_run():
    control = L0Control(4.0, 64, 16.0)
    at = [control.target_at(Clock(step, 100, 1, 1)) for step in (0, 10, 20, 99)]
    assert at == pytest.approx([16.0, 8.0, 4.0, 4.0])  # straight in its logarithm
    constant = L0Control(4.0, 64)
    assert [constant.target_at(Clock(step, 100, 1, 1)) for step in (0, 10)] == [4.0, 4.0]


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
def test_a_run_with_a_ramp_starts_dense_and_ends_at_its_target(name):
    model = isthmus.fit(
        name, X, latent_dim=32, l0=3, l0_start=12, steps=200, batch_size=50, lr=1e-3, warmup=0,
        log_every=1, progress=False,
    )  # fmt: skip
    seen = [record["l0"] for record in model.history if "l0" in record]
    assert seen[0] == pytest.approx(12, rel=0.3)
    assert np.mean(seen[-20:]) == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize("start", [3.0, 16.0])
def test_a_ramp_that_rises_or_leaves_the_dictionary_is_an_error(start):
    with pytest.raises(IsthmusError, match=f"l0_start={start:g} is no start for l0=4"):
        L0Control(4.0, 16, start)


@pytest.mark.parametrize("target", [0, -3, 16, 20])
def test_an_impossible_target_is_an_error(target):
    with pytest.raises(IsthmusError, match=f"l0={target} is no target for 16 latents"):
        L0Control(float(target), 16)


def test_values_of_zero_are_not_active():
    z = torch.tensor([[0.0, 1.0, -1.0], [0.0, 0.0, 2.0]])
    assert count_active(ThresholdCode(z)).tolist() == [2, 1]
    assert count_active(SparseCode(z, torch.zeros(2, 3).long(), 9)).tolist() == [2, 1]


def test_a_copy_of_a_model_has_a_control_of_its_own():
    model = isthmus.fit("relu-l1", X, latent_dim=16, l0=4, steps=2, batch_size=20, progress=False)
    copied = copy.deepcopy(model)
    before = model.encoder.bias.detach().clone()
    copied.bottleneck.shift(copied, torch.tensor(1.0))
    assert torch.equal(model.encoder.bias, before)
    torch.testing.assert_close(copied.encoder.bias, before - 1.0)
    held = next(p.weight for p in copied.objective if p.term.name == "l1")
    assert held.control is copied.bottleneck.control


class Keep(Callback):
    def __init__(self, to):
        self.to = to

    def on_save(self, trainer, folder):
        shutil.copytree(folder, self.to / str(trainer.step))


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
def test_a_resumed_run_ends_on_the_same_bits(name, tmp_path):
    settings = {"latent_dim": 16, "l0": 4, "steps": 12, "batch_size": 20, "lr": 1e-2}
    model = isthmus.fit(
        name, X, **settings, accumulate=2, save_every=4, out=tmp_path / "run", progress=False,
        callbacks=[Keep(tmp_path)],
    )  # fmt: skip
    resumed = isthmus.resume(tmp_path / "8", X, progress=False)
    assert model.bottleneck.control.integral != 0
    for (key, value), other in zip(
        model.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), key


def test_only_training_is_measured_and_the_log_shows_it():
    model = isthmus.fit(
        "gated", X, latent_dim=16, l0=4, steps=3, batch_size=20, log_every=1, progress=False
    )
    control = model.bottleneck.control
    before = {n: t.clone() for n, t in control.state_dict().items()}
    model.encode(X)
    model(torch.from_numpy(X))  # in evaluation mode
    assert all(torch.equal(before[n], t) for n, t in control.state_dict().items())
    last = model.history[-1]
    assert last["l0"] > 0
    # the log shows the price that the step paid, which was found before it
    error = math.log(last["l0"] / 4)
    assert float(control.coefficient) == pytest.approx(last["coefficient"] * math.exp(0.05 * error))
    assert Coefficient()(model, model(torch.from_numpy(X[:3]))).tolist() == pytest.approx(
        [float(control.coefficient)] * 3
    )
