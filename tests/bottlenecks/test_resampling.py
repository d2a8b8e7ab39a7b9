"""Resampling: when, what becomes of weights and optimiser, and what it is for."""

import shutil

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Batch, Clock, Step
from isthmus.bottlenecks import Resampling
from isthmus.bottlenecks.resampling import LENGTH, is_due
from isthmus.training import Callback

X = np.random.default_rng(0).normal(1.0, 2.0, (400, 10)).astype(np.float32)
RECIPES = {
    "relu-l1": {}, "relu-l1 tied": {"tied": True}, "gated": {}, "jumprelu": {}, "topk": {"k": 3},
    "batchtopk": {"k": 3}, "llama-scope": {"k": 3}, "abstopk": {"k": 3}, "matryoshka": {"k": 3},
}  # fmt: skip


def fitted(name, **options):
    settings = {"latent_dim": 32, "steps": 4, "batch_size": 50, "warmup": 0, **options}
    return isthmus.fit(
        name.split()[0], X, revive="resample", progress=False, **RECIPES[name], **settings
    )


def test_it_is_due_four_times_over_the_first_half():
    due = [step + 1 for step in range(80) if is_due(Clock(step, 80, 1, 1))]
    assert due == [10, 20, 30, 40]


@pytest.mark.parametrize("name", RECIPES)
def test_dead_latents_start_anew_and_the_living_stay(name):
    model = fitted(name)
    assert isinstance(model.parts["resampling"], Resampling)
    dead = torch.arange(32) < 5
    model.bottleneck.counter.silent_rows[:] = torch.where(dead, 10_000_000, 0)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights)
    for weight in weights:
        optimiser.state[weight] = {"step": torch.tensor(9.0), "exp_avg": torch.ones_like(weight)}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    clock = Clock(9, 80, 50, 400)
    torch.manual_seed(0)
    batch = Batch(torch.from_numpy(X[:200]))
    model.parts["resampling"].after_update(
        model=model, step=Step(clock, batch=batch), optimiser=optimiser
    )
    for key, value in model.named_parameters():
        if value.shape[:1] == (32,):
            assert torch.equal(value[~dead], before[key][~dead]), key
            assert not optimiser.state[value]["exp_avg"][dead].any(), key
            assert optimiser.state[value]["exp_avg"][~dead].all(), key
    encoder, decoder = model.encoder, model.decoder
    centred = model.scaled(batch) - decoder.bias
    cosine = torch.nn.functional.normalize(centred, dim=1) @ decoder.weight[dead].T
    atoms = decoder.weight.norm(dim=1)
    best = cosine.max(0).values / atoms[dead]
    torch.testing.assert_close(best, torch.ones(5))  # each atom is a row
    if encoder.weight is not decoder.weight:
        mean = before["encoder.weight"][~dead].norm(dim=1).mean()
        got = encoder.weight[dead].norm(dim=1)
        torch.testing.assert_close(got, (LENGTH * mean).expand(5))
    if model.config["recipe"] != "llama-scope":
        assert not encoder.bias[dead].any()
    assert not model.bottleneck.counter.silent_rows.any()
    if name.split()[0] in ("relu-l1", "gated", "jumprelu"):  # each fires on its own row
        on = model.encode(X[:200])[:, :5] != 0
        assert on.any(0).all()


def test_rows_that_are_rebuilt_badly_are_drawn():
    model = fitted("relu-l1")
    x = torch.from_numpy(X[:100].copy())
    x[7] = 40.0 * torch.randn(10, generator=torch.Generator().manual_seed(0))
    model.bottleneck.counter.silent_rows[:5] = 10_000_000
    model.parts["resampling"].after_update(
        model=model, step=Step(Clock(9, 80, 50, 400), batch=Batch(x)),
        optimiser=torch.optim.SGD(model.parameters()),
    )  # fmt: skip
    row = model.scaled(Batch(x))[7] - model.decoder.bias
    cosine = torch.cosine_similarity(model.decoder.weight[:5], row[None], dim=1)
    torch.testing.assert_close(cosine, torch.ones(5))


class Keep(Callback):
    def __init__(self, to):
        self.to = to

    def on_save(self, trainer, folder):
        shutil.copytree(folder, self.to / str(trainer.step))


def test_a_run_with_it_has_fewer_dead_latents_and_resumes_on_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(4000, 48)) * (rng.random((4000, 48)) < 0.06)
    rows = (codes @ rng.normal(size=(48, 16))).astype(np.float32)
    settings = {
        "latent_dim": 96, "l0": 3, "steps": 240, "batch_size": 100, "lr": 3e-2, "warmup": 0,
        "dead_after": 500, "progress": False,
    }  # fmt: skip
    plain = isthmus.fit("relu-l1", rows, **settings)
    helped = isthmus.fit(
        "relu-l1", rows, revive="resample", out=tmp_path / "run", save_every=50,
        callbacks=[Keep(tmp_path)], **settings,
    )  # fmt: skip
    dead = [isthmus.evaluate(m, rows)["dead_share"].value for m in (plain, helped)]
    assert dead[0] > 0.1
    assert dead[1] < 0.7 * dead[0]
    resumed = isthmus.resume(tmp_path / "50", rows, progress=False)  # resampled at 30, 60, ...
    for key, value in helped.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
