"""One way for every dictionary to help its dead latents."""

import pytest
import torch

from isthmus.anatomy import Signal
from isthmus.bottlenecks import Resampling
from isthmus.networks import Dictionary
from isthmus.objectives import dead_power
from isthmus.recipes import get_recipe

KINDS = (
    "topk",
    "batchtopk",
    "abstopk",
    "matryoshka",
    "llama-scope",
    "relu-l1",
    "gated",
    "jumprelu",
)
WITH_AUXK = KINDS[:4]


def built(name, **options):
    page = get_recipe(name)
    signal = Signal.infer(torch.zeros(2, 24).numpy())
    return page.build(signal, page.parse({"latent_dim": 64, **options})[0])


def term_of(model):
    return next((part for part in model.objective if part.term.name == "auxk"), None)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("help_", ["auto", "none", "auxk", "resample"])
def test_every_kind_has_every_help(name, help_):
    model = built(name, revive=help_)
    part = term_of(model)
    wanted = help_ == "auxk" or (help_ == "auto" and name in WITH_AUXK)
    assert (part is not None) == wanted
    assert ("resampling" in model.parts) == (help_ == "resample")
    if wanted:
        assert part.weight(None) == 1 / 32
        assert part.term.relative
        assert part.term.k_aux == 16  # 24 / 2 as a power of two
        assert part.term.magnitude == (name == "abstopk")
        assert part.term.weigh == (name == "llama-scope")


def test_a_weight_alone_is_auxk_as_before():
    assert term_of(built("gated", auxk_weight=0.1)).weight(None) == 0.1
    assert term_of(built("topk", auxk_weight=0.0)) is None
    assert term_of(built("topk", k_aux=5)).term.k_aux == 5


@pytest.mark.parametrize(
    ("elements", "wanted"), [(768, 512), (192, 128), (1600, 1024), (2, 1), (1, 1), (24, 16)]
)
def test_k_aux_is_a_power_of_two_close_to_half_the_elements(elements, wanted):
    assert dead_power(Dictionary(4096, (elements,))) == wanted
    assert dead_power(Dictionary(3, (768,))) == 3


def test_resampling_has_no_weights():
    assert not list(Resampling().state_dict())
