"""What is wrong with a fitted model is said in one line; healthy runs say nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus
from isthmus.training.diagnostics import LEAST_STEPS

RNG = np.random.default_rng(0)
QUICK = {"batch_size": 64, "progress": False}


def rank(rows=400, width=8, k=2, seed=0):
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(rows, k)) @ rng.normal(size=(k, width))
    return (low + 0.05 * rng.normal(size=(rows, width))).astype(np.float32)


X = rank()


def found(recipe, data=X, **options):
    model = isthmus.fit(recipe, data, **{**QUICK, "steps": 120, **options})
    words = ("collapse", "dead", "constant", "nothing was learnt", "never fell")
    return [note for note in model.config["notes"] if any(word in note for word in words)]


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_posterior_collapse(sigma):
    """Where the decoder is given so much noise that nothing need be told."""
    said = found("vae", sigma=sigma, latent_dim=4, hidden=(8,), lr=1e-2, steps=300)
    assert any("posterior collapse: 4 of 4 latents" in note for note in said)


@pytest.mark.parametrize("latents", [6, 12])
def test_collapse_counts_what_is_idle(latents):
    said = found("vae", latent_dim=latents, hidden=(16,), lr=1e-2, steps=400)
    assert any(f"of {latents} latents carry nothing" in note for note in said)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_constant_outputs(seed):
    """A decoder whose weights decay to nothing rebuilds the mean, whatever the row."""
    options = {"latent_dim": 2, "hidden": (8,), "optimiser": "adamw", "weight_decay": 50.0}
    said = found("plain", rank(seed=seed), lr=1e-2, steps=300, **options)
    assert said
    assert "constant" in said[-1] or "nothing was learnt" in said[-1]


@pytest.mark.parametrize("lr", [1e-9, 1e-7])
def test_nothing_learnt(lr):
    said = found("plain", latent_dim=2, hidden=(8,), lr=lr)
    assert [note for note in said if "nothing was learnt" in note or "constant" in note]


@pytest.mark.parametrize("width", [64, 128])
def test_dead_latents(width):
    """Far more latents than ways in which rows differ, at a rate that revives none."""
    said = found("topk", latent_dim=width, k=1, lr=1e-12, steps=130, batch_size=128)
    assert any(f"of {width} latents are dead" in note for note in said)


@pytest.mark.parametrize("data", [X, np.ones((200, 5), np.float32), X[:3]])
def test_a_short_run_is_not_judged(data):
    assert found("vae", data, latent_dim=6, steps=LEAST_STEPS - 1, batch_size=2) == []


@settings(max_examples=8)
@given(
    recipe=st.sampled_from(["plain", "vae", "denoising"]),
    k=st.integers(2, 4),
    seed=st.integers(0, 50),
    shift=st.sampled_from([0.0, 100.0]),
)
def test_healthy_runs_say_nothing(recipe, k, seed, shift):
    data = 3 * rank(width=10, k=k, seed=seed) + np.float32(shift)
    assert found(recipe, data, latent_dim=k, hidden=(24,), lr=1e-2, steps=300, seed=seed) == []


def test_looking_changes_no_bit_and_no_mode(monkeypatch):
    options = {"latent_dim": 2, "steps": 60, **QUICK}
    looked = isthmus.fit("vae", X, **options)
    monkeypatch.setattr("isthmus.training.diagnostics.look", lambda run: None)
    plain = isthmus.fit("vae", X, **options)
    assert all(torch.equal(t, plain.state_dict()[n]) for n, t in looked.state_dict().items())
    assert not looked.training


@pytest.mark.parametrize("recipe", ["jumprelu", "beta-vae", "plain"])
def test_an_absurd_plan_is_said_before_it_starts(recipe, monkeypatch):
    class Began(Exception):
        pass

    def begin(run):
        heard.extend(run.config["notes"])
        raise Began

    heard = []
    monkeypatch.setattr("isthmus.training.run.Run.build", begin)
    with pytest.raises(Began):
        isthmus.fit(recipe, X, latent_dim=16, progress=False)
    plans = [note for note in heard if "are planned" in note]
    for note in plans:
        assert "passes over the 400 rows" in note
        assert "epochs=20" in note
    heard.clear()
    with pytest.raises(Began):
        isthmus.fit(recipe, X, latent_dim=16, progress=False, steps=100_000)
    assert not any("are planned" in note for note in heard), "it was asked for"


def test_the_plan_of_a_sparse_dictionary_on_few_rows_is_absurd(monkeypatch):
    from toys import SOURCE, fresh

    from isthmus.training import TrainingOptions
    from isthmus.training import diagnostics as findings
    from isthmus.training.run import Run

    said = []
    monkeypatch.setattr(findings.notices, "say", said.append)
    findings.check_plan(Run(fresh(), SOURCE, TrainingOptions(steps=100_000, batch_size=160)))
    assert said[0].startswith("100,000 steps of 160 rows are planned, 100,000 passes over the 160")
    findings.check_plan(Run(fresh(), SOURCE, TrainingOptions(epochs=100, batch_size=16)))
    assert len(said) == 1


def test_a_resumed_run_has_the_threads_that_it_began_with(tmp_path):
    from isthmus.training import Callback

    class Stop(Callback):
        def on_step(self, run, step):
            if step == 4:
                raise KeyboardInterrupt

    class Count(Callback):
        def on_step(self, run, step):
            self.threads = torch.get_num_threads()

    own = torch.get_num_threads()
    count = Count()
    torch.set_num_threads(own + 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            isthmus.fit("plain", X, out=tmp_path / "m", steps=8, callbacks=[Stop()], **QUICK)
    finally:
        torch.set_num_threads(own)
    model = isthmus.resume(tmp_path / "m", X, callbacks=[count], progress=False)
    assert count.threads == own + 1 == model.config["threads"]
    assert torch.get_num_threads() == own
    assert any(f"began with {own + 1} threads" in note for note in model.config["notes"])
