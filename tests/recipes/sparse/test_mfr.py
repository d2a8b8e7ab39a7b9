"""Mutual feature regularisation: losses by hand, every matching of few atoms, new starts."""

from itertools import permutations

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, Step
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes.sparse.mfr import UNEVEN, Disagreement, weights_of
from steps import step_forward

X = np.random.default_rng(0).normal(0.5, 1.0, (300, 10)).astype(np.float32)
CLOCK = Clock(50, 1000, 40)


def fitted(**options):
    options = {"latent_dim": 24, "k": 3, "steps": 30, "batch_size": 50, "lr": 3e-3, **options}
    return isthmus.fit("mfr", X, progress=False, **options)


def term(model, name):
    return next(part.term for part in model.objective if part.term.name == name)


def test_without_agreement_each_is_trained_as_if_alone():
    two, three = fitted(agreement=0.0), fitted(agreement=0.0, dictionaries=3)
    for name in ("encoder.bias", "decoder.weight", "decoder.bias"):
        assert torch.equal(two.state_dict()[name], three.state_dict()[name])
    first, second = (next(iter(m.parts["rivals"])) for m in (two, three))
    assert torch.equal(first.dictionary.weight, second.dictionary.weight)
    assert not torch.allclose(first.dictionary.weight, two.decoder.weight)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_losses_are_the_papers_on_dense_codes(path):
    model = fitted(dictionaries=3, agreement=0.4, steps=1).train()
    x = torch.from_numpy(X[:40])
    with using(path):
        losses = model.objective(model, step_forward(model, x, Clock(200, 1000, 40)))
        losses.total.backward()
    x, errors, atoms = model.scaler(x).double(), [], []
    biases = [model.decoder.bias, *(r.dictionary.bias for r in model.parts["rivals"])]
    leaves = []
    for (weight, bias), centre in zip(weights_of(model, "a test"), biases, strict=True):
        w, b, c = (t.detach().double().requires_grad_() for t in (weight, bias, centre))
        leaves += [(weight, w), (bias, b), (centre, c)]
        u = (x - c) @ w.T + b
        cut = u.detach().sort(1).values[:, -3][:, None]
        z = torch.where(u.detach() >= cut, u, 0.0).clamp_min(0.0)
        errors.append((x - z @ w - c).square().mean())
        atoms.append(w / w.norm(dim=1, keepdim=True))
    partners = term(model, "disagreement").partners
    cosines = [
        (atoms[i] * atoms[j][partners[place]]).sum(1).mean()
        for place, (i, j) in enumerate(((0, 1), (0, 2), (1, 2)))
    ]
    total = sum(errors) + 0.4 * (1 - sum(cosines) / 3)
    total.backward()
    assert losses.terms["rivals"].item() == pytest.approx(sum(errors[1:]).item(), rel=1e-4)
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-4)
    for parameter, leaf in leaves:
        torch.testing.assert_close(parameter.grad.double(), leaf.grad, rtol=1e-3, atol=1e-5)


def test_the_matching_is_the_best_of_all():
    model = isthmus.fit("mfr", X, latent_dim=5, k=2, steps=1, batch_size=50, progress=False)
    (own, _), (other, _) = weights_of(model, "a test")
    a, b = (torch.nn.functional.normalize(w.detach().double(), dim=1) for w in (own, other))
    best = max(float((a * b[list(p)]).sum(1).mean()) for p in permutations(range(5)))
    out = step_forward(model, torch.from_numpy(X[:50]), Clock(100, 1000, 50))
    value = term(model, "disagreement")(model, out).item()
    assert value == pytest.approx(1.0 - best, abs=1e-5)


def test_atoms_are_matched_anew_when_that_is_due():
    model = fitted(steps=1, every=10)
    disagreement = term(model, "disagreement")
    x = torch.from_numpy(X[:50])
    with torch.no_grad():
        rival = next(iter(model.parts["rivals"])).dictionary.weight
        order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
        rival.copy_(model.decoder.weight[order])
    step_forward(model, x, Clock(15, 1000, 50))
    assert disagreement(model, model(x)).item() > 0.1
    step_forward(model, x, Clock(20, 1000, 50))
    assert disagreement(model, model(x)).item() == pytest.approx(0.0, abs=1e-5)
    assert torch.equal(order[disagreement.partners[0]], torch.arange(24))


def test_agreement_makes_them_agree():
    apart, alike = (fitted(agreement=a, steps=200) for a in (0.0, 0.5))
    assert alike.history[-1]["disagreement"] < 0.5 * apart.history[-1]["disagreement"]
    assert isthmus.evaluate(alike, X)["fvu"].value < 0.6


def test_dictionaries_that_fire_unevenly_start_anew():
    model = fitted(steps=1)
    rivals, even = model.parts["rivals"], 3 / 24
    pairs = weights_of(model, "a test")
    optimiser = torch.optim.Adam([t for pair in pairs for t in pair])
    for parameter in (t for pair in pairs for t in pair):
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    before = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in pairs]
    rivals.rows.fill_(800.0)
    rivals.fired.fill_(800.0 * even)
    # One latent fires at so many times the even rate that the mean cube is just above the bound.
    times = 1.0 + (1.01 * UNEVEN * 24) ** (1 / 3)
    rivals.fired[1, 0] = 800.0 * even * times
    due = Clock(124, 1000, 50)  # the first of four looks over half of the run
    rivals.after_update(model=model, step=Step(Clock(100, 1000, 50)), optimiser=optimiser)
    assert torch.equal(pairs[1][0], before[1][0])
    rivals.after_update(model=model, step=Step(due), optimiser=optimiser)
    assert torch.equal(pairs[0][0], before[0][0])
    assert not torch.allclose(pairs[1][0], before[1][0])
    torch.testing.assert_close(pairs[1][0].norm(dim=1), torch.ones(24))
    assert not pairs[1][1].any()
    assert not optimiser.state[pairs[1][0]]["exp_avg"].any()
    assert optimiser.state[pairs[0][0]]["exp_avg"].any()
    assert not rivals.fired.any()


def test_the_others_are_saved_and_the_first_is_the_model(tmp_path):
    model = fitted(out=tmp_path / "run")
    loaded = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))
    rival = next(iter(loaded.parts["rivals"])).dictionary
    assert rival.weight.shape == (24, 10)
    assert loaded.W_dec.shape == (24, 10)
    with torch.no_grad():
        rival.weight.zero_()
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))


def test_one_dictionary_alone_is_refused():
    with pytest.raises(IsthmusError, match="dictionaries"):
        fitted(dictionaries=1)
    assert Disagreement(3, 4, 1).partners.shape == (3, 4)
