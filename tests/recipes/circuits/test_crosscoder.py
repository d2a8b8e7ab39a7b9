"""The crosscoder: one code of several layers, an atom of every latent in each."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import isthmus
from isthmus.anatomy import Batch, SparseCode, Step, norms
from isthmus.cli import app
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes import get_recipe
from isthmus.recipes.circuits.crosscoder import atom_cosines, relative_norms
from isthmus.training import Stepper, TrainingOptions
from isthmus.training.callbacks import Callback
from isthmus.training.row_adam import RowAdam

FORK = json.loads((Path(__file__).parent / "crosscoder_fork.json").read_text())
NAMES = ("layers.0", "layers.1", "layers.2")
SIZES = (10, 7, 12)


def rows(n=400, seed=0, sizes=SIZES):
    """Layers of several widths and sizes that share a few sparse causes."""
    generator = torch.Generator().manual_seed(seed)
    causes = torch.relu(torch.randn(n, 30, generator=generator) - 1.2)
    return {
        name: (i + 0.5) * (causes @ torch.randn(30, d, generator=generator)) + 0.1 * i
        for i, (name, d) in enumerate(zip(NAMES, sizes, strict=True))
    }


def untrained(X=None, **options):
    X, page = rows() if X is None else X, get_recipe("crosscoder")
    torch.manual_seed(0)
    made = page.build(as_source(X).signal, page.parse({"latent_dim": 384, **options})[0])
    with torch.no_grad():
        made.prepare(X)
    return made


def fitted(X=None, **options):
    options = {"latent_dim": 24, "steps": 20, "batch_size": 100, "lr": 1e-3, **options}
    return isthmus.fit("crosscoder", rows() if X is None else X, **options, progress=False)


# --- against independent code --------------------------------------------------------------------


class Dense:
    """A crosscoder by hand: dense codes, plain PyTorch, ``torch.optim.Adam``."""

    def __init__(self, model, kind, k=4, price=0.0):
        self.kind, self.k, self.price = kind, k, price
        state = {n: t.detach().clone() for n, t in model.named_parameters()}
        keys = [name.replace(".", "·") for name in NAMES]
        take = lambda name: state[name].requires_grad_()  # noqa: E731
        self.read = [take(f"encoder.each.{key}.weight") for key in keys]
        self.bias = take("encoder.merge.bias")
        self.write = [take(f"decoder.each.{key}.weight") for key in keys]
        self.offset = [take(f"decoder.each.{key}.bias") for key in keys]
        self.weights = state
        scales = [model.scaler[name].scale for name in NAMES]
        self.scaled = lambda X: [X[n] / s for n, s in zip(NAMES, scales, strict=True)]
        self.optimiser = torch.optim.Adam(self.weights.values(), lr=1e-3)

    def code(self, x):
        u = sum(part @ w.T for part, w in zip(x, self.read, strict=True)) + self.bias
        z = torch.relu(u)
        if self.kind == "relu":
            return z
        worth = z.detach() * sum(w.norm(dim=1) for w in self.write).detach()
        if self.kind == "row":
            return z * F.one_hot(worth.topk(self.k, 1).indices, z.shape[1]).sum(1)
        self.smallest = float(worth.flatten().topk(self.k * len(z)).values.min())
        kept = torch.zeros(worth.numel()).index_fill_(
            0, worth.flatten().topk(self.k * len(z)).indices, 1.0
        )
        return z * kept.view_as(z)

    def step(self, X, price):
        x = self.scaled(X)
        z = self.code(x)
        errors = [
            (z @ w + b - part).square().sum(1)
            for part, w, b in zip(x, self.write, self.offset, strict=True)
        ]
        loss = torch.stack(errors).sum(0).mean()
        if self.kind == "relu":
            loss = loss + price * (z * sum(w.norm(dim=1) for w in self.write)).sum(1).mean()
        else:
            loss = loss / sum(part.shape[1] for part in x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


@pytest.mark.parametrize("path", ["native", "torch", "reference"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("relu", {"sparsity": 0.5}),
        ("batch", {"k": 4, "auxk_weight": 0.0}),
        ("row", {"k": 4, "select": "row", "auxk_weight": 0.0}),
    ],
    ids=["relu", "batch", "row"],
)
def test_twenty_steps_are_those_of_a_dense_crosscoder(kind, options, path):
    X = rows(1280)
    with using(path):
        model = untrained(X, **options).train()
        dense = Dense(model, kind)
        settings = TrainingOptions(steps=20, lr=1e-3, batch_size=64)
        stepper = Stepper(model, settings, total=20, rows=1280)
        assert isinstance(stepper.optimisers["model"], RowAdam) == (path == "native")
        for step in range(20):
            part = {name: x[64 * step : 64 * step + 64] for name, x in X.items()}
            losses = stepper.step(Batch(part), step)
            # The price rises over the first twentieth of the run, which is one step here.
            wanted = dense.step(part, 0.5 * (step > 0))
            assert losses["model"].total.item() == pytest.approx(wanted, rel=1e-5)
        stepper.release()
    if kind == "batch":  # so short a run remembers its last batch alone
        assert float(model.bottleneck.threshold) == pytest.approx(dense.smallest, rel=1e-4)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, dense.weights[name], atol=1e-5, rtol=1e-5)


def made(shape, start, size=1.0):
    """Numbers that any program makes alike: sines of growing arguments."""
    at = torch.arange(start, start + int(np.prod(shape)), dtype=torch.float64)
    return (size * torch.sin(0.7 * at**1.3)).reshape(shape).float()


def probes(gradient):
    """A gradient by three of its projections."""
    flat = gradient.double().flatten()
    at = torch.arange(len(flat), dtype=torch.float64)
    return [float(flat @ torch.cos((k + 1) * at)) for k in range(3)]


@pytest.fixture
def forked(request):
    """A crosscoder on the weights and rows that the authors' code was run on."""
    x = made((9, 3, 5), 1)
    X = {name: x[:, i].clone() for i, name in enumerate(NAMES)}
    model = untrained(X, latent_dim=12, scaling="none", **request.param).train()
    read, write = made((3, 12, 5), 500, 0.6), made((3, 12, 5), 1100, 0.5)
    write[:, 3] *= 4.0
    with torch.no_grad():
        model.encoder.merge.bias.copy_(made((12,), 900, 0.1))
        for i, name in enumerate(NAMES):
            model.encoder[name].weight.copy_(read[i])
            model.decoder[name].weight.copy_(write[i])
            model.decoder[name].bias.copy_(made((3, 5), 1500, 0.2)[i])
    return model, X


def same_gradients(model, wanted, factor):
    own = {"bias": model.encoder.merge.bias}
    for i, name in enumerate(NAMES):
        own[f"encoder.{i}"] = model.encoder[name].weight
        own[f"decoder.{i}"] = model.decoder[name].weight
        own[f"offset.{i}"] = model.decoder[name].bias
    for name, found in wanted.items():
        np.testing.assert_allclose(
            probes(own[name].grad), np.multiply(factor, found), rtol=2e-4, atol=2e-4
        )


@pytest.mark.parametrize("forked", [{"sparsity": 0.9}], indirect=True)
def test_loss_and_gradients_are_those_of_the_authors_code(forked):
    """Theirs averages the error over the layers: three times its loss is ours."""
    (model, X), wanted = forked, FORK["relu"]
    out = model(X, Step(isthmus.anatomy.Clock(9, 10)))
    losses = model.objective(model, out)
    assert losses.terms["squared_error"].item() == pytest.approx(3 * wanted["mse"], rel=1e-5)
    assert losses.terms["l1"].item() == pytest.approx(wanted["l1"], rel=1e-5)
    losses.total.backward()
    same_gradients(model, wanted["gradients"], 3.0)


@pytest.mark.parametrize("forked", [{"k": 2}], indirect=True)
def test_a_batch_chooses_as_the_authors_code_does(forked):
    (model, X), wanted = forked, FORK["batchtopk"]
    out = model(X)
    assert out.code.z.nonzero().tolist() == wanted["on"]
    unweighed = isthmus.bottlenecks.batchtopk.top_of_batch(model.encode_view(out.views[0]), 2)
    assert unweighed.z.nonzero().tolist() != wanted["on"]
    model.bottleneck.observe(out, Step(), model=model)
    assert float(model.bottleneck.threshold) == pytest.approx(wanted["threshold"], rel=1e-5)
    error = out.squared_error().mean()
    assert error.item() == pytest.approx(wanted["squared_error"], rel=1e-5)
    error.backward()
    same_gradients(model, wanted["gradients"], 1.0)
    # In evaluation what exceeds the threshold is on, by the same product, whatever the batch.
    u = model.encode_view(out.views[0]).dense()
    on = u * norms(model) > wanted["threshold"] * (1 + 1e-5)
    assert not torch.equal(on, u > wanted["threshold"])
    assert torch.equal(model.eval().clean_code(X).z != 0, on)


@pytest.mark.parametrize("forked", [{"k": 2}], indirect=True)
def test_dead_latents_are_revived_as_in_the_authors_code(forked):
    (model, X), wanted = forked, FORK["auxk"]
    silent = model.bottleneck.counter.silent_rows
    silent[wanted["dead"]] = 10_000_000
    (term,) = (part.term for part in model.objective if part.term.name == "auxk")
    assert term.k_aux == wanted["k_aux"]
    value = term(model, model(X))
    assert 15 * value.mean().item() == pytest.approx(wanted["squared_error"], rel=1e-5)
    (15 * value.mean()).backward()
    same_gradients(model, wanted["gradients"], 1.0)


# --- what it is for ------------------------------------------------------------------------------


def planted(n=2000, d=16, shared=6, own=3):
    """Causes that all layers have, each with directions of its own, and causes of one layer."""
    generator = torch.Generator().manual_seed(0)
    number = shared + own * len(NAMES)
    causes = (torch.rand(n, number, generator=generator) < 0.1).float()
    causes = causes * (0.5 + torch.rand(n, number, generator=generator))
    directions = {}
    for i, name in enumerate(NAMES):
        atoms = F.normalize(torch.randn(number, d, generator=generator), dim=1)
        whose = torch.arange(number) - shared
        atoms[(whose >= 0) & (whose // own != i)] = 0.0
        directions[name] = atoms
    # Layers of quite other sizes: lengths are compared in the model's units.
    X = {name: 10.0**i * (causes @ directions[name]) for i, name in enumerate(NAMES)}
    return X, directions


@pytest.mark.parametrize(
    "options",
    [
        {"l0": 2.0},
        pytest.param({"k": 2, "select": "row"}, marks=pytest.mark.slow),
        pytest.param({"sparsity": 0.1}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_layers_share_and_what_one_has_is_found(options):
    X, directions = planted()
    model = fitted(
        X, latent_dim=32, steps=600, batch_size=256, lr=6e-3, dead_after=2000, clip=None, **options
    )
    atoms = model.atoms()
    assert {name: tuple(part.shape) for name, part in atoms.items()} == dict.fromkeys(
        NAMES, (32, 16)
    )
    own = torch.cat([F.normalize(directions[n], dim=1) for n in NAMES], 1)
    length = {n: 10.0**i for i, n in enumerate(NAMES)}
    found = torch.cat([atoms[n] / length[n] for n in NAMES], 1)
    cosines = F.normalize(own, dim=1) @ F.normalize(found, dim=1).T
    best = cosines.max(1)
    assert (best.values[:6] > 0.9).all()  # one latent for what three layers share
    assert (best.values[6:] > 0.97).all()
    relative = relative_norms(model, NAMES[0], NAMES[1])[best.indices]
    assert ((relative[:6] - 0.5).abs() < (0.2 if "sparsity" in options else 0.1)).all()
    assert (relative[6:9] < 0.1).all()  # of the first layer alone
    assert (relative[9:12] > 0.9).all()
    other = relative_norms(model, NAMES[1], NAMES[2])[best.indices]
    assert (other[9:12] < 0.1).all()
    assert (other[12:] > 0.9).all()


def test_relative_norms_and_cosines_are_those_of_the_atoms():
    model = untrained(rows(sizes=(10, 10, 12)), latent_dim=5)
    one, two, three = (model.decoder[name].weight for name in NAMES)
    with torch.no_grad():
        one[0], two[0] = 0.0, 1.0
        one[1], two[1] = 3.0 * one[2], -one[2]
        three[3] = 0.0
    found, cosines = relative_norms(model, *NAMES[:2]), atom_cosines(model, *NAMES[:2])
    assert found[0] == 1.0
    assert found[1] == pytest.approx(0.25)
    assert cosines[1] == pytest.approx(-1.0)
    assert relative_norms(model, *NAMES[1:])[3] == 0.0
    with pytest.raises(IsthmusError, match=r"did you mean 'layers\.1'"):
        relative_norms(model, "layers.0", "layers.11")
    with pytest.raises(IsthmusError, match="12 elements"):
        atom_cosines(model, "layers.0", "layers.2")


def test_atoms_are_what_a_latent_adds_in_the_users_units():
    model = fitted(k=3)
    z = torch.zeros(2, 24)
    z[1, 7] = 2.0
    written = model.decode(z)
    for name, atoms in model.atoms().items():
        torch.testing.assert_close(written[name][1] - written[name][0], 2.0 * atoms[7])
    assert model.read_rows() is None


@pytest.mark.parametrize("options", [{"l0": 6.0}, {"k": 4}], ids=str)
def test_it_starts_at_its_sparsity_and_at_the_best_scale(options):
    X = rows(1000)
    model = untrained(X, **options)
    out = model.train()(X)
    active = (out.code.z != 0).sum(1).float().mean()
    assert active == pytest.approx(next(iter(options.values())), rel=0.05)
    scaled = model.scaler(X)
    wanted = torch.cat([scaled[n] - model.decoder[n].bias for n in NAMES], 1).detach()
    rebuilt = torch.cat([out.code.z @ model.decoder[n].weight for n in NAMES], 1).detach()
    best = (rebuilt * wanted).sum() / rebuilt.square().sum()
    assert best == pytest.approx(1.0, abs=0.01)
    for name in NAMES:  # the geometric median: the pulls of all rows cancel
        pulls = F.normalize(scaled[name] - model.decoder[name].bias.detach(), dim=1)
        assert pulls.mean(0).norm() < 1e-3


def test_the_control_holds_its_target():
    model = fitted(l0=5.0, steps=300, latent_dim=64)
    assert isthmus.evaluate(model, rows())["l0"].value == pytest.approx(5.0, abs=0.6)
    assert model.history[-1]["coefficient"] > 0.0


# --- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["row", "batch"])
def test_no_dense_code_is_built(monkeypatch, select):
    kinds = set()

    def watched(self):
        raise AssertionError("the sparse code was built densely")

    monkeypatch.setattr(SparseCode, "z", property(watched))
    look = isthmus.bottlenecks.firing.FiringCounter.count
    monkeypatch.setattr(
        isthmus.bottlenecks.firing.FiringCounter,
        "count",
        lambda self, code: kinds.add(type(code)) or look(self, code),
    )
    X = rows()
    model = fitted(X, latent_dim=2048, k=4, select=select, dead_after=50, log_every=1)
    assert kinds == {SparseCode}
    assert model.history[-1]["auxk"] > 0.0
    code = model.encode(X, code=True)
    assert isinstance(code, SparseCode)
    assert model.reconstruct(X)["layers.1"].shape == (400, 7)
    assert model.decode(code)["layers.2"].shape == (400, 12)
    assert model.score(X).shape == (400,)
    assert isthmus.evaluate(model, X)["l0"].value == pytest.approx(4.0, abs=1.0)


def test_gradients_of_all_layers_come_row_by_row():
    """No weight of a layer ever has a dense gradient, in the encoder or the decoder."""
    X = rows()
    model = untrained(X, latent_dim=2048, k=4, select="row").train()
    stepper = Stepper(model, TrainingOptions(steps=5, batch_size=100), total=5, rows=400)
    collected = [p for part in (model.encoder, model.decoder) for p in part.parameters()]
    collected = [p for p in collected if p.ndim == 2]
    assert len(collected) == 6
    optimiser = stepper.optimisers["model"]
    assert isinstance(optimiser, RowAdam)
    out = model(X)
    model.objective(model, out).total.backward()
    for parameter in collected:
        assert parameter.grad is None
        assert optimiser._collectors[id(parameter)]
    stepper.release()


# --- what every recipe does ----------------------------------------------------------------------


class Killed(Exception):
    pass


class Kill(Callback):
    def on_step(self, run, record):
        if run.step == 13:
            raise Killed


@pytest.mark.parametrize("options", [{"k": 3}, {"l0": 4.0}], ids=str)
def test_resumed_it_is_the_same_bits(tmp_path, options):
    X = rows()
    whole = fitted(X, **options)
    with pytest.raises(Killed):
        fitted(X, out=tmp_path / "run", save_every=7, callbacks=[Kill()], **options)
    again = isthmus.resume(tmp_path / "run", X, progress=False)
    for (name, one), other in zip(
        whole.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_fresh_process_reads_it(tmp_path):
    X = {name: x.numpy() for name, x in rows().items()}
    model = fitted(X, k=3, out=tmp_path / "run")
    np.savez(tmp_path / "rows.npz", **X)
    script = (
        "import isthmus, numpy as np, sys; m = isthmus.load(sys.argv[1]);"
        "np.save(sys.argv[3], m.encode(dict(np.load(sys.argv[2]))))"
    )
    files = [str(tmp_path / name) for name in ("run", "rows.npz", "z.npy")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    np.testing.assert_array_equal(np.load(files[2]), model.encode(X))


def test_many_at_once_are_those_alone():
    X = rows()
    shared = {"latent_dim": 24, "steps": 8, "batch_size": 50, "progress": False}
    variants = {"k": {"k": 3}, "l0": {"l0": 4.0}}
    found = isthmus.fit_many(
        {n: {"recipe": "crosscoder", **own} for n, own in variants.items()}, X, **shared
    )
    for name, own in variants.items():
        alone = isthmus.fit("crosscoder", X, **shared, **own)
        for a, b in zip(alone.parameters(), found[name].parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("X", "options", "said"),
    [
        ({"a": torch.randn(60, 4)}, {}, "two or more by name"),
        (torch.randn(60, 4), {}, "reads a collection of named parts"),
        ({"a": torch.randn(60, 4), "b": ["ab", "c"] * 30}, {}, "real numbers, and 'b' is"),
        (None, {"k": 3, "l0": 4.0}, "choose one"),
        (None, {"k": 30}, "latent_dim=24"),
        (None, {"l0": 30.0}, "30 is no target"),
        (None, {"scaling": "colums"}, "columns"),
        ({"a": torch.randn(60, 4), "b": torch.zeros(60, 4)}, {}, "every value of the data is zero"),
        ({"a": torch.randn(60, 4), "b": torch.randn(59, 4)}, {}, "equally many rows"),
    ],
)
def test_what_cannot_work_is_said(X, options, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        fitted(X, batch_size=20, **options)
    assert "\n" not in str(problem.value)


def test_another_collection_is_refused():
    model = fitted(k=3)
    X = rows()
    with pytest.raises(IsthmusError, match=r"layers\.2"):
        model.encode({name: X[name] for name in NAMES[:2]})


def test_from_the_command_line(tmp_path):
    np.savez(tmp_path / "rows.npz", **{name: x.numpy() for name, x in rows().items()})
    run, data = str(tmp_path / "run"), str(tmp_path / "rows.npz")
    for command in (
        ["fit", "crosscoder", data, "latent_dim=24", "k=3", "steps=5", "-o", run],
        ["evaluate", run, data],
        ["encode", run, data, "-o", str(tmp_path / "z.npz")],
        ["report", run],
    ):
        said = CliRunner().invoke(app, command)
        assert said.exit_code == 0, said.output
        if command[0] == "evaluate":
            assert all(f"fvu.{name}" in said.output for name in NAMES)
    with np.load(tmp_path / "z.npz") as codes:
        assert {len(codes[name]) for name in codes.files} == {400}
    assert "layers.1" in Path(run, "report.html").read_text()


def test_layers_of_the_resident_model(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 20)
    data = f"lm:resident@layers.0,layers.1,layers.2?text={text}&context=32"
    run = str(tmp_path / "run")
    for command in (
        ["fit", "crosscoder", data, "latent_dim=24", "k=4", "steps=3", "-o", run],
        ["report", run],
    ):
        said = CliRunner().invoke(app, command)
        assert said.exit_code == 0, said.output
    model = isthmus.load(run)
    assert {n: tuple(a.shape) for n, a in model.atoms().items()} == dict.fromkeys(NAMES, (24, 192))
