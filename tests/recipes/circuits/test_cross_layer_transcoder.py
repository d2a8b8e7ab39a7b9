"""The cross-layer transcoder, against the equations of "Circuit Tracing" written out."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import isthmus
from isthmus.anatomy import Clock, Output, SparseCode, Step, ThresholdCode, View, norms
from isthmus.bottlenecks.cross_layer import LayersBatchTopK
from isthmus.cli import app
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes import get_recipe
from isthmus.training import Callback

LAYERS, READ, WRITTEN, OWN = 3, 6, 5, 24
WIDTH = LAYERS * OWN
OUTS = [f"{layer}:out" for layer in range(LAYERS)]


def rows(count=600):
    """Modules that repeat what the layers before them did: what a cross-layer latent is for."""
    generator = torch.Generator().manual_seed(0)
    x, found = torch.randn(count, READ, generator=generator), {}
    for layer in range(LAYERS):
        y = torch.relu(x @ torch.randn(READ, WRITTEN, generator=generator)) - 0.5
        found[f"{layer}:in"], found[f"{layer}:out"] = 2.0**layer * x, 3.0**layer * y
        x = x + 0.3 * torch.randn(count, READ, generator=generator)
    return found


def untrained(**options):
    source, recipe = rows(), get_recipe("cross-layer-transcoder")
    torch.manual_seed(0)
    parsed = recipe.parse({"latent_dim": OWN, **options})[0]
    made = recipe.build(as_source(source).signal, parsed)
    with torch.no_grad():
        made.prepare(source)
        generator = torch.Generator().manual_seed(1)
        for part in OUTS:  # as after some training: every decoder writes, atoms of any length
            weight = made.decoder[part].weight
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return made


def fitted(source=None, **options):
    options = {"latent_dim": OWN, "steps": 30, "batch_size": 100, "lr": 3e-3, **options}
    data = rows() if source is None else source
    return isthmus.fit("cross-layer-transcoder", data, **options, progress=False)


def plain(made):
    """Its weights as leaves, and functions of the paper's symbols."""
    return {n: p.detach().clone().requires_grad_() for n, p in made.named_parameters()}


def scaled(count=50):
    return {n: p[:count] / p.square().mean().sqrt() for n, p in rows().items()}


def read(x, weights):
    return [
        x[f"{i}:in"] @ weights[f"encoder.each.{i}:in.weight"].T
        + weights[f"encoder.each.{i}:in.bias"]
        for i in range(LAYERS)
    ]


def decoder(weights, source, target):
    """W_dec from one layer to another, (latents of a layer, written)."""
    return weights[f"decoder.each.{target}:out.weight"][source * OWN : (source + 1) * OWN]


def rebuilt(z, weights):
    """y^_l = sum of m <= l of W_dec^{m -> l} z_m, and the bias."""
    return {
        f"{i}:out": sum(z[m] @ decoder(weights, m, i) for m in range(i + 1))
        + weights[f"decoder.each.{i}:out.bias"]
        for i in range(LAYERS)
    }


def length(weights):
    """|W_dec,i| of each layer's latents: of all their decoder vectors, concatenated."""
    return [
        torch.cat([decoder(weights, m, i) for i in range(m, LAYERS)], 1).norm(dim=1)
        for m in range(LAYERS)
    ]


def check(made, loss, clock=None, skip=()):
    made.train()
    out = made({n: p[:50] for n, p in rows().items()}, clock)
    total = made.objective(made, out, "model").total
    total.backward()
    weights = plain(made)
    own = loss(scaled(), weights)
    torch.testing.assert_close(total, own, atol=1e-4, rtol=1e-4)
    own.backward()
    for name, parameter in made.named_parameters():
        if name in skip:
            continue
        wanted = weights[name].grad
        torch.testing.assert_close(
            parameter.grad, wanted, atol=2e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
    return out


class Jump(torch.autograd.Function):
    """u H(u - t) by equations of JumpReLU: to t the kernel at it; written from the paper alone."""

    @staticmethod
    def forward(ctx, u, t, eps):
        ctx.save_for_backward(u, t)
        ctx.eps = eps
        return u * (u > t)

    @staticmethod
    def backward(ctx, g):
        u, t = ctx.saved_tensors
        near = (((u - t) / ctx.eps).abs() < 0.5).to(u.dtype)
        return g * (u > t), -(t / ctx.eps * near * g).sum(0), None


@pytest.mark.parametrize("path", ["reference", "auto"])
@pytest.mark.parametrize("activation", ["jumprelu", "relu"])
def test_loss_and_gradients_are_those_of_the_paper(activation, path):
    """Loss of appendix D, half way through: lambda has risen to half of what it will be."""

    def loss(x, weights):
        u, lengths = read(x, weights), length(weights)
        if activation == "jumprelu":
            t = weights["bottleneck.log_threshold"].exp().split(OWN)
            z = [Jump.apply(a, b, 1.0) for a, b in zip(u, t, strict=True)]
        else:
            z, t = [torch.relu(a) for a in u], [torch.zeros(())] * LAYERS
        recon = rebuilt(z, weights)
        error = sum((recon[n] - x[n]).square().sum(1) for n in OUTS)
        price = sum(torch.tanh(4.0 * a * b).sum(1) for a, b in zip(z, lengths, strict=True))
        lack = sum((torch.relu(c - a) * b).sum(1) for a, b, c in zip(u, lengths, t, strict=True))
        return (error + 0.5 * 0.8 * price + 0.01 * lack).mean()

    with using(path):
        made = untrained(activation=activation, sparsity=0.8, preactivation_weight=0.01)
        check(made, loss, Clock(500, 1000))


@pytest.mark.parametrize("path", ["reference", "auto"])
@pytest.mark.parametrize("select", ["row", "layers", "batch", "batch-layers"])
def test_the_latents_that_are_chosen_and_their_gradients(select, path):
    def kept(key):
        """Bool (rows, layers, latents): which are among the largest, where they compete."""
        n = len(key)
        if select == "row":
            flat, k = key.reshape(n * LAYERS, OWN), 3
        elif select == "layers":
            flat, k = key.reshape(n, WIDTH), 3 * LAYERS
        elif select == "batch":
            flat, k = key.transpose(0, 1).reshape(LAYERS, n * OWN), 3 * n
        else:
            flat, k = key.reshape(1, -1), 3 * n * LAYERS
        on = torch.zeros_like(flat).scatter(1, flat.topk(k, dim=1).indices, 1.0).bool()
        if select == "batch":
            return on.reshape(LAYERS, n, OWN).transpose(0, 1)
        return on.reshape(n, LAYERS, OWN)

    def loss(x, weights):
        u = torch.stack(read(x, weights), 1)
        on = kept((torch.relu(u) * torch.stack(length(weights))).detach())
        z = torch.where(on, torch.relu(u), 0.0)
        recon = rebuilt(list(z.unbind(1)), weights)
        error = torch.cat([recon[n] - x[n] for n in OUTS], 1)
        return error.square().mean(1).mean()

    with using(path):
        out = check(untrained(k=3, select=select), loss)
        assert int((out.code.z != 0).sum()) == 3 * LAYERS * 50


def test_a_latent_writes_to_no_earlier_layer():
    made = fitted(k=3)
    for layer, name in enumerate(OUTS):
        atoms = made.atoms()[name]
        assert atoms.shape == (WIDTH, WRITTEN)
        assert atoms[: (layer + 1) * OWN].norm(dim=1).min() >= 0
        assert not atoms[(layer + 1) * OWN :].any()
    # and where there is one to write to, training made it write there
    assert made.atoms()["2:out"][:OWN].norm(dim=1).max() > 0


def test_lengths_are_those_of_all_atoms_end_to_end():
    made = untrained(k=3)
    torch.testing.assert_close(norms(made), torch.cat(length(plain(made))))


@pytest.mark.parametrize("options", [{"k": 3}, {"k": 3, "select": "row"}, {"l0": 3.0}], ids=str)
def test_it_starts_as_transcoders_of_each_layer(options):
    """At first every layer is rebuilt by its own latents, at the best scale there is."""
    source, recipe = rows(), get_recipe("cross-layer-transcoder")
    made = recipe.build(as_source(source).signal, recipe.parse({"latent_dim": OWN, **options})[0])
    with torch.no_grad():
        made.prepare(source)
    for layer, name in enumerate(OUTS):
        assert not made.decoder[name].weight[: layer * OWN].any()
        mean = made.scaler(source)[name].mean(0)
        torch.testing.assert_close(made.decoder[name].bias.data, mean, atol=1e-5, rtol=1e-4)
    error = isthmus.evaluate(made, source)
    assert all(error[f"fvu.{name}"].value < 0.8 for name in OUTS)


def test_the_control_holds_as_many_of_each_layer():
    made = untrained(l0=3.0)
    active = (made.encode(rows(), code=True).z != 0).sum(1).float().mean()
    assert active == pytest.approx(3.0 * LAYERS, rel=0.1)
    for activation in ("jumprelu", "relu"):
        found = isthmus.evaluate(fitted(l0=3.0, steps=200, activation=activation), rows())
        assert found["l0"].value == pytest.approx(3.0 * LAYERS, rel=0.15)
        assert max(found[f"fvu.{name}"].value for name in OUTS) < 0.3


def test_a_sparse_code_and_a_dense_one_give_the_thresholds_of_layers_alike(monkeypatch):
    made = LayersBatchTopK(6, 1, 2, 100, each=True)
    lengths = torch.tensor([1.0, 2.0, 1.0, 0.5, 1.0, 4.0])
    monkeypatch.setattr(made, "lengths", lambda model: lengths)
    taken = []
    monkeypatch.setattr(made, "take_in", lambda smallest, step: taken.append(smallest))
    values = torch.tensor([[3.0, 0.5, 2.0], [1.0, 0.0, 8.0]])
    sparse = SparseCode(values, torch.tensor([[0, 1, 3], [2, 0, 5]]), 6)
    x = torch.zeros(2, 3)
    for code in (sparse, ThresholdCode(sparse.z)):
        made.observe(Output(x, x, [View(x)], [code]), Step())
    # Of values times lengths: 3, 1 and 1 in the first layer, 1 and 32 in the second.
    assert taken[0].tolist() == taken[1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("select", ["batch", "batch-layers"])
def test_at_inference_thresholds_say_it_and_no_other_row(select):
    made = fitted(k=3, select=select, steps=200)
    assert made.bottleneck.threshold.shape == ((LAYERS,) if select == "batch" else ())
    whole, alone = made.encode(rows()), made.encode({n: p[:1] for n, p in rows().items()})
    torch.testing.assert_close(whole[:1], alone)
    of_each = (whole != 0).float().sum(1).mean() / LAYERS
    assert of_each == pytest.approx(3.0, abs=0.4)
    if select == "batch":
        for own in whole.split(OWN, 1):
            assert (own != 0).float().sum(1).mean() == pytest.approx(3.0, abs=0.5)


def test_latents_of_earlier_layers_help_later_ones():
    """Where a module writes what an earlier one did, its own input says nothing of it."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(800, READ, generator=generator)
    y = torch.relu(x @ torch.randn(READ, WRITTEN, generator=generator))
    other = torch.randn(800, READ, generator=generator)
    data = {"0:in": x, "0:out": y, "1:in": other, "1:out": y + 0.01 * other[:, :WRITTEN]}
    found = isthmus.evaluate(fitted(data, k=4, steps=300), data)
    assert found["fvu.1:out"].value < 0.2


def test_the_size_of_a_layer_does_not_matter():
    one = rows()
    other = {n: p * 2.0 ** (10 - 5 * i) for i, (n, p) in enumerate(one.items())}
    models = [fitted(source, k=3) for source in (one, other)]
    codes = [m.encode(s) for m, s in zip(models, (one, other), strict=True)]
    torch.testing.assert_close(codes[0], codes[1], atol=1e-4, rtol=1e-3)


class Killed(Exception):
    pass


class Kill(Callback):
    def on_step(self, run, record):
        if run.step == 13:
            raise Killed


@pytest.mark.parametrize("options", [{"k": 3, "select": "batch"}, {"l0": 3.0}], ids=str)
def test_resumed_and_loaded_it_is_the_same_bits(tmp_path, options):
    whole = fitted(out=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        fitted(out=tmp_path / "run", save_every=7, callbacks=[Kill()], **options)
    again = isthmus.resume(tmp_path / "run", rows(), progress=False)
    for (name, one), other in zip(
        whole.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    loaded = isthmus.load(tmp_path / "whole")
    for name, recon in loaded.reconstruct(rows()).items():
        assert torch.equal(recon, whole.reconstruct(rows())[name])
    z = whole.encode(rows())
    for name, recon in whole.decode(z).items():
        torch.testing.assert_close(recon, whole.reconstruct(rows())[name], atol=1e-4, rtol=1e-4)


def test_dead_latents_are_helped():
    made = untrained(k=3, dead_after=1)
    made.bottleneck.counter.silent_rows.fill_(10**9)
    made.train()
    out = made({n: p[:50] for n, p in rows().items()})
    terms = made.objective(made, out, "model").terms
    assert terms["auxk"] > 0


def test_names_say_which_layer_reads_and_which_is_written():
    x = torch.randn(100, 4)
    orders = [
        ["a:in", "b:in", "a", "b"],
        ["a:in", "a:out", "b:in", "b:out"],
        ["x", "y", "v", "w"],
    ]
    wanted = [{"a:in": "a", "b:in": "b"}, {"a:in": "a:out", "b:in": "b:out"}, {"x": "y", "v": "w"}]
    for names, pairs in zip(orders, wanted, strict=True):
        made = fitted(dict.fromkeys(names, x), k=1, latent_dim=8, steps=1)
        assert made.encoder.names == tuple(pairs)
        assert made.decoder.names == tuple(pairs.values())


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["a:in", "a"], {}, "two layers or more"),
        (["a", "b", "c", "d", "e"], {}, "5 parts are no pairs"),
        (["a:in", "a", "b:in", "c"], {}, "no 'b' to be written"),
        (["a:in", "a", "b:in", "b", "c"], {}, "pass 'c:in', too"),
        (["a:in", "a", "b:in", "b"], {"k": 3, "l0": 2.0}, "choose one"),
        (["a:in", "a", "b:in", "b"], {"k": 30}, "latent_dim=24"),
        (["a:in", "a", "b:in", "b"], {"l0": 30.0}, "no target for 48 latents"),
    ],
)
def test_what_cannot_work_is_said(names, options, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        fitted(dict.fromkeys(names, torch.randn(200, 4)), **options)
    assert "\n" not in str(problem.value)


def test_from_the_command_line_on_all_layers_of_the_resident_model(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 20)
    data = f"lm:resident@layers.*.mlp:in,layers.*.mlp?text={text}&context=32"
    run = str(tmp_path / "run")
    for command in (
        ["fit", "cross-layer-transcoder", data, "latent_dim=24", "k=4", "steps=3", "-o", run],
        ["evaluate", run, data],
        ["report", run],
    ):
        said = CliRunner().invoke(app, command)
        assert said.exit_code == 0, said.output
        if command[0] == "evaluate":
            assert said.output.count("fvu.layers.") >= 4
    model = isthmus.load(run)
    assert {tuple(atoms.shape) for atoms in model.atoms().values()} == {(4 * 24, 192)}
    assert np.isfinite(model.encode(data)).all()
