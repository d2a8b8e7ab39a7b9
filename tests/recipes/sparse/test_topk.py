"""TopK: exactly k atoms, AuxK for dead latents, unit rows, Multi-TopK and a falling k."""

import numpy as np
import pytest
import torch

import isthmus
import isthmus.training
import zoo
from isthmus.anatomy import Clock, Signal, SparseCode
from isthmus.bottlenecks.dictionary_start import geometric_median
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes import get_recipe
from steps import step_forward

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
    scaled = made.scaler(torch.from_numpy(X))
    factor = made.encoder.weight.norm() / made.decoder.weight.norm()
    torch.testing.assert_close(made.encoder.weight, factor * made.decoder.weight)
    made.eval()
    error = made(torch.from_numpy(X)).squared_error().mean().item()
    for change in (0.98, 1.02):
        with torch.no_grad():
            made.encoder.weight.mul_(change)
            assert made(torch.from_numpy(X)).squared_error().mean().item() > error
            made.encoder.weight.div_(change)
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
    out = step_forward(made, torch.from_numpy(X[:50]), Clock(5, 10, 50))
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


@pytest.mark.parametrize(("k_aux", "share"), [(6, 1.0), (22, 20 / 22)])
def test_auxk_is_what_the_authors_code_has(k_aux, share):
    """Over the residual's own size, and less where fewer than k_aux latents are dead."""
    made = untrained(latent_dim=24, k=4, k_aux=k_aux)
    out, dead = forced(made, [1, 5, 9, 13])
    assert int(dead.sum()) == 20
    u = out.code.preactivations.dense().detach().double().numpy()
    u[:, ~dead.numpy()] = -np.inf
    kth = np.sort(u, 1)[:, -min(k_aux, 20)][:, None]
    z = np.where(u >= kth, np.maximum(u, 0.0), 0.0)
    error = (out.target - out.recon).detach().double().numpy()
    left = error - z @ made.decoder.weight.detach().double().numpy()
    got = auxk(made)(made, out).detach().numpy()
    np.testing.assert_allclose(got, share * (left**2).mean(1) / (error**2).mean(), rtol=1e-4)


def test_auxk_holds_the_error_fixed():
    """The gradient to the decoder's bias comes through the encoder's input alone."""
    made = untrained(latent_dim=24, k=4, k_aux=6)
    out, _ = forced(made, [1, 5, 9, 13])
    (grad,) = torch.autograd.grad(auxk(made)(made, out).sum(), out.recon, allow_unused=True)
    assert grad is None


def test_without_dead_latents_auxk_is_zero():
    made = untrained(latent_dim=24, k=4)
    made.train()
    out = step_forward(made, torch.from_numpy(X[:50]), Clock(0, 1000, 50))
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


# --- values and gradients, AuxK and Multi-TopK included ----------------------------------------

WIDE = {"latent_dim": 640, "k": 2, "k_aux": 3, "multi_weight": 0.125}
BATCH, LONG = torch.from_numpy(X[:50]), Clock(5, 1000, 50)


def with_dead(**options):
    """A model in training, half of whose latents are dead, and which these are."""
    made = untrained(**{**WIDE, **options})
    made.train()
    dead = torch.arange(640) % 2 == 1
    with torch.no_grad():
        made.encoder.bias.copy_(torch.where(dead, -1.5, 0.3))  # some dead ones are positive
        made.bottleneck.counter.silent_rows.copy_(torch.where(dead, 10**9, 0))
    return made, dead


def losses_of(made, x=BATCH):
    return made.objective(made, step_forward(made, x, LONG))


def strongest(u, k):
    cut = u.detach().sort(1).values[:, -k][:, None]
    return torch.where(u.detach() >= cut, u, 0.0).clamp_min(0.0)


def plain_loss(w, x, dead):
    """All three terms in a few lines of dense PyTorch."""
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    recon = {k: strongest(u, k) @ w["decoder.weight"] + w["decoder.bias"] for k in (2, 8)}
    rest = strongest(u[:, dead], 3) @ w["decoder.weight"][dead]
    error = (x - recon[2]).detach()
    aux = (error - rest) ** 2 / error.square().mean()
    squares = (x - recon[2]) ** 2 + (x - recon[8]) ** 2 / 8 + aux / 32
    return squares.mean()


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_loss_and_gradients_are_those_of_the_dense_formula(path):
    made, dead = with_dead()
    with using(path):
        losses = losses_of(made)
        losses.total.backward()
    assert set(losses.terms) == {"mse", "auxk", "multi_topk"}
    w = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    expected = plain_loss(w, made.scaler(BATCH).double(), dead)
    expected.backward()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=2e-4, atol=2e-6, msg=name
        )


def slope(made, parameter, place, term):
    """The central difference of one term in one weight."""
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            parameter[place] += step
        values.append(losses_of(made, BATCH.double()).terms[term].item())
    with torch.no_grad():
        parameter[place] += 1e-6
    return (values[0] - values[1]) / 2e-6


@pytest.mark.parametrize(("term", "which"), [("multi_topk", "alive"), ("auxk", "dead")])
def test_gradients_reach_the_encoder_as_finite_differences_say(term, which):
    """Of latents that only this term uses: another's gradient cannot stand in for it."""
    made, dead = with_dead()
    made.double()
    losses = step_forward(made, BATCH.double(), LONG)
    part = next(p.term for p in made.objective if p.term.name == term)
    part(made, losses).mean().backward()
    weight = made.encoder.weight
    sizes = weight.grad.abs().sum(1)
    assert sizes[dead if term == "multi_topk" else ~dead].max() == 0
    unused = torch.ones(640, dtype=torch.bool)
    unused[losses.code.indices.flatten()] = False  # not among the k of any row
    latents = (sizes * unused * (dead if which == "dead" else ~dead)).topk(3).indices.tolist()
    for latent in latents:
        assert sizes[latent] > 0
        got = weight.grad[latent, 2].item()
        assert got == pytest.approx(slope(made, weight, (latent, 2), term), rel=1e-4, abs=1e-9)


def test_multi_topk_is_for_training_only():
    fitted = model(multi_weight=0.125)
    assert type(fitted.encode(X, code=True)) is SparseCode
    assert fitted.encode(X, code=True).values.shape == (300, 4)
    plain = model()
    assert zoo.sha(plain) != zoo.sha(fitted)


def test_multi_topk_rebuilds_better_at_four_times_k():
    """Trained at k = 2 alone, further latents spoil the reconstruction."""
    error = {}
    for weight in (0.0, 0.125):
        fitted = isthmus.fit(
            "topk", X, latent_dim=64, k=2, multi_weight=weight, steps=200, lr=3e-3, batch_size=50,
            progress=False,
        )  # fmt: skip
        fitted.bottleneck.k = 8
        error[weight] = -fitted.score(X).mean()
    assert error[0.125] < 0.7 * error[0.0]


# --- a falling k ------------------------------------------------------------------------------


class Stop(isthmus.training.Callback):
    def __init__(self, after):
        self.after = after

    def on_step(self, trainer, step):
        if step == self.after:
            raise RuntimeError("killed")


@pytest.mark.parametrize("after", [3, 7, 30])
def test_resumed_while_k_falls_the_weights_are_the_same(tmp_path, after):
    options = {
        "latent_dim": 24, "k": 2, "k_start": 20, "multi_weight": 0.125, "steps": 60,
        "batch_size": 50, "progress": False, "save_every": 2,
    }  # fmt: skip
    whole = isthmus.fit("topk", X, **options)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("topk", X, out=tmp_path / "run", callbacks=[Stop(after)], **options)
    assert zoo.sha(isthmus.resume(tmp_path / "run", X, progress=False)) == zoo.sha(whole)
    assert zoo.sha(isthmus.fit("topk", X, **{**options, "k_start": None})) != zoo.sha(whole)
    assert whole.encode(X, code=True).values.shape == (300, 2)


def test_a_start_above_the_number_of_latents_is_an_error():
    with pytest.raises(IsthmusError, match="k_start=30 is more than latent_dim=24"):
        model(k_start=30)


@pytest.mark.parametrize("recipe", ["topk", "llama-scope"])
def test_a_start_below_the_end_is_an_error(recipe):
    signal = Signal.infer(X)
    page = get_recipe(recipe)
    with pytest.raises(IsthmusError, match=r"k_start=2 is less than k=4.*: choose a k_start of 4"):
        page.build(signal, page.parse({"latent_dim": 24, "k": 4, "k_start": 2})[0])
    same = page.build(signal, page.parse({"latent_dim": 24, "k": 4, "k_start": 4})[0])
    assert same.bottleneck.k == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": 5}, "budgets=5 is more than k=4 numbers of latents: choose 4"),
        ({"archetypal": float("inf")}, "archetypal=inf bounds nothing"),
    ],
)
def test_options_that_mean_nothing(options, message):
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    with pytest.raises(IsthmusError, match=message):
        isthmus.fit("topk", X, latent_dim=12, k=4, steps=2, progress=False, **options)


def test_k_may_be_set_to_what_there_is():
    fitted = model()
    fitted.bottleneck.k = np.int64(24)
    assert fitted.encode(X, code=True).values.shape == (300, 24)
    for k in (25, 0, -1, 2.0, True, None):
        with pytest.raises(IsthmusError, match=f"k={k} is no number .* from 1 to 24"):
            fitted.bottleneck.k = k
    assert fitted.bottleneck.k == 24


@pytest.mark.parametrize("options", [{"grouped": True}, {"threshold": True}])
def test_k_of_its_variants_is_checked_too(options):
    with pytest.raises(IsthmusError, match="from 1 to 24"):
        model(**options).bottleneck.k = 25
