"""The two-stage VAE against closed forms and a loop written by hand; samples; resume; verbs."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
import zoo
from commands import command
from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.evaluation import frechet_distance
from isthmus.evaluation.sample_quality import density_and_coverage, precision_and_recall
from isthmus.recipes import get_recipe
from isthmus.training import Batches, Callback, journal, read_checkpoint
from isthmus.training.seeding import mix

NAME = "two-stage-vae"
QUICK = {"device": "cpu", "progress": False, "scaling": "none", "lr_schedule": "constant"}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "synced", lambda path: None)


def circle(n, seed):
    """One intrinsic dimension in ten, closed: no code of four latents on it is normal."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    curve = [np.cos(angle), np.sin(angle), np.sin(2 * angle), np.cos(3 * angle), np.cos(2 * angle)]
    basis = np.random.default_rng(7).normal(size=(5, 10)) / 2
    return (np.stack(curve, 1) @ basis).astype(np.float32)


# --- closed forms, for data that are Gaussian --------------------------------------------------


def linear_data(n=4000):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 2)) @ (rng.normal(size=(2, 5)) * 1.5) + 0.4 * rng.normal(size=(n, 5))
    return (x - x.mean(0)).astype(np.float32)


def test_gamma_is_that_of_probabilistic_pca_and_the_codes_are_normal():
    """A linear VAE ends where PPCA does: gamma^2 is the mean of the eigenvalues left out, and
    the aggregated posterior is N(0, I) (Tipping & Bishop 1999; Dai et al. 2018)."""
    x = linear_data()
    options = {"steps": 3000, "batch_size": 500, "lr": 0.05, "lr_schedule": "cosine"}
    model = isthmus.fit(
        NAME, x, latent_dim=2, hidden=(), second_hidden=(), second_share=0.01,
        **{**QUICK, **options},
    )  # fmt: skip
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    assert math.exp(2 * model.likelihood.log_sigma.item()) == pytest.approx(
        values[:3].mean(), rel=0.01
    )
    code = model.encode(x, code=True)
    mean = code.mean.double().numpy()
    aggregated = np.cov(mean.T, bias=True) + np.diag(code.logvar.double().exp().mean(0).numpy())
    assert np.abs(aggregated - np.eye(2)).max() < 0.03
    assert np.abs(mean.mean(0)).max() < 0.01


class Skewed(nn.Module):
    """A first encoder whose aggregated posterior is Gaussian, and far from N(0, I)."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(
            torch.tensor(
                [
                    [0.5, 0.1],
                    [0.0, 1.0],
                    [
                        0.3,
                        0,
                    ],
                    [0, 0.2],
                    [0.1, 0.4],
                ]
            )
        )
        self.shift = nn.Parameter(torch.tensor([0.7, -1.0]))
        self.logvar = nn.Parameter(torch.tensor([-2.0, -1.0]))

    def forward(self, x):
        mean = x @ self.matrix + self.shift
        return torch.cat([mean, self.logvar.expand_as(mean)], 1)


@pytest.mark.parametrize("second", ["vae", "mixture"])
def test_the_second_stage_has_the_moments_of_the_aggregated_posterior(second):
    x, encoder = linear_data(), Skewed()
    encoder.requires_grad_(False)
    options = {"steps": 1500, "batch_size": 500, "lr": 0.02, "lr_schedule": "cosine"}
    model = isthmus.fit(
        NAME, x, latent_dim=2, encoder=encoder, hidden=(), second_hidden=(), second=second,
        components=1, second_share=1000.0, **{**QUICK, **options},
    )  # fmt: skip
    matrix = encoder.matrix.double().numpy()
    wanted = matrix.T @ np.cov(x.T, bias=True) @ matrix + np.diag(np.exp([-2.0, -1.0]))
    assert np.abs(wanted - np.eye(2)).max() > 0.5
    drawn = model.prior.sample(200_000).detach().double().numpy()
    assert drawn.mean(0) == pytest.approx([0.7, -1.0], abs=0.06)
    assert np.abs(np.cov(drawn.T) - wanted).max() < 0.05 * np.abs(wanted).max()
    # the density, where it is known: exactly for the mixture, a bound on average for the VAE
    z = torch.from_numpy(drawn[:20_000]).float()
    normal = torch.distributions.MultivariateNormal(
        torch.tensor([0.7, -1.0]), torch.from_numpy(wanted).float()
    )
    gap = (normal.log_prob(z) - model.prior.log_prob(z)).mean().item()
    assert -0.01 < gap < 0.05


# --- a loop written by hand --------------------------------------------------------------------


def modules():
    torch.manual_seed(11)
    return {
        "encoder": nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 6)),
        "decoder": nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 10)),
    }


def by_hand(x, first, second, state, *, lrs, seed, batch_size):
    """Dai & Wipf's two losses with Adam, in plain PyTorch: encoder and decoder of each stage, the
    logs of gamma and eta, one draw each. ``state`` holds the second networks' weights."""
    own = modules()
    encoder, decoder = own["encoder"], own["decoder"]
    log_gamma = nn.Parameter(torch.zeros(()))
    weights = {name: nn.Parameter(tensor.clone()) for name, tensor in state.items()}
    log_eta = nn.Parameter(torch.zeros(()))
    rows = Batches(ArraySource(x), batch_size, seed)

    def half(name, h):
        t = torch.relu(h @ weights[f"{name}.layers.0.weight"].T + weights[f"{name}.layers.0.bias"])
        t = torch.cat([h, t], 1)
        return t @ weights[f"{name}.out.weight"].T + weights[f"{name}.out.bias"]

    def loss_of(target, h, rebuild, log_sd):
        mean, logvar = h.chunk(2, 1)
        z = mean + torch.randn(mean.shape) * torch.exp(logvar / 2)
        error = (target - rebuild(z)) / log_sd.exp()
        nll = (error**2 / 2 + log_sd + 0.5 * math.log(2 * math.pi)).sum(1)
        kl = ((mean**2 + logvar.exp() - logvar - 1) / 2).sum(1)
        return (nll + kl).mean()

    trained = [*encoder.parameters(), *decoder.parameters(), log_gamma]
    adam = torch.optim.Adam(trained, lr=lrs[0])
    for step in range(first + second):
        torch.manual_seed(mix(seed, 4, step))
        batch = torch.from_numpy(x)[rows.index(step)]
        if step < first:
            loss = loss_of(batch, encoder(batch), decoder, log_gamma)
        else:
            if step == first:
                adam = torch.optim.Adam([*weights.values(), log_eta], lr=lrs[1])
            with torch.no_grad():
                mean, logvar = encoder(batch).chunk(2, 1)
                z = mean + torch.randn(mean.shape) * torch.exp(logvar / 2)
            loss = loss_of(z, half("encoder", z), lambda u: half("decoder", u), log_eta)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return {
        **{f"encoder.{n}": p for n, p in encoder.named_parameters()},
        **{f"decoder.{n}": p for n, p in decoder.named_parameters()},
        "likelihood.log_sigma": log_gamma,
        **{f"prior.{n}": p for n, p in weights.items()},
        "prior.likelihood.log_sigma": log_eta,
    }


class Track(Callback):
    def __init__(self):
        self.states = []

    def on_start(self, run):
        self.on_step(run, 0)

    def on_step(self, run, step):
        self.states.append({n: t.clone() for n, t in run.model.state_dict().items()})


def test_both_stages_are_those_of_a_loop_written_by_hand():
    x, track = circle(60, 0), Track()
    options = {"steps": 12, "batch_size": 20, "lr": 3e-3, "second_lr": 1e-2, "seed": 5}
    model = isthmus.fit(
        NAME, x, latent_dim=3, second_hidden=(7,), callbacks=[track], **modules(),
        **{**QUICK, **options},
    )  # fmt: skip
    start = {n.removeprefix("prior."): t for n, t in track.states[0].items() if "prior." in n}
    networks = {n: t for n, t in start.items() if n.split(".")[0] in ("encoder", "decoder")}
    expected = by_hand(x, 4, 8, networks, lrs=(3e-3, 1e-2), seed=5, batch_size=20)
    found = dict(model.named_parameters())
    assert set(expected) == set(found)
    for name, tensor in expected.items():
        assert (found[name] - tensor).abs().max() <= 1e-6, name
        assert not torch.equal(found[name], track.states[0][name]), name


@pytest.mark.parametrize(
    "options", [{}, {"average": 0.6}, {"optimiser": "adamw", "weight_decay": 0.1}]
)
def test_the_first_stage_is_frozen_to_the_bit(options):
    track = Track()
    model = isthmus.fit(
        NAME, circle(60, 0), latent_dim=3, hidden=(8,), second_hidden=(7,), steps=9, batch_size=20,
        callbacks=[track], **QUICK, **options,
    )  # fmt: skip
    final = model.state_dict()
    at = 4 if "average" in options else 3  # an average takes its place when the stage has ended
    for name, tensor in track.states[at].items():
        assert torch.equal(tensor, final[name]) != name.startswith("prior."), name
    assert all(torch.equal(track.states[0][n], track.states[3][n]) for n in final if "prior" in n)


# --- what it is for ----------------------------------------------------------------------------


@pytest.mark.slow
def test_samples_are_nearer_to_the_data_than_those_of_one_stage():
    x, fresh = circle(2000, 0), circle(1000, 1)
    shared = {**QUICK, "batch_size": 100, "lr": 2e-3, "latent_dim": 4, "hidden": (64,), "seed": 0}
    models = {
        "one": isthmus.fit("vae", x, likelihood="learned-gaussian", steps=1500, **shared),
        "two": isthmus.fit(NAME, x, second_hidden=(64, 64), second_share=1.0, steps=3000, **shared),
        "mixture": isthmus.fit(NAME, x, second="mixture", steps=1500, **shared),
    }
    first = {n: t for n, t in models["one"].state_dict().items() if not n.startswith("prior")}
    figures = {}
    for name, model in models.items():
        drawn = model.sample(1000, seed=1)
        measures = {**density_and_coverage(fresh, drawn), **precision_and_recall(fresh, drawn)}
        figures[name] = {n: r.value for n, r in measures.items()}
        figures[name]["distance"] = frechet_distance(fresh, drawn).value
    for better in ("two", "mixture"):
        # the first stages are one and the same: what differs is what is sampled from
        state = models[better].state_dict()
        assert all(torch.equal(state[n], t) for n, t in first.items() if "objective" not in n)
        assert figures[better]["distance"] < 0.7 * figures["one"]["distance"], figures
        assert figures[better]["precision"] > 1.3 * figures["one"]["precision"], figures
        assert figures[better]["coverage"] > 1.2 * figures["one"]["coverage"], figures
        assert figures[better]["density"] > 1.3 * figures["one"]["density"], figures


def test_a_bound_on_the_likelihood_through_both_stages_is_above_that_of_one():
    """With its own prior, a bound by one draw of u, the model gives the data more."""
    x, fresh = circle(1000, 0), circle(200, 1)
    shared = {**QUICK, "batch_size": 100, "lr": 3e-3, "latent_dim": 3, "hidden": (32,)}
    bounds = {}
    for name, options in {
        "vae": {"likelihood": "learned-gaussian", "steps": 600},
        NAME: {"second_hidden": (32,), "second_share": 1.0, "steps": 1200},
    }.items():
        model = isthmus.fit(name, x, **shared, **options)
        bounds[name] = isthmus.evaluate(model, fresh, samples=64)["importance_bound"]
    assert "the model's own prior" in bounds[NAME].estimator
    assert bounds[NAME].value > bounds["vae"].value


# --- saved, stopped, resumed -------------------------------------------------------------------


class Kill(Callback):
    def __init__(self, at):
        self.at = at

    def on_step(self, run, step):
        if step == self.at:
            raise KeyboardInterrupt


SMALL = {**QUICK, "latent_dim": 3, "hidden": (8,), "second_hidden": (7,), "batch_size": 20}
SETTINGS = {
    "plain": {}, "average": {"average": 0.6}, "one after the other": {"second_share": 1.0},
    "patience": {"validation": 0.25, "validate_every": 1, "patience": 1, "lr": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("at", [1, 3, 4, 8])
@pytest.mark.parametrize("setting", SETTINGS)
def test_killed_and_resumed_it_is_the_same_to_the_bit(tmp_path, setting, at):
    x = circle(80, 0)
    options = {**SMALL, "steps": 9, "save_every": 1, **SETTINGS[setting]}
    whole = isthmus.fit(NAME, x, **options)
    try:
        isthmus.fit(NAME, x, out=tmp_path / "run", callbacks=[Kill(at)], **options)
    except KeyboardInterrupt:
        assert not read_checkpoint(tmp_path / "run").progress["finished"]
    resumed = isthmus.resume(tmp_path / "run", x, progress=False)
    assert zoo.sha(resumed) == zoo.sha(whole)
    assert np.array_equal(resumed.sample(5, seed=2), whole.sample(5, seed=2))


@pytest.mark.parametrize("second", ["vae", "mixture"])
def test_it_loads_in_a_process_of_its_own_and_samples_the_same(tmp_path, second):
    x = circle(80, 0)
    model = isthmus.fit(
        NAME, x, second=second, components=2, steps=9, out=tmp_path / "run", **SMALL
    )
    loaded = isthmus.load(tmp_path / "run")
    assert loaded.stage == (1 if second == "vae" else 0)
    code = (
        "import isthmus, json, sys; m = isthmus.load(sys.argv[1]);"
        "print(json.dumps([m.sample(3, seed=4).tolist(), m.stage]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    drawn, stage = json.loads(told.stdout)
    assert np.array_equal(np.float32(drawn), model.sample(3, seed=4))
    assert stage == loaded.stage
    for one in (model, loaded):
        assert one.encode(x).shape == (80, 3)
        assert one.reconstruct(x).shape == x.shape
        assert np.isfinite(one.score(x)).all()
        assert {"fvu", "importance_bound", "kl"} <= set(isthmus.evaluate(one, x, samples=4))


def test_beside_a_plain_variant_each_ends_as_by_itself(tmp_path):
    x = circle(80, 0)
    shared = {**QUICK, "latent_dim": 3, "hidden": (8,), "batch_size": 20, "validation": 0.25}
    variants = {
        "staged": (NAME, {"second_hidden": (7,), "steps": 9}),
        "stops": (NAME, {"second_hidden": (7,), "steps": 12, "patience": 1, "lr": 0.3}),
        "plain": ("vae", {"steps": 7}),
        "mixture": (NAME, {"second": "mixture", "components": 2, "steps": 5}),
    }
    models = isthmus.fit_many(variants, x, out=tmp_path / "runs", validate_every=1, **shared)
    for name, (recipe, options) in variants.items():
        alone = isthmus.fit(recipe, x, validate_every=1, **shared, **options)
        assert zoo.sha(models[name]) == zoo.sha(alone), name
        assert models[name].stage == alone.stage
    assert models["stops"].history[-1]["step"] < 12


# --- options -----------------------------------------------------------------------------------


def test_the_shares_and_the_rate_are_the_options():
    x = circle(80, 0)
    options = {**SMALL, "steps": 12, "log_every": 1, "lr": 1e-3, "lr_schedule": "two-halvings"}
    model = isthmus.fit(NAME, x, second_lr=1e-2, **options)
    rates = [(r["stage"], r["lr"]) for r in model.history]
    assert rates == [
        *[("first", pytest.approx(1e-3 * f)) for f in (1, 1, 0.5, 0.25)],
        *[("second", pytest.approx(1e-2 * f)) for f in (1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25)],
    ]
    first = {r["stage"]: set(r) for r in model.history}
    assert {"nll", "kl"} <= first["first"]
    assert {"second_nll", "second_kl"} <= first["second"]


def test_published_defaults():
    found, signal = get_recipe(NAME), ArraySource(circle(4, 0)).signal
    options, training = found.parse({})
    assert (training.batch_size, training.lr, training.epochs) == (64, 1e-4, 400 + 800)
    model = found.build(signal, options)
    assert [stage.share for stage in model.stages] == [1.0, 2.0]
    assert model.likelihood.log_sigma.item() == 0.0
    for half, outputs in ((model.prior.encoder, 128), (model.prior.decoder, 64)):
        assert [layer.out_features for layer in half.layers] == [1024] * 3
        assert (half.out.in_features, half.out.out_features) == (64 + 1024, outputs)
    mixture = found.build(signal, found.parse({"second": "mixture"})[0])
    assert tuple(mixture.prior.factors.shape) == (10, 64, 64)
    assert not mixture.stages


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 1}, "steps=1 are fewer than the 2 stages"),
        ({"second": "mixtur"}, "second"),
        ({"second_share": 0.0}, "second_share"),
        ({"second": "mixture", "components": 500}, "a mixture of 500 components cannot be fitted"),
        ({"second_hiden": (3,)}, "did you mean 'second_hidden'"),
    ],
)
def test_bad_input_is_one_sentence(options, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        isthmus.fit(NAME, circle(80, 0), **{**SMALL, "steps": 4, **options})
    assert "\n" not in str(problem.value)


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=circle(80, 0))
    options = "latent_dim=3 hidden=8 second_hidden=7 steps=9 batch_size=20 device=cpu"
    command("fit", NAME, "data.npz", *options.split(), "-o", "run")
    assert "importance_bound" in command("evaluate", "run", "data.npz")
    command("encode", "run", "data.npz", "-o", "codes.npz")
    with np.load("codes.npz") as codes:
        assert codes["mean"].shape == (80, 3)
