"""A recipe that breaks a contract is told which, and one that keeps them all passes."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Code, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE
from isthmus.testing import check_recipe, recipe_checks


def made(signal, objective=None, **parts):
    (n,) = signal.shape
    given = {
        "encoder": nn.Linear(n, 3), "bottleneck": Identity(), "decoder": nn.Linear(3, n),
    }  # fmt: skip
    return Autoencoder(signal, objective=objective or MSE(), **{**given, **parts})


def sound(signal, *, latent_dim: int = 3):
    (n,) = signal.shape
    return made(signal, encoder=nn.Linear(n, latent_dim), decoder=nn.Linear(latent_dim, n))


class Summed(Term):
    name, unit = "summed", "squares"

    def forward(self, model, out):
        return out.squared_error() * len(out.x)


class Nameless(Term):
    name, unit = "nameless", ""

    def forward(self, model, out):
        return out.squared_error()


class Noisy(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h + torch.randn_like(h))


class Centred(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h - h.mean(0))


class Drifting(nn.Module):
    size = 1.0

    def forward(self, h, *, sample=False):
        if self.training:
            self.size = self.size + 1.0
        return Code(h / self.size)


class Stuck(Term):
    name, unit = "stuck", "squares"

    def forward(self, model, out):
        return 1.0 + 0.0 * out.squared_error()


def drawing(signal):
    np.random.rand()  # noqa: NPY002
    return made(signal)


@pytest.mark.parametrize("given", [sound, made(Signal("vector", (12,)))])
def test_a_sound_one_passes(given):
    state = torch.get_rng_state()
    check_recipe(given)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        (lambda s: made(s, Summed()), "terms", "changes when the batch is repeated"),
        (lambda s: made(s, Nameless()), "terms", "states no unit"),
        (drawing, "seed", "moves the user's random generator"),
        (lambda s: made(s, bottleneck=Noisy()), "seed", "must be deterministic"),
        (lambda s: made(s, bottleneck=Centred()), "rows", "depends on the other rows"),
        (lambda s: made(s, bottleneck=Drifting()), "saved", "in parameters or buffers"),
        (lambda s: made(s, Stuck()), "loss", "does not fall"),
        (lambda s: 3, "terms", "it was refused|builds on no small signal"),
    ],
)
def test_what_is_broken_is_said(broken, check, words):
    found = {one.name: one for one in recipe_checks(broken)}
    with pytest.raises(AssertionError, match=words) as problem:
        found[check]()
    assert "\n" not in str(problem.value)


class Told(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(3, width)

    def forward(self, z, *, given):
        return self.layer(z) + given["shift"][:, None]


def test_what_a_recipe_asks_for_is_given():
    def told(signal):
        return made(signal, decoder=Told(signal.numel))

    with pytest.raises(AssertionError, match="asks for 'shift' of each row"):
        check_recipe(told)
    check_recipe(told, given={"shift": np.arange(96) % 3})


def test_of_several_refusals_the_one_about_its_own_data_is_said():
    class Misspelt(nn.Module):
        def forward(self, h, *, sampel=False):
            return Code(h)

    def misspelt(signal):
        return made(signal, bottleneck=Misspelt())

    with pytest.raises(AssertionError, match="did you mean 'sample'"):
        check_recipe(misspelt)


def test_options_and_rows_of_ones_own():
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    check_recipe(sound, rows=rows, options={"latent_dim": 2})
    with pytest.raises(AssertionError, match="latent_dim"):
        check_recipe(sound, options={"latent_dim": "many"})
