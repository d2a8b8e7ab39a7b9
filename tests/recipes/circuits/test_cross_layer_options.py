"""Choice by values alone, and constants of latents that are on: options of clt-training's files."""

import pytest
import torch

import isthmus
from isthmus.anatomy import norms
from isthmus.kernels import using

LAYERS, READ, WRITTEN, OWN, K = 3, 6, 5, 24, 4


def rows(count=200):
    draw = torch.Generator().manual_seed(0)
    x, found = torch.randn(count, READ, generator=draw), {}
    for layer in range(LAYERS):
        y = torch.relu(x @ torch.randn(READ, WRITTEN, generator=draw)) - 0.5
        found[f"{layer}:in"], found[f"{layer}:out"] = x, y
        x = x + 0.3 * torch.randn(count, READ, generator=draw)
    return found


def fitted(**options):
    options = {"latent_dim": OWN, "steps": 20, "batch_size": 100, "lr": 1e-2, "seed": 1, **options}
    return isthmus.fit("cross-layer-transcoder", rows(), progress=False, **options)


def pre_activations(model, x):
    """By layer, ``(rows, latents)``, of scaled rows."""
    parts = []
    for layer in range(LAYERS):
        encoder = model.encoder[f"{layer}:in"]
        parts.append(
            model.scaler[f"{layer}:in"](x[f"{layer}:in"]) @ encoder.weight.T + encoder.bias
        )
    return parts


@pytest.mark.parametrize("select", ["row", "layers", "batch", "batch-layers"])
def test_latents_are_compared_by_values_alone_where_asked(select):
    model, x = fitted(k=K, select=select, weigh=False), rows()
    u = pre_activations(model, x)
    z = model.encode(x)
    match select:
        case "row":
            kept = [p >= p.topk(K, dim=1).values[:, -1:] for p in u]
            expected = torch.cat([p.relu() * k for p, k in zip(u, kept, strict=True)], 1)
        case "layers":
            whole = torch.cat(u, 1)
            least = whole.topk(K * LAYERS, dim=1).values[:, -1:]
            expected = whole.relu() * (whole >= least)
        case _:
            theta = model.bottleneck.threshold.float().expand(LAYERS)
            expected = torch.cat([p * (p > t) for p, t in zip(u, theta, strict=True)], 1)
    torch.testing.assert_close(z, expected.detach(), rtol=1e-5, atol=1e-5)
    weighed = fitted(k=K, select=select)
    assert not torch.equal(weighed.encode(x) != 0, z != 0)
    assert float(norms(model).detach().std()) > 0.0


@pytest.mark.parametrize("options", [{"k": K, "select": "row"}, {"activation": "relu"}])
@pytest.mark.parametrize("skip", [False, True])
def test_latents_that_are_on_write_a_constant_and_all_inputs_so_far_skip(options, skip, tmp_path):
    model, x = fitted(onset=True, skip=skip, **options), rows()
    z, y = model.encode(x), model.reconstruct(x)
    read = [model.scaler[f"{layer}:in"](x[f"{layer}:in"]) for layer in range(LAYERS)]
    for layer in range(LAYERS):
        name, part = f"{layer}:out", model.decoder[f"{layer}:out"]
        assert part.onset.shape == (OWN * (layer + 1),)
        assert float(part.onset.detach().abs().max()) > 0.0
        own = z[:, : part.reach]
        expected = (own + part.onset * (own != 0)) @ part.weight + part.bias
        if skip:
            assert part.skip_weight.shape == (WRITTEN, READ * (layer + 1))
            assert (part.skip_weight.detach().abs().max(0).values > 0).all()
            expected = expected + torch.cat(read[: layer + 1], 1) @ part.skip_weight.T
        expected = model.scaler[name].inverse(expected).detach()
        torch.testing.assert_close(y[name], expected, rtol=1e-4, atol=1e-4)
    isthmus.save(model, tmp_path / "saved")
    again = isthmus.load(tmp_path / "saved").reconstruct(x)
    assert all(torch.equal(again[name], y[name]) for name in y)


def test_values_alone_are_an_option_of_k():
    with pytest.raises(isthmus.IsthmusError, match="k is not given"):
        fitted(weigh=False, steps=2)


@pytest.mark.parametrize("select", ["row", "batch"])
def test_training_with_constants_is_alike_on_all_paths(select):
    """Atoms take part twice, for a latent's size and for its constant: no gradient is lost."""
    trained = {}
    for path in ("reference", "auto"):
        with using(path):
            model = fitted(k=K, select=select, onset=True, skip=True, steps=5)
        trained[path] = {n: p.detach() for n, p in model.named_parameters()}
    for name, reference in trained["reference"].items():
        torch.testing.assert_close(trained["auto"][name], reference, rtol=1e-3, atol=1e-4)
