"""The transcoder: reads one point and writes another, errors are those of what it writes."""

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import isthmus
from isthmus.anatomy import Signal
from isthmus.cli import app
from isthmus.errors import IsthmusError
from isthmus.evaluation import fvu
from isthmus.recipes import get_recipe

INPUTS, TARGETS = 6, 4


class Pair:
    """Rows of two points side by side."""

    def __init__(self, x, y):
        self.data = torch.cat((x, y), 1)
        parts = {"in": Signal("vector", (x.shape[1],)), "out": Signal("vector", (y.shape[1],))}
        self.signal = Signal("vector", (self.data.shape[1],), parts=parts)

    def __len__(self):
        return len(self.data)

    def rows(self, index):
        return self.data[index]


def pair(times_in=1.0, times_out=1.0):
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.randn(1000, INPUTS, generator=generator)
    y = torch.relu(x @ torch.randn(INPUTS, TARGETS, generator=generator)) - 1.0
    return Pair(times_in * x, times_out * y)


def fitted(source=None, **options):
    options = {"latent_dim": 24, "steps": 30, "batch_size": 100, "warmup": 0, **options}
    source = pair() if source is None else source
    return isthmus.fit("transcoder", source, **options, progress=False)


def untrained(source=None, **options):
    source, recipe = pair() if source is None else source, get_recipe("transcoder")
    torch.manual_seed(0)
    made = recipe.build(source.signal, recipe.parse({"latent_dim": 24, **options})[0])
    with torch.no_grad():
        made.prepare(source.data)
    return made


def test_loss_and_gradients_are_those_of_the_formula():
    made = untrained(sparsity=0.1).train()
    rows = pair().data[:50]
    out = made(rows)
    made.objective(made, out, "model").total.backward()

    x, y = rows[:, :INPUTS], rows[:, INPUTS:]
    whole_x, whole_y = pair().data.split([INPUTS, TARGETS], 1)
    x = x / whole_x.square().mean().sqrt()
    y = y / whole_y.square().mean().sqrt()
    weights = {n: p.detach().clone().requires_grad_() for n, p in made.named_parameters()}
    z = torch.relu(x @ weights["encoder.weight"].T + weights["encoder.bias"])
    recon = z @ weights["decoder.weight"] + weights["decoder.bias"]
    loss = ((y - recon).square().mean(1) + 0.1 * z.sum(1)).mean()
    loss.backward()
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.code.z, z, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{"l0": 5.0}, {"k": 4}, {"sparsity": 0.01}], ids=str)
def test_measures_are_those_of_the_second_part_in_its_own_units(options):
    source, model = pair(3.0, 0.01), fitted(pair(3.0, 0.01), **options)
    target = source.data[:, INPUTS:]
    recon = model.reconstruct(source.data)
    assert recon.shape == target.shape
    found = isthmus.evaluate(model, source)
    assert found["fvu"].value == pytest.approx(fvu(target, recon).value, rel=1e-4)
    error = (recon - target).square().mean(1) / model.scaler.scale.square()
    torch.testing.assert_close(-model.score(source.data), error, atol=1e-6, rtol=1e-3)
    assert found["fvu"].value < 0.7


@pytest.mark.parametrize("options", [{"l0": 5.0}, {"k": 4}, {}], ids=str)
@pytest.mark.parametrize("scaling", ["global", "norm"])
def test_the_size_of_neither_point_matters(options, scaling):
    one, other = pair(), pair(1024.0, 2.0**-10)
    models = [fitted(source, scaling=scaling, **options) for source in (one, other)]
    codes = [m.encode(s.data, code=True).z for m, s in zip(models, (one, other), strict=True)]
    torch.testing.assert_close(codes[0], codes[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        models[0].reconstruct(one.data), models[1].reconstruct(other.data) * 1024.0
    )


def test_it_starts_by_reading_the_best_linear_prediction():
    """On a linear module its first pre-activations are those of a tied dictionary on the output."""
    x = torch.randn(1000, INPUTS, generator=torch.Generator().manual_seed(1))
    y = x @ torch.randn(INPUTS, TARGETS, generator=torch.Generator().manual_seed(2))
    made = untrained(Pair(x, y), k=24)
    target = y / made.scaler.scale
    torch.testing.assert_close(made.decoder.bias.data, target.mean(0))
    tied = (target - target.mean(0)) @ made.decoder.weight.T
    read = made.encoder(made.scaler(torch.cat((x, y), 1))).dense()
    factor = (tied * read).sum() / tied.square().sum()
    assert F.mse_loss(read, factor * tied) < 1e-5 * read.square().mean()
    # All of the latents are active: the scale is the best there is.
    error = made(torch.cat((x, y), 1)).squared_error().mean()
    for change in (0.98, 1.02):
        with torch.no_grad():
            made.encoder.weight.mul_(change)
            made.encoder.bias.mul_(change)
            assert made(torch.cat((x, y), 1)).squared_error().mean() > error
            made.encoder.weight.div_(change)
            made.encoder.bias.div_(change)


def test_the_control_starts_and_stays_at_its_target():
    source = pair()
    made = untrained(source, l0=5.0)
    active = (made.encode(source.data, code=True).z != 0).sum(1).float().mean()
    assert active == pytest.approx(5.0, abs=0.1)
    model = fitted(source, l0=5.0, steps=200)
    assert isthmus.evaluate(model, source)["l0"].value == pytest.approx(5.0, abs=0.5)


def test_rows_of_a_single_part_divide_by_inputs_or_are_their_own_target():
    source = pair()
    by_parts, by_number = fitted(source, k=4), fitted(source.data, k=4, inputs=INPUTS)
    assert by_parts.encoder.weight.shape == (24, INPUTS)
    torch.testing.assert_close(
        by_parts.reconstruct(source.data), by_number.reconstruct(source.data)
    )
    own = fitted(source.data, k=4)
    assert own.reconstruct(source.data).shape == source.data.shape
    assert own.target is None


def test_the_width_is_that_of_the_input_many_times():
    recipe = get_recipe("transcoder")
    made = recipe.build(pair().signal, recipe.parse({})[0])
    assert made.encoder.weight.shape == (32 * INPUTS, INPUTS)
    assert made.decoder.weight.shape == (32 * INPUTS, TARGETS)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    source = pair(5.0, 0.1)
    model = fitted(source, l0=5.0, out=tmp_path / "run")
    loaded = isthmus.load(tmp_path / "run")
    assert torch.equal(loaded.encoder.factor, model.encoder.factor)
    assert loaded.encoder.factor != 1.0
    assert torch.equal(loaded.reconstruct(source.data), model.reconstruct(source.data))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scaling": "columns"}, "scaling=global"),
        ({"k": 3, "l0": 4.0}, "choose one"),
        ({"inputs": INPUTS + TARGETS}, "leaves no target"),
        ({"k": 30}, "latent_dim=24"),
    ],
)
def test_what_cannot_work_is_said(options, said):
    with pytest.raises(IsthmusError, match=said):
        fitted(**options)


def test_a_point_of_zeros_is_said():
    x = torch.randn(100, INPUTS)
    with pytest.raises(IsthmusError, match="targets is zero"):
        fitted(Pair(x, torch.zeros(100, TARGETS)))


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
    assert model.encoder.weight.shape == model.decoder.weight.shape == (24, 192)
