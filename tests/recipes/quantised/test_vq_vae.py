"""VQ-VAE: its objective, its training by hand, its grids, and what it is for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score
from torch import nn

import isthmus
from commands import command
from isthmus.anatomy import (
    Autoencoder,
    Bernoulli,
    DiscreteCode,
    Prior,
    Signal,
    Stage,
    Term,
    as_objective,
)
from isthmus.bottlenecks import VectorQuantiser
from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE, Commit
from isthmus.recipes import get_recipe
from isthmus.recipes.quantised.vq_vae import RelativeError
from isthmus.testing import recipe_checks
from isthmus.testing.small import IMAGES
from isthmus.training import Batches, Callback, Trainer, TrainingOptions

RECIPE = get_recipe("vq-vae")
RNG = np.random.default_rng(0)
CENTRES = 3.0 * RNG.normal(size=(12, 10))
KINDS = RNG.integers(12, size=600)
CLUSTERS = (CENTRES[KINDS] + 0.2 * RNG.normal(size=(600, 10))).astype(np.float32)
DIGITS = (load_digits().images[:, None] / 16.0).astype(np.float32)
QUICK = {"progress": False, "lr": 2e-3, "latent_dim": 4, "hidden": (32,), "entries": 24}
SMALL = {"latent_dim": 4, "entries": 16, "channels": 16, "halvings": 1}


def build(signal, **options):
    return RECIPE.build(signal, RECIPE.parse(options)[0])


@pytest.fixture(scope="module")
def clusters():
    return isthmus.fit("vq-vae", CLUSTERS, steps=500, seed=1, log_every=10, **QUICK)


@pytest.fixture(scope="module")
def digits():
    return isthmus.fit("vq-vae", DIGITS, steps=400, lr=2e-3, batch_size=64, progress=False, **SMALL)


# --- the objective and its training -----------------------------------------------------------


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_the_objective_is_the_published_one(codebook):
    model = build(
        Signal("vector", (10,)), codebook=codebook, commitment=0.7, latent_dim=4, entries=5,
        hidden=(6,), positions=3, scaling="none",
    )  # fmt: skip
    x = torch.from_numpy(CLUSTERS[:50])
    model.prepare(x)
    out = model(x)
    z, e = out.code.continuous, out.code.quantised
    x, recon = x.double().numpy(), out.recon.detach().double().numpy()
    gap = ((z - e).detach().double().numpy() ** 2).mean()
    expected = ((x - recon) ** 2).mean() / x.var() + 0.7 * gap
    expected += gap if codebook == "gradient" else 0.0
    total = model.objective(model, out).total
    assert total.item() == pytest.approx(expected, rel=1e-5)
    total.backward()
    learnt = model.bottleneck.values.grad is not None
    assert learnt == (codebook == "gradient")


def test_other_likelihoods_enter_per_element():
    model = build(
        Signal("image", (1, 8, 8), low=0.0, high=1.0), likelihood="bernoulli", commitment=0.5,
        **SMALL,
    )  # fmt: skip
    assert isinstance(model.likelihood, Bernoulli)
    x = torch.from_numpy(DIGITS[:20])
    out = model(x)
    logits, x = out.params.detach().double(), x.double()
    cross = -(x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()).mean()
    gap = (out.code.continuous - out.code.quantised).detach().double().square().mean()
    total = model.objective(model, out).total.item()
    assert total == pytest.approx((cross + 0.5 * gap).item(), rel=1e-5)


def test_several_numbers_for_each_pixel():
    model = isthmus.fit(
        "vq-vae", DIGITS[:64], likelihood="learned-gaussian", steps=3, batch_size=32,
        progress=False, **SMALL,
    )  # fmt: skip
    assert model.reconstruct(DIGITS[:5]).shape == (5, 1, 8, 8)


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_training_is_a_loop_written_by_hand(codebook):
    """Straight-through gradients, Adam and averages, all spelt out; the same weights after."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(10, 6), nn.Linear(6, 10)
    entries = 0.3 * torch.randn(8, 3)
    ours = build(
        Signal("vector", (10,)), codebook=codebook, decay=0.9, latent_dim=3, positions=2,
        entries=8, start="uniform", restart=False, scaling="none", encoder=encoder, decoder=decoder,
    )  # fmt: skip
    with torch.no_grad():
        ours.bottleneck.values.copy_(entries)
    source = ArraySource(CLUSTERS[:96])
    names = ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    start = [dict(ours.named_parameters())[n].detach().double() for n in names]
    options = TrainingOptions(steps=9, batch_size=32, lr=1e-2, seed=4, device="cpu")
    trained = Trainer(ours, source, options, progress=False).run()

    w, b, v, c = (p.clone().requires_grad_() for p in start)
    book = entries.double().requires_grad_(codebook == "gradient")
    learnt = [w, b, v, c, *([book] if codebook == "gradient" else [])]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in learnt]
    uses, sums = torch.ones(8).double(), entries.double()
    variance = CLUSTERS[:96].astype(np.float64).var()
    batches = Batches(source, 32, 4)
    for step in range(9):
        x = batches[step].x.double()
        h = (x @ w.T + b).view(64, 3)
        nearest = ((h[:, None] - book) ** 2).sum(2).argmin(1)
        e = book[nearest]
        z = h + (e - h).detach()
        rebuilt = z.view(32, 6) @ v.T + c
        loss = ((x - rebuilt) ** 2).mean() / variance + 0.25 * ((h - e.detach()) ** 2).mean()
        if codebook == "gradient":
            loss = loss + ((h.detach() - e) ** 2).mean()
        for i, grad in enumerate(torch.autograd.grad(loss, learnt)):
            m, s = (0.9 * moments[i][0] + 0.1 * grad, 0.999 * moments[i][1] + 0.001 * grad**2)
            moments[i] = (m, s)
            m, s = m / (1 - 0.9 ** (step + 1)), s / (1 - 0.999 ** (step + 1))
            learnt[i].data -= 1e-2 * m / (s.sqrt() + 1e-8)
        if codebook == "average":
            choice = nn.functional.one_hot(nearest, 8).double()
            uses = 0.9 * uses + 0.1 * choice.sum(0)
            sums = 0.9 * sums + 0.1 * choice.T @ h.detach()
            book = sums / uses[:, None]
    ends = dict(trained.named_parameters())
    for name, expected in zip(names, (w, b, v, c), strict=True):
        np.testing.assert_allclose(ends[name].detach(), expected.detach(), atol=2e-5)
    np.testing.assert_allclose(trained.bottleneck.values.detach(), book.detach(), atol=2e-5)


# --- what it is for ---------------------------------------------------------------------------


def test_clusters_become_entries(clusters):
    code = clusters.encode(CLUSTERS, code=True)
    assert isinstance(code, DiscreteCode)
    assert adjusted_mutual_info_score(KINDS, code.indices[:, 0]) > 0.75
    found = isthmus.evaluate(clusters, CLUSTERS)
    assert found["fvu"].value < 0.03
    assert found["perplexity"].value > 9.0
    assert found["codebook_use"].value > 0.5
    used = [record["perplexity"] for record in clusters.history]
    assert 8.0 < used[-1] <= 24.0


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_restarts_bring_unused_entries_into_use(codebook):
    """From a start where all entries but a few lie nowhere near the encodings."""
    use = {}
    for restart in (False, True):
        model = isthmus.fit(
            "vq-vae", CLUSTERS, steps=300, start="uniform", restart=restart, codebook=codebook,
            dead_after=500, seed=2, **QUICK,
        )  # fmt: skip
        use[restart] = isthmus.evaluate(model, CLUSTERS)
    assert use[True]["codebook_use"].value > use[False]["codebook_use"].value + 0.2
    assert use[True]["fvu"].value < use[False]["fvu"].value


def test_images_become_grids_of_entries(digits):
    code = digits.encode(DIGITS, code=True)
    assert code.indices.shape == (len(DIGITS), 16)
    assert code.z.shape == (len(DIGITS), 64)
    values = digits.bottleneck.values
    assert torch.equal(code.z, values[code.indices].flatten(1))
    found = isthmus.evaluate(digits, DIGITS)
    assert found["fvu"].value < 0.45
    assert found["codebook_use"].value == 1.0
    # A change in one corner of the image changes the codes there more than in the far one.
    other = DIGITS.copy()
    other[:, :, 0, 0] = 1.0 - other[:, :, 0, 0]
    moved = (digits.encode(other, code=True).indices != code.indices).float().mean(0)
    assert float(moved[0]) > 0.1
    assert float(moved[15]) < 0.3 * float(moved[0])


def test_samples_are_decoded_from_entries_drawn_uniformly(digits):
    drawn = digits.prior.sample(50)
    entries = {tuple(v) for v in digits.bottleneck.values.tolist()}
    assert {tuple(v) for v in drawn.reshape(-1, 4).tolist()} <= entries
    samples = digits.sample(20, seed=3)
    assert samples.shape == (20, 1, 8, 8)
    assert np.array_equal(samples, digits.sample(20, seed=3))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        z = digits.bottleneck.draw(20)
    np.testing.assert_allclose(digits.decode(z), samples, atol=1e-6)


def test_codes_are_decoded_as_they_are_rebuilt(digits):
    code = digits.encode(DIGITS[:9], code=True)
    rebuilt = digits.reconstruct(DIGITS[:9])
    np.testing.assert_allclose(digits.decode(code), rebuilt, atol=1e-6)
    np.testing.assert_allclose(digits.decode(digits.encode(DIGITS[:9])), rebuilt, atol=1e-6)
    again = digits.bottleneck.indices_to_codes(code.indices)
    assert torch.equal(again, code.z)
    scores = digits.score(DIGITS[:9])
    np.testing.assert_allclose(scores, -((rebuilt - DIGITS[:9]) ** 2).mean((1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize(
    "check",
    [
        *recipe_checks("vq-vae", IMAGES, {"channels": 8}),
        *recipe_checks("vq-vae", options={"codebook": "gradient", "positions": 3}),
    ],
    ids=str,
)
def test_contracts_of_grids_and_of_trained_codebooks(check):
    check()


# --- positions and networks -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "options", "positions"),
    [
        ((1, 28, 28), {}, 49),
        ((3, 32, 32), {"halvings": 3}, 16),
        ((3, 9, 15), {"halvings": 1}, 28),
        ((3, 9, 15), {"network": "mlp", "hidden": (8,)}, 1),
        ((1, 28, 28), {"network": "mlp", "positions": 5, "hidden": (8,)}, 5),
        ((1, 28, 28), {"positions": 49}, 49),
    ],
)
def test_positions_of_images(shape, options, positions):
    chosen = {"latent_dim": 3, "entries": 4, "channels": 4, **options}
    model = build(Signal("image", shape), **chosen)
    out = model(torch.rand(2, *shape))
    assert out.code.indices.shape == (2, positions)
    assert out.recon.shape == (2, *shape)


def test_networks_of_ones_own():
    own = {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 6))}
    with pytest.raises(IsthmusError, match="positions=2 is not the convolutional network's grid"):
        build(Signal("image", (1, 8, 8)), positions=2, latent_dim=3, **own)
    own["decoder"] = nn.Sequential(nn.Linear(6, 64), nn.Unflatten(1, (1, 8, 8)))
    model = build(Signal("image", (1, 8, 8)), positions=2, latent_dim=3, **own)
    assert model(torch.rand(3, 1, 8, 8)).code.indices.shape == (3, 2)
    narrow = build(Signal("image", (1, 8, 8)), positions=3, latent_dim=3, **own)
    with pytest.raises(IsthmusError, match="6 numbers a row, and 3 positions of latent_dim=3 are"):
        narrow(torch.rand(3, 1, 8, 8))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"entries": 1}, "entries"),
        ({"decay": 1.0}, "decay"),
        ({"codebook": "ema"}, "codebook"),
        ({"commitment": -0.1}, "commitment"),
        ({"start": "random"}, "start"),
        ({"entrys": 3}, "did you mean 'entries'"),
    ],
)
def test_what_cannot_be(options, sentence):
    with pytest.raises(IsthmusError, match=sentence):
        isthmus.fit("vq-vae", CLUSTERS, steps=2, progress=False, **options)


def test_constant_data_are_a_sentence():
    with pytest.raises(IsthmusError, match="all values of the data are the same"):
        isthmus.fit("vq-vae", np.ones((64, 3), np.float32), steps=2, batch_size=8, progress=False)


def test_the_error_is_counted_in_variances():
    model = build(Signal("vector", (10,)), latent_dim=2, entries=3, hidden=(4,), scaling="none")
    x = torch.from_numpy(CLUSTERS)
    model.prepare(x)
    term = next(part.term for part in model.objective if isinstance(part.term, RelativeError))
    out = model(x)
    out.params = torch.full_like(x, float(x.mean()))
    assert float(term(model, out).mean()) == pytest.approx(1.0, rel=1e-5)


# --- runs -------------------------------------------------------------------------------------


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, step):
        if step == self.step:
            raise RuntimeError("the power is cut")


RUN = {"steps": 40, "batch_size": 32, "dead_after": 200, "accumulate": 2, "save_every": 5, **QUICK}


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, codebook):
    """With restarts on the way, whose draws must be those of the step."""
    options = {**RUN, "codebook": codebook, "start": "uniform"}
    whole = isthmus.fit("vq-vae", CLUSTERS, **options)
    with pytest.raises(RuntimeError, match="power"):
        isthmus.fit("vq-vae", CLUSTERS, out=tmp_path / "run", callbacks=[StopAt(23)], **options)
    resumed = isthmus.resume(tmp_path / "run", CLUSTERS, progress=False)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert whole.bottleneck.unused_rows.max() < 200


def test_several_at_once_are_each_by_itself():
    models = isthmus.fit_many(
        {"average": ("vq-vae", {}), "gradient": ("vq-vae", {"codebook": "gradient"})},
        CLUSTERS, **{k: v for k, v in RUN.items() if k != "save_every"},
    )  # fmt: skip
    for codebook, model in models.items():
        alone = isthmus.fit("vq-vae", CLUSTERS, codebook=codebook, **RUN)
        for name, tensor in alone.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name]), name


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("digits.npz", X=DIGITS[:200])
    options = [f"{name}={value}" for name, value in SMALL.items()]
    command("fit", "vq-vae", "digits.npz", *options, "steps=20", "batch_size=32", "-o", "run")
    command("evaluate", "run", "--json", "results.json")
    results = json.loads(Path("results.json").read_text())
    assert 0.0 < results["codebook_use"]["value"] <= 1.0
    assert 1.0 <= results["perplexity"]["value"] <= 16.0
    encode = ["encode", "run", "digits.npz", "-o", "codes.npz"]
    subprocess.run([sys.executable, "-m", "isthmus.cli", *encode], check=True, timeout=120)
    with np.load("codes.npz") as codes:
        stored = {name: codes[name] for name in codes.files}
    assert stored["indices"].shape == (200, 16)
    # Another process encoded what this one trained.
    model = isthmus.load("run")
    code = model.encode(DIGITS[:200], code=True)
    assert np.array_equal(code.indices, stored["indices"])
    assert np.array_equal(code.z, stored["z"])


# --- a prior that is learnt, as a stage of its own ---------------------------------------------


class EntryPrior(Prior):
    """How often each entry is chosen at each position."""

    def __init__(self, quantiser):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(quantiser.positions, quantiser.entries))
        self.codes = quantiser.indices_to_codes

    def sample(self, n):
        drawn = torch.distributions.Categorical(logits=self.logits).sample((n,))
        return self.codes(drawn)


class CodeLength(Term):
    name, unit, rebuilds = "code_length", "nats", False

    def forward(self, model, out):
        logs = model.prior.logits.log_softmax(1)[None].expand(len(out.code), -1, -1)
        return -logs.gather(2, out.code.indices[:, :, None]).sum((1, 2))


def test_a_learnt_prior_is_a_stage_of_its_own():
    """The codebook has no parameters: the first stage names it, and the second lets it rest."""
    torch.manual_seed(0)
    quantiser = VectorQuantiser(16, 3, positions=1)
    model = Autoencoder(
        Signal("vector", (10,)), encoder=nn.Linear(10, 3), bottleneck=quantiser,
        decoder=nn.Linear(3, 10), prior=EntryPrior(quantiser),
        stages=[
            Stage("codes", MSE() + 0.25 * Commit(), ("encoder", "bottleneck", "decoder")),
            Stage("prior", as_objective(CodeLength()), ("prior",)),
        ],
    )  # fmt: skip
    seen = {}

    class Look(Callback):
        def on_step(self, trainer, step):
            seen[step] = quantiser.values.clone()

    options = TrainingOptions(steps=400, batch_size=64, lr=5e-2, device="cpu")
    fitted = Trainer(model, ArraySource(CLUSTERS), options, callbacks=[Look()], progress=False)
    model = fitted.run()
    assert not torch.equal(seen[1], seen[200])
    assert torch.equal(seen[200], seen[400])
    chosen = model.encode(CLUSTERS, code=True).indices[:, 0]
    counts = np.bincount(chosen, minlength=16)
    share = model.prior.logits.detach().softmax(1)[0].numpy()
    np.testing.assert_allclose(share, counts / counts.sum(), atol=0.03)
