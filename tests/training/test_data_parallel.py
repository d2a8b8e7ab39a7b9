"""Data parallel by DDP: equal to one process for a mean over rows, and what else is said."""

import time

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Autoencoder, Code, Signal
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.recipes import get_recipe
from isthmus.training.data_parallel import local_figures
from isthmus.training.finite_check import FiniteCheck
from ranks.troubled import Rows, at, spoil

X = np.random.default_rng(0).normal(size=(240, 10)).astype(np.float32)
OPTIONS = {
    "latent_dim": 3, "hidden": (16,), "steps": 12, "batch_size": 24, "log_every": 6,
    "save_every": 4, "progress": False,
}  # fmt: skip


def test_a_plain_autoencoder_is_that_of_one_process(tmp_path):
    options = {**OPTIONS, "clip": 0.5, "average": 0.9, "accumulate": 2, "validation": 0.1}
    one = isthmus.fit("plain", X, out=tmp_path / "one", **options)
    two = isthmus.fit("plain", X, out=tmp_path / "two", ranks=2, **options)
    again = isthmus.fit("plain", X, out=tmp_path / "again", ranks=2, **options)
    for (name, alone), together, same in zip(
        one.state_dict().items(),
        two.state_dict().values(),
        again.state_dict().values(),
        strict=True,
    ):
        assert torch.allclose(alone, together, atol=1e-5, rtol=1e-4), name
        assert torch.equal(together, same), name
    for ours, theirs in zip(one.history, two.history, strict=True):
        assert ours["step"] == theirs["step"]
        for figure in ("loss", "validation/loss"):
            if figure in ours:
                assert theirs[figure] == pytest.approx(ours[figure], rel=1e-4)
    assert (tmp_path / "two" / "rank-1.log").exists()


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    whole = isthmus.fit("vae", X, out=tmp_path / "whole", ranks=2, **OPTIONS)
    part = tmp_path / "part"
    isthmus.fit("vae", X, out=part, ranks=2, **{**OPTIONS, "steps": 8})
    more = isthmus.resume(part, X, ranks=2, steps=12, progress=False)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, more.state_dict()[name]), name


@pytest.mark.parametrize(
    ("recipe", "options", "sentence"),
    [
        ("bigan", {}, "several players or stages"),
        ("vq-vae", {"latent_dim": 4}, "takes note of the whole batch"),
        ("plain", {"batch_size": 25}, "cannot be cut into 2 equal parts"),
    ],
)
def test_what_cannot_be_cut_by_rows(recipe, options, sentence):
    options = {**OPTIONS, **options}
    if recipe != "plain":
        options = {n: v for n, v in options.items() if n in ("steps", "batch_size", "progress")}
    with pytest.raises(IsthmusError, match=sentence):
        isthmus.fit(recipe, X, ranks=2, **options)


@pytest.mark.parametrize("recipe", ["vae", "simsiam"])  # one draws, one has batch normalisation
@pytest.mark.parametrize("rank", [0, 1])
def test_on_an_accelerator_the_rank_with_bad_rows_says_which(tmp_path, monkeypatch, recipe, rank):
    begun = FiniteCheck.__init__

    def as_on_a_device(self, *args, **about):
        begun(self, *args, **about)
        self.every = 4

    monkeypatch.setattr(FiniteCheck, "__init__", as_on_a_device)
    began = time.monotonic()
    with pytest.raises(IsthmusError) as raised:
        isthmus.fit(
            recipe, Rows(at(rank, 5, spoil)), out=tmp_path / "run", ranks=2, batch_size=48,
            steps=12, progress=False,
        )  # fmt: skip
    assert time.monotonic() - began < 30
    text = str(raised.value)
    assert "became NaN or infinite at step 5" in text
    assert "the data hold NaN or infinity in row" in text


def _built(recipe):
    page = get_recipe(recipe)
    return page.build(Signal("vector", (10,)), page.parse({})[0])


def test_what_is_estimated_over_a_batch_is_named():
    assert local_figures(_built("plain")) == []
    assert any("the term" in name for name in local_figures(_built("swae")))


class _Mean(torch.nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h)


def test_a_model_of_ones_own_is_trained_in_place():
    signal = Signal("vector", (10,))
    torch.manual_seed(0)
    model = Autoencoder(
        signal,
        encoder=torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.BatchNorm1d(4)),
        bottleneck=_Mean(),
        decoder=torch.nn.Linear(4, 10),
        objective=MSE(),
    )
    assert local_figures(model) == ["batch normalisation"]
    before = model.decoder.weight.detach().clone()
    fitted = isthmus.fit(model, X, ranks=2, steps=4, batch_size=24, progress=False)
    assert fitted is model
    assert not torch.equal(before, model.decoder.weight)
