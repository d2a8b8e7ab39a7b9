"""TopK: exactly k atoms, AuxK for dead latents, unit rows."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, SparseCode
from isthmus.bottlenecks import geometric_median
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def model(latent_dim=24, k=4, **options):
    options = {"latent_dim": latent_dim, "k": k, **options}
    return isthmus.fit("topk", X, **options, steps=20, batch_size=50, progress=False)


def untrained(**options):
    recipe = get_recipe("topk")
    from isthmus.data import as_source

    torch.manual_seed(0)
    made = recipe.build(as_source(X).signal, recipe.parse(options)[0])
    with torch.no_grad():
        made.prepare(torch.from_numpy(X))
    return made


def test_codes_have_k_entries_and_decode_as_in_numpy():
    fitted = model()
    code = fitted.encode(X, code=True)
    assert isinstance(code, SparseCode)
    assert code.values.shape == (300, 4)
    w = {n: p.detach().double().numpy() for n, p in fitted.named_parameters()}
    x = X / fitted.scaler.scale.item()
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    kth = np.sort(u, 1)[:, -4][:, None]
    z = np.where(u >= kth, np.maximum(u, 0.0), 0.0)
    np.testing.assert_allclose(code.z.numpy(), z, atol=1e-5)
    recon = (z @ w["decoder.weight"] + w["decoder.bias"]) * fitted.scaler.scale.item()
    np.testing.assert_allclose(fitted.reconstruct(X), recon, atol=1e-4)
    np.testing.assert_allclose(fitted.decode(z.astype(np.float32)), recon, atol=1e-4)


def test_it_starts_tied_at_the_geometric_median_of_scaled_data():
    made = untrained(latent_dim=24, k=4)
    assert torch.equal(made.encoder.weight, made.decoder.weight)
    scaled = made.scaler(torch.from_numpy(X))
    assert scaled.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(made.decoder.bias.data, geometric_median(scaled))


@pytest.mark.parametrize("average", [None, 0.9, 0.999])
def test_rows_of_the_decoder_have_norm_one_after_training(average):
    """With a weight average too: the mean of unit rows is shorter than one."""
    fitted = isthmus.fit(
        "topk", X, latent_dim=24, k=4, steps=150, lr=2e-2, batch_size=50, average=average,
        progress=False,
    )  # fmt: skip
    torch.testing.assert_close(fitted.decoder.weight.norm(dim=1), torch.ones(24), atol=1e-5, rtol=0)


def forced(made, alive):
    """The model in training, its latents dead but for those in ``alive``."""
    made.train()
    with torch.no_grad():
        # Latents beyond ``alive`` are pushed below all others, and yet above zero.
        made.encoder.bias.fill_(0.5)
        made.encoder.bias[alive] = 50.0
    counter = made.bottleneck.counter
    counter.silent_rows.fill_(10**9)
    out = made(torch.from_numpy(X[:50]), Clock(5, 10, 50))
    dead = counter.dead(out.clock)
    expected = torch.ones(len(dead), dtype=torch.bool)
    expected[alive] = False
    assert torch.equal(dead, expected)
    return out, dead


def auxk(made):
    return next(part.term for part in made.objective if part.term.name == "auxk")


def test_auxk_reaches_rows_of_dead_latents_only():
    made = untrained(latent_dim=24, k=4, k_aux=6)
    out, dead = forced(made, [1, 5, 9, 13])
    auxk(made)(made, out).mean().backward()
    rows = {
        "encoder.weight": made.encoder.weight.grad.abs().sum(1),
        "encoder.bias": made.encoder.bias.grad.abs(),
        "decoder.weight": made.decoder.weight.grad.abs().sum(1),
    }
    for name, size in rows.items():
        assert size[~dead].max() == 0, name
        assert size[dead].max() > 0, name


def test_auxk_is_what_the_paper_says():
    made = untrained(latent_dim=24, k=4, k_aux=6)
    out, dead = forced(made, [1, 5, 9, 13])
    u = out.code.preactivations.dense().detach().double().numpy()
    u[:, ~dead.numpy()] = -np.inf
    kth = np.sort(u, 1)[:, -6][:, None]
    z = np.where(u >= kth, np.maximum(u, 0.0), 0.0)
    error = (out.target - out.recon).detach().double().numpy()
    left = error - z @ made.decoder.weight.detach().double().numpy()
    got = auxk(made)(made, out).detach().numpy()
    np.testing.assert_allclose(got, (left**2).mean(1), rtol=1e-4)


def test_auxk_holds_the_error_fixed():
    """The gradient to the decoder's bias comes through the encoder's input alone."""
    made = untrained(latent_dim=24, k=4, k_aux=6)
    out, _ = forced(made, [1, 5, 9, 13])
    (grad,) = torch.autograd.grad(auxk(made)(made, out).sum(), out.recon, allow_unused=True)
    assert grad is None


def test_without_dead_latents_auxk_is_zero():
    made = untrained(latent_dim=24, k=4)
    made.train()
    out = made(torch.from_numpy(X[:50]), Clock(0, 1000, 50))
    assert auxk(made)(made, out).tolist() == [0.0] * 50


def test_fewer_dead_latents_than_k_aux():
    made = untrained(latent_dim=5, k=4, k_aux=5)
    out, dead = forced(made, [0, 1, 2, 3])
    assert int(dead.sum()) == 1
    assert bool(torch.isfinite(auxk(made)(made, out)).all())


def test_following_auxk_dead_latents_come_to_explain_the_residual():
    made = untrained(latent_dim=24, k=4, k_aux=6)
    out, _ = forced(made, [1, 5, 9, 13])
    left = (out.target - out.recon).detach().square().mean().item()
    weights = [made.encoder.weight, made.encoder.bias, made.decoder.weight]
    optimiser = torch.optim.Adam(weights, lr=3e-2)
    for _ in range(150):
        out, _ = forced(made, [1, 5, 9, 13])
        loss = auxk(made)(made, out).mean()
        optimiser.zero_grad()
        loss.backward()
        made.decoder.before_update()
        optimiser.step()
        made.decoder.after_update()
    assert loss.item() < 0.7 * left


def test_more_active_latents_than_latents_is_an_error():
    with pytest.raises(IsthmusError, match="k=9 is more than latent_dim=8"):
        model(latent_dim=8, k=9)


def test_only_training_counts_who_fires():
    fitted = model()
    before = fitted.bottleneck.counter.silent_rows.clone()
    fitted.encode(X)
    fitted.score(X)
    fitted(torch.from_numpy(X))  # in evaluation mode
    assert torch.equal(fitted.bottleneck.counter.silent_rows, before)
    assert before.min() == 0
