"""MIWAE, CIWAE, PIWAE: what they are special cases of, and what each network climbs."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import isthmus
from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.objectives.importance import AveragedBound, Combination, ImportanceWeightedBound
from isthmus.recipes import get_recipe
from isthmus.recipes.variational.tighter_bounds import ciwae, miwae, piwae

VECTOR = Signal("vector", (5,))
NAMES = ("miwae", "ciwae", "piwae")
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(200, 2)) @ RNG.normal(size=(2, 5))).astype(np.float32)


def small(make, **options):
    torch.manual_seed(0)
    return make(VECTOR, latent_dim=3, hidden=(6,), **options).double()


def gradients(model, term=None):
    """Loss and gradients by name, from draws that depend on the seed alone."""
    torch.manual_seed(1)
    model.zero_grad()
    out = model(torch.from_numpy(X[:8]).double())
    if term is None:
        loss = model.objective(model, out).total
    else:
        out.params = model.decode_code(out.code)
        loss = term(model, out).mean()
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("make", [miwae, piwae])
def test_one_group_is_the_iwae(make):
    model = small(make, bounds=1, samples=6)
    assert_same(gradients(model), gradients(model, ImportanceWeightedBound()))


def test_groups_of_one_draw_are_the_vae():
    model = small(miwae, bounds=6, samples=1)
    assert_same(gradients(model), gradients(model, AveragedBound()))


def test_ciwae_lies_between_the_two_by_beta():
    model = small(ciwae, samples=6, beta=0.25)
    loss, found = gradients(model)
    elbo, low = gradients(model, AveragedBound())
    iwae, high = gradients(model, ImportanceWeightedBound())
    torch.testing.assert_close(loss, 0.25 * elbo + 0.75 * iwae)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, 0.25 * low[name] + 0.75 * high[name])


def test_piwae_gives_each_network_the_gradient_of_its_own_objective():
    """Each objective computed by itself, from the same draws, with torch.distributions."""
    model = small(piwae, bounds=3, samples=4)
    loss, found = gradients(model)
    x = torch.from_numpy(X[:8]).double()
    torch.manual_seed(1)
    mean, logvar = model.encoder(x).chunk(2, 1)
    z = mean + torch.randn(12, *mean.shape).double() * (0.5 * logvar).exp()
    logs = (
        Normal(model.decoder(z.flatten(0, 1)).unflatten(0, (12, 8)), 1.0).log_prob(x).sum(-1)
        + Normal(0.0, 1.0).log_prob(z).sum(-1)
        - Normal(mean, (0.5 * logvar).exp()).log_prob(z).sum(-1)
    )
    tight = -(logs.exp().mean(0).log()).mean()
    loose = -(logs.view(3, 4, 8).exp().mean(1).log()).mean()
    torch.testing.assert_close(loss, tight)
    assert loose > tight
    for objective, part in ((tight, "decoder"), (loose, "encoder")):
        own = {n: p for n, p in model.named_parameters() if n.startswith(part)}
        wanted = torch.autograd.grad(objective, list(own.values()), retain_graph=True)
        for name, gradient in zip(own, wanted, strict=True):
            torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10)
    theirs = torch.autograd.grad(tight, list(model.encoder.parameters()))
    assert not torch.allclose(theirs[0], found[next(iter(own))], rtol=1e-3)


@pytest.mark.parametrize("name", [*NAMES, "iwae"])
def test_doubly_changes_the_encoders_gradient_alone(name):
    recipe = get_recipe(name)
    options = {"latent_dim": 3, "hidden": (6,), "samples": 4}
    models = []
    for doubly in (False, True):
        torch.manual_seed(0)
        chosen = recipe.parse({**options, "doubly": doubly})[0]
        models.append(gradients(recipe.build(VECTOR, chosen).double()))
    (loss, plain), (same, doubly) = models
    torch.testing.assert_close(loss, same)
    for part, gradient in plain.items():
        equal = torch.allclose(gradient, doubly[part], rtol=1e-6, atol=1e-9)
        assert equal == part.startswith("decoder"), part


def test_published_defaults():
    for name in NAMES:
        options, training = get_recipe(name).parse({})
        assert training == get_recipe("iwae").parse({})[1]
        draws = options["samples"] * options.get("bounds", 1)
        assert (draws, options["latent_dim"], options["hidden"]) == (64, 50, (200, 200))
    assert get_recipe("ciwae").parse({})[0]["beta"] == 0.5


def combination(model):
    (found,) = (m for m in model.modules() if isinstance(m, Combination))
    return found


def test_a_learnt_beta_falls_and_a_fixed_one_stays():
    fits = {
        learnt: isthmus.fit(
            "ciwae", X, latent_dim=2, hidden=(8,), samples=5, learn_beta=learnt, beta=0.6,
            steps=60, lr=1e-2, lr_schedule="constant", progress=False,
        )
        for learnt in (True, False)
    }  # fmt: skip
    beta = combination(fits[True]).beta()
    assert 0.0 < beta.item() < 0.55
    assert combination(fits[False]).beta() == 0.6
    assert [n for n in fits[True].state_dict() if "logit" in n]
    assert not [n for n in fits[False].state_dict() if "logit" in n]
    assert Combination(0.3, learnt=True).beta().item() == pytest.approx(0.3)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_beta_at_either_end_has_a_recipe_of_its_own(beta):
    with pytest.raises(IsthmusError, match="beta"):
        get_recipe("ciwae").parse({"beta": beta})
