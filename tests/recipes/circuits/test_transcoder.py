"""The transcoder: reads one point and writes another, errors are those of what it writes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import isthmus
from isthmus.anatomy import View
from isthmus.cli import app
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.evaluation import fvu
from isthmus.recipes import get_recipe

INPUTS, TARGETS = 6, 4


def pair(times_in=1.0, times_out=1.0):
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.randn(1000, INPUTS, generator=generator)
    y = torch.relu(x @ torch.randn(INPUTS, TARGETS, generator=generator)) - 1.0
    return {"in": times_in * x, "out": times_out * y}


def fitted(source=None, **options):
    options = {"latent_dim": 24, "steps": 30, "batch_size": 100, "warmup": 0, **options}
    source = pair() if source is None else source
    return isthmus.fit("transcoder", source, **options, progress=False)


def untrained(source=None, **options):
    source, recipe = pair() if source is None else source, get_recipe("transcoder")
    torch.manual_seed(0)
    made = recipe.build(as_source(source).signal, recipe.parse({"latent_dim": 24, **options})[0])
    with torch.no_grad():
        made.prepare(source)
    return made


@pytest.mark.parametrize("weighting", ["rows", "none"])
def test_loss_and_gradients_are_those_of_the_formula(weighting):
    whole = pair()
    whole["out"][0] *= 50.0
    made = untrained(whole, sparsity=0.1, weighting=weighting).train()
    out = made({name: part[:50] for name, part in whole.items()})
    made.objective(made, out, "model").total.backward()

    x, y = (part[:50] / part.square().mean().sqrt() for part in whole.values())
    weights = {n: p.detach().clone().requires_grad_() for n, p in made.named_parameters()}
    z = torch.relu(x @ weights["encoder.each.in.weight"].T + weights["encoder.each.in.bias"])
    recon = z @ weights["decoder.weight"] + weights["decoder.bias"]
    size = y.norm(dim=1) / TARGETS**0.5 if weighting == "rows" else 1.0
    loss = ((y - recon).square().mean(1) / size + 0.1 * z.sum(1)).mean()
    loss.backward()
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.code.z, z, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{"l0": 5.0}, {"k": 4}, {"sparsity": 0.01}], ids=str)
def test_measures_are_those_of_the_second_part_in_its_own_units(options):
    source, model = pair(3.0, 0.01), fitted(pair(3.0, 0.01), **options)
    target, recon = source["out"], model.reconstruct(source)
    assert recon.shape == target.shape
    found = isthmus.evaluate(model, source)
    assert found["fvu"].value == pytest.approx(fvu(target, recon).value, rel=1e-4)
    error = (recon - target).square().mean(1) / model.scaler["out"].scale.square()
    torch.testing.assert_close(-model.score(source), error, atol=1e-6, rtol=1e-3)
    assert found["fvu"].value < 0.7


@pytest.mark.parametrize("options", [{"l0": 5.0}, {"k": 4}, {}], ids=str)
@pytest.mark.parametrize("scaling", ["global", "norm", "columns"])
def test_the_size_of_neither_point_matters(options, scaling):
    one, other = pair(), pair(1024.0, 2.0**-10)
    models = [fitted(source, scaling=scaling, **options) for source in (one, other)]
    codes = [m.encode(s, code=True).z for m, s in zip(models, (one, other), strict=True)]
    torch.testing.assert_close(codes[0], codes[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(models[0].reconstruct(one), models[1].reconstruct(other) * 1024.0)


def test_it_starts_by_reading_the_best_linear_prediction():
    """On a linear module its first pre-activations are those of a tied dictionary on the output."""
    x = torch.randn(1000, INPUTS, generator=torch.Generator().manual_seed(1))
    y = x @ torch.randn(INPUTS, TARGETS, generator=torch.Generator().manual_seed(2))
    rows = {"in": x, "out": y}
    made = untrained(rows, k=24)
    encoder, target = made.encoder["in"], y / made.scaler["out"].scale
    torch.testing.assert_close(made.decoder.bias.data, target.mean(0))
    tied = (target - target.mean(0)) @ made.decoder.weight.T
    read = made.encode_view(View(made.scaler(rows))).dense()
    factor = (tied * read).sum() / tied.square().sum()
    assert F.mse_loss(read, factor * tied) < 1e-5 * read.square().mean()
    # All of the latents are active: the scale is the best there is.
    error = made(rows).squared_error().mean()
    for change in (0.98, 1.02):
        with torch.no_grad():
            encoder.weight.mul_(change)
            encoder.bias.mul_(change)
            assert made(rows).squared_error().mean() > error
            encoder.weight.div_(change)
            encoder.bias.div_(change)


def test_the_control_starts_and_stays_at_its_target():
    source = pair()
    made = untrained(source, l0=5.0)
    active = (made.encode(source, code=True).z != 0).sum(1).float().mean()
    assert active == pytest.approx(5.0, abs=0.1)
    model = fitted(source, l0=5.0, steps=200)
    assert isthmus.evaluate(model, source)["l0"].value == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize(("width", "held"), [(24, 6.0), (200, 32.0)])
def test_where_nothing_is_said_a_sensible_number_is_active(width, held):
    made = untrained(latent_dim=width)
    assert made.bottleneck.control.target == held
    active = (made.encode(pair(), code=True).z != 0).sum(1).float().mean()
    assert active == pytest.approx(held, rel=0.05)
    assert untrained(latent_dim=width, sparsity=0.01).bottleneck.control is None


@pytest.mark.parametrize(
    ("options", "weighed"),
    [
        ({"l0": 4.0}, True), ({"sparsity": 0.1}, True), ({"k": 4}, False),
        ({"l0": 4.0, "skip": True}, False), ({"l0": 4.0, "activation": "jumprelu"}, False),
        ({"k": 4, "weighting": "rows"}, True), ({"l0": 4.0, "weighting": "none"}, False),
    ],
)  # fmt: skip
def test_rows_are_weighed_where_the_rest_is_the_authors(options, weighed):
    names = [term.name for term in untrained(**options).objective.terms]
    assert ("norm_weighted_mse" in names) == weighed
    assert ("mse" in names) != weighed


def test_a_target_of_zeros_is_no_infinity():
    source = pair()
    source["out"][:10] = 0.0
    model = fitted(source, k=4)
    assert all(np.isfinite(record["loss"]) for record in model.history)


def test_the_first_part_is_read_and_the_second_written():
    """Whatever they are called, and whatever their order where it is used."""
    source = pair()
    model = fitted(source, k=4)
    named = fitted({"z": source["in"], "a": source["out"]}, k=4)
    assert model.encoder["in"].weight.shape == (24, INPUTS)
    assert torch.equal(named.encoder["z"].weight, model.encoder["in"].weight)
    swapped = {"out": source["out"], "in": source["in"]}
    assert torch.equal(model.reconstruct(swapped), model.reconstruct(source))
    assert tuple(model.atoms().shape) == (24, TARGETS)
    assert tuple(model.read_rows()[0].shape) == (24, INPUTS)


def test_rows_of_a_single_part_are_their_own_target():
    rows = torch.cat(tuple(pair().values()), 1)
    own = fitted(rows, k=4)
    assert own.reconstruct(rows).shape == rows.shape
    assert own.target is None


BEFORE = Path(__file__).parent / "transcoder_before.npz"
"""Weights after 20 steps of the code before collections, whose rows were one concatenated vector.

Recorded with ``inputs=7`` on the rows below (seed 0, batches of 16, PyTorch 2.13).
"""


@pytest.mark.parametrize("options", [{"sparsity": 0.01}, {"k": 3}, {"l0": 3.0}], ids=str)
def test_it_ends_where_it_ended_before_collections(options):
    rng = np.random.default_rng(0)
    basis, weights = rng.normal(size=(3, 12)), rng.normal(size=(96, 3))
    rows = 0.1 * rng.normal(size=(96, 12))
    for i in range(3):
        rows = rows + weights[:, i : i + 1] * basis[i]
    rows = rows.astype(np.float32)
    model = fitted(
        {"in": rows[:, :7], "out": rows[:, 7:]}, dead_after=40, steps=20, batch_size=16, lr=4e-4,
        warmup=5, log_every=1, weighting="none", **options,
    )  # fmt: skip
    name = next(iter(options))
    with np.load(BEFORE) as before:
        own = {
            "encoder.weight": model.encoder["in"].weight,
            "encoder.bias": model.encoder["in"].bias,
            "decoder.weight": model.decoder.weight,
            "decoder.bias": model.decoder.bias,
            "scaler.scale": model.scaler["out"].scale,
        }
        for key, tensor in own.items():
            wanted = before[f"{name}/{key}"]
            far = np.abs(tensor.detach().numpy() - wanted).max() / np.abs(wanted).max()
            assert far < 1e-5, key
        # What the factor of the encoder did, a scaler of the part that is read does.
        factor = before[f"{name}/scaler.scale"] / before[f"{name}/encoder.factor"]
        assert float(model.scaler["in"].scale) == pytest.approx(float(factor), rel=1e-6)
        losses = [record["loss"] for record in model.history]
        np.testing.assert_allclose(losses, before[f"{name}/loss"], rtol=1e-5)


def test_the_width_is_that_of_the_input_many_times():
    recipe = get_recipe("transcoder")
    made = recipe.build(as_source(pair()).signal, recipe.parse({})[0])
    assert made.encoder["in"].weight.shape == (32 * INPUTS, INPUTS)
    assert made.decoder.weight.shape == (32 * INPUTS, TARGETS)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    source = pair(5.0, 0.1)
    model = fitted(source, l0=5.0, out=tmp_path / "run")
    loaded = isthmus.load(tmp_path / "run")
    for name in ("in", "out"):
        assert torch.equal(loaded.scaler[name].scale, model.scaler[name].scale)
    assert loaded.scaler["in"].scale != loaded.scaler["out"].scale
    assert torch.equal(loaded.reconstruct(source), model.reconstruct(source))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 3, "l0": 4.0}, "choose one"),
        ({"inputs": INPUTS}, "unknown option"),
        ({"k": 30}, "latent_dim=24"),
    ],
)
def test_what_cannot_work_is_said(options, said):
    with pytest.raises(IsthmusError, match=said):
        fitted(**options)


def test_a_part_that_does_not_fit_is_said():
    x = torch.randn(100, INPUTS)
    with pytest.raises(IsthmusError, match="of the part 'out', every value of the data is zero"):
        fitted({"in": x, "out": torch.zeros(100, TARGETS)})
    with pytest.raises(IsthmusError, match="reads one part and writes another"):
        fitted({"a": x, "b": x, "c": x})
    with pytest.raises(IsthmusError, match="lacks 'out'"):
        fitted(k=4).reconstruct({"in": x})


def test_from_the_command_line_to_a_page(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 20)
    data = f"lm:resident@layers.1.mlp:in,layers.1.mlp:out?text={text}&context=32"
    run = tmp_path / "run"
    said = CliRunner().invoke(
        app, ["fit", "transcoder", data, "latent_dim=24", "k=4", "steps=3", "-o", str(run)]
    )
    assert said.exit_code == 0, said.output
    said = CliRunner().invoke(app, ["report", str(run)])
    assert said.exit_code == 0, said.output
    page = (run / "report.html").read_text()
    assert 'id="chunk-0"' in page
    assert "loss_recovered_zero" in page
    said = CliRunner().invoke(app, ["steer", str(run), "It was", "--scale", "3:1", "--new", "3"])
    assert said.exit_code == 0, said.output
    assert "at layers.1.mlp of resident" in said.output
    latents = pq.read_table(run / "features" / "latents.parquet")
    assert latents.num_rows == 24
    model = isthmus.load(run)
    assert model.encoder["layers.1.mlp:in"].weight.shape == (24, 192)
    assert model.decoder.weight.shape == (24, 192)
