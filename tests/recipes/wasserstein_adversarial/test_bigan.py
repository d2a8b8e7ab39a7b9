import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import isthmus
from isthmus.anatomy import Autoencoder, Bernoulli, Clock, Gaussian, Part, Signal
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.wasserstein_adversarial.bigan import (
    JointAdversary,
    SwappedAdversary,
    UniformPrior,
    UnitBox,
)
from isthmus.training import Trainer, TrainingOptions
from isthmus.training.optimisers import learning_rate

SMALL = {"latent_dim": 3, "hidden": (16, 16)}


class LinearCritic(nn.Module):
    """Logits ``a·x + b·z``; remembers what it saw."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        self.seen.append((x.detach(), z.detach()))
        return x.flatten(1) @ self.a + z @ self.b


class MLPCritic(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.layers(torch.cat([x, z], 1)).squeeze(1)


def built(signal: Signal, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    recipe = get_recipe("bigan")
    chosen, _ = recipe.parse({**SMALL, **options})
    return recipe.build(signal, chosen)


@pytest.fixture
def linear() -> tuple[Autoencoder, LinearCritic]:
    critic = LinearCritic(torch.tensor([0.5, -1.0, 2.0, 0.1]), torch.tensor([1.0, -0.5]))
    model = built(
        Signal("vector", (4,)),
        latent_dim=2,
        encoder=nn.Linear(4, 2),
        decoder=nn.Linear(2, 4),
        critic=critic,
        scaling="none",
    )
    return model, critic


def test_terms_are_the_published_losses_of_a_fixed_critic(linear):
    model, critic = linear
    x = torch.randn(50, 4)
    out = model(x)
    losses = {}
    for term in (JointAdversary(), SwappedAdversary()):
        torch.manual_seed(7)
        losses[term.name] = term(model, out).detach().numpy()
    torch.manual_seed(7)
    z = 2 * torch.rand(50, 2).numpy() - 1
    E, G = model.encoder, model.decoder
    code = 2 / (1 + np.exp(-(x.numpy() @ E.weight.detach().numpy().T + E.bias.detach().numpy())))
    made = z @ G.weight.detach().numpy().T + G.bias.detach().numpy()
    a, b = critic.a.detach().numpy(), critic.b.detach().numpy()
    D_real = 1 / (1 + np.exp(-(x.numpy() @ a + (code - 1) @ b)))
    D_made = 1 / (1 + np.exp(-(made @ a + z @ b)))
    joint = -np.log(D_real) - np.log(1 - D_made)
    swapped = -np.log(1 - D_real) - np.log(D_made)
    np.testing.assert_allclose(losses["joint_adversary"], joint, rtol=2e-5)
    np.testing.assert_allclose(losses["swapped_adversary"], swapped, rtol=2e-5)


def test_terms_stay_finite_where_the_critic_is_sure(linear):
    model, critic = linear
    with torch.no_grad():
        critic.a.mul_(1e4)
    out = model(torch.randn(20, 4))
    for term in (JointAdversary(), SwappedAdversary()):
        assert torch.isfinite(term(model, out)).all()


def test_optimal_critic_pays_twice_log_two_minus_the_divergence():
    # x in {0, 1} with E(x) = x and p(x=1) = 3/4; z = ±1/2 fair coin with G(z) = (z > 0).
    # A critic of log p/q has E[joint] = 2 log 2 - 2 JSD(p, q).
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    logits = torch.tensor(np.log(p / q), dtype=torch.float32)

    class Coin:
        def __call__(self, n: int) -> Tensor:
            return torch.tensor([[0.0], [1.0]]).repeat(n // 2, 1)

    class Ratio(nn.Module):
        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return logits[x[:, 0].long()]

    model = built(
        Signal("vector", (1,)),
        latent_dim=1,
        prior="normal",
        encoder=nn.Identity(),
        decoder=nn.Identity(),
        critic=Ratio(),
        scaling="none",
    )
    model.prior = Coin()
    loss = JointAdversary()(model, model(torch.tensor([[0.0], [1.0], [1.0], [1.0]]))).mean()
    mix = (p + q) / 2
    divergence = 0.5 * (p * np.log(p / mix)).sum() + 0.5 * (q * np.log(q / mix)).sum()
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * divergence, rel=1e-6)


def test_first_loss_of_both_players_is_log_two():
    model = built(Signal("image", (1, 8, 8), "float32", 0.0, 1.0))
    out = model(torch.rand(16, 1, 8, 8))
    for player in model.objective.players:
        assert model.objective(model, out, player).total.item() == pytest.approx(math.log(2))


def test_each_step_gives_gradients_to_its_player_alone():
    X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    source = as_source(X)
    model = built(source.signal)
    steps: list[set[str]] = []

    class Recorder(Part):
        def before_update(self) -> None:
            steps.append({n for n, p in model.named_parameters() if p.grad is not None})

    model.bottleneck.recorder, model.critics["critic"].recorder = Recorder(), Recorder()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    Trainer(model, source, TrainingOptions(steps=3, batch_size=16, device="cpu")).run()
    names = set(before)
    critic = {n for n in names if n.startswith("critics.")}
    assert critic
    assert names > critic
    # At the first step the critic's last layer is zero: gradients reach the model, as zeros.
    assert steps == [names - critic, critic] * 3
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_training_never_decodes_the_code():
    # The running statistics of the generator must be of draws from the prior alone.
    model = built(Signal("vector", (6,)))
    calls = []
    model.decoder.register_forward_pre_hook(lambda _, args: calls.append(args[0]))
    out = model(torch.randn(8, 6))
    assert out.recon is None
    assert calls == []
    model.objective(model, out)
    assert len(calls) == 1
    assert not torch.equal(calls[0], out.code.z)


def test_uniform_prior_and_codes_share_their_box():
    z = UniformPrior(4)(20_000)
    assert z.shape == (20_000, 4)
    assert z.abs().max() <= 1
    # Mean 0 and variance 1/3, with standard errors of 0.0020 and 0.0011 over 80,000 draws.
    assert abs(z.mean().item()) < 0.01
    assert abs(z.var().item() - 1 / 3) < 0.006
    h = torch.tensor([[-50.0, -1.0, 0.0, 2.0, 50.0]])
    code = UnitBox()(h).z
    torch.testing.assert_close(code, 2 * torch.sigmoid(h) - 1)
    assert code.abs().max() <= 1


def test_critic_sees_examples_in_the_range_of_the_likelihood():
    critic = LinearCritic(torch.zeros(64), torch.zeros(3))
    unit = Signal("image", (1, 8, 8), "float32", 0.0, 1.0)
    model = built(unit, critic=critic)
    assert isinstance(model.likelihood, Bernoulli)
    with torch.no_grad():
        model.decoder.last.weight.mul_(1e3)
    JointAdversary()(model, model(torch.rand(8, 1, 8, 8)))
    (_, code), (made, z) = critic.seen
    assert made.shape == (8, 1, 8, 8)
    assert 0 <= made.min() < 0.05
    assert 0.95 < made.max() <= 1
    assert code.shape == z.shape == (8, 3)
    assert isinstance(built(Signal("vector", (5,))).likelihood, Gaussian)


def test_repeating_the_rows_leaves_the_mean_of_a_term_unchanged(linear):
    model, _ = linear
    x = torch.randn(10, 4)
    z = torch.rand(10, 2)

    class Fixed:
        def __call__(self, n: int) -> Tensor:
            return z.repeat(n // 10, 1)

    model.prior = Fixed()
    for term in (JointAdversary(), SwappedAdversary()):
        once, twice = term(model, model(x)), term(model, model(x.repeat(2, 1)))
        assert once.shape == (10,)
        assert twice.shape == (20,)
        assert once.mean().item() == pytest.approx(twice.mean().item(), rel=1e-6)


def test_published_rate_holds_for_half_of_the_run_and_falls_to_a_hundredth():
    _, training = get_recipe("bigan").parse({})
    at = learning_rate(training, 1000)
    rates = [at(Clock(step, 1000)) for step in (0, 499, 500, 750, 1000)]
    assert rates == pytest.approx([2e-4, 2e-4, 2e-4, 2e-5, 2e-6])
    assert (training.epochs, training.batch_size, training.weight_decay) == (400, 128, 2.5e-5)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("side", [8, 28])
def test_images_train_encode_and_sample(network, side):
    X = np.random.default_rng(0).random((24, 1, side, side), dtype=np.float32)
    options = {**SMALL, "hidden": (32,)} if network == "mlp" else {"latent_dim": 3}
    model = isthmus.fit(
        "bigan", X, network=network, steps=2, batch_size=8, device="cpu", progress=False, **options
    )
    Z = model.encode(X)
    assert Z.shape == (24, 3)
    assert np.abs(Z).max() <= 1
    np.testing.assert_array_equal(Z, model.encode(X))
    assert model.reconstruct(X).shape == X.shape
    assert model.score(X).shape == (24,)
    drawn = model.sample(5)
    assert drawn.shape == (5, 1, side, side)
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_vectors_train_and_the_saved_model_is_the_same(tmp_path):
    X = 100 + 5 * np.random.default_rng(0).normal(size=(500, 20))
    model = isthmus.fit(
        "bigan", X, steps=3, device="cpu", progress=False, out=tmp_path / "run", **SMALL
    )
    again = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(model.encode(X), again.encode(X))
    # Samples are in the user's units.
    assert abs(model.sample(200).mean().item() - 100) < 20


def test_no_hidden_layer_is_refused():
    with pytest.raises(IsthmusError, match="hidden"):
        built(Signal("vector", (6,)), hidden=())


def test_linear_encoder_learns_to_invert_a_linear_generator():
    # No term compares x with G(E(x)); random pairs of draws are as far apart as the data are wide.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 2)) @ np.array([[1.5, -0.3], [0.5, 0.6]])
    torch.manual_seed(0)
    model = isthmus.fit(
        "bigan",
        X.astype(np.float32),
        latent_dim=2,
        prior="normal",
        encoder=nn.Linear(2, 2),
        decoder=nn.Linear(2, 2),
        critic=MLPCritic(4),
        scaling="none",
        steps=500,
        batch_size=64,
        lr=2e-3,
        device="cpu",
        progress=False,
    )
    R = model.reconstruct(X.astype(np.float32))
    error = np.linalg.norm(X - R, axis=1).mean()
    shuffled = np.linalg.norm(X - np.roll(R, 1, axis=0), axis=1).mean()
    assert error < 0.4 * shuffled
