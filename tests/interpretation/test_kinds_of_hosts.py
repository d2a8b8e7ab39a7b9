"""Recurrent, state-space and two-sided hosts in every verb: fit, report, steer, patch."""

import sys

import pytest
import torch
from tests.activations.hosts import host

import isthmus
from isthmus.cli.steer import run
from isthmus.errors import IsthmusError
from isthmus.interpretation import behaviour
from isthmus.interpretation.splice import spliced
from isthmus.language import generate
from isthmus.pages.run_page import written

pytest.importorskip("transformers")

MODULE = """
from tests.activations.hosts import host

def mamba():
    return host("mamba")

def lstm():
    return host("lstm")

def t5():
    return host("t5")
"""
POINTS = {"mamba": "backbone.layers.1", "lstm": "lstm", "t5": "decoder.block.1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "some_hosts.py").write_text(MODULE)
    (folder / "notes.txt").write_text("the whale came up and the sea was calm again. " * 40)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def fitted(place, name):
    out = place / name
    if not out.exists():
        text = place / "notes.txt"
        spec = f"lm:some_hosts:{name}@{POINTS[name]}?text={text}&tokens=400&context=24"
        isthmus.fit("topk", spec, out=out, latent_dim=32, k=3, steps=5, batch_size=64,
                    progress=False)  # fmt: skip
    return out


@pytest.mark.parametrize("name", [pytest.param("mamba", marks=pytest.mark.slow), "lstm"])
def test_they_are_fitted_shown_and_steered(place, name):
    folder = fitted(place, name)
    page, missing = written(folder, progress=False)
    assert not missing
    assert (folder / "features" / "latents.parquet").exists()
    assert "was not measured" not in page.read_text()
    lines = [one.plain for one in run(folder, "the", scale=["1:1"], new=5, samples=1,
                                      temperature=0.0).renderables]  # fmt: skip
    assert lines[1].removeprefix("as it is: ") == lines[2].removeprefix("steered: ")


def test_a_text_of_two_sides_is_shown_and_not_steered(place):
    folder = fitted(place, "t5")
    _, missing = written(folder, progress=False)
    assert not missing
    with pytest.raises(IsthmusError, match="cannot continue a text"):
        run(folder, "the", scale=["1:1"], new=5)


@pytest.mark.parametrize(("name", "point"), [("mamba", "backbone.layers.0"), ("lstm", "lstm")])
def test_generation_is_that_of_the_whole_text(name, point):
    model = host(name)
    begin = torch.tensor([[1, 5, 9], [1, 3, 3]])
    found = generate(model, begin, 6, temperature=0.0)
    right = begin
    for _ in range(6):
        right = torch.cat([right, model.logits(right)[:, -1].argmax(1, keepdim=True)], 1)
    assert torch.equal(found, right)
    push = torch.randn(model.module.get_submodule(point).weight_hh_l0.shape[1] if name == "lstm"
                       else 8, generator=torch.Generator().manual_seed(1)) * 50  # fmt: skip
    edited = right[:, :3]
    with spliced(model, {point: lambda x: x + push}):
        steered = generate(model, begin, 6, temperature=0.0)
        for _ in range(6):
            edited = torch.cat([edited, model.logits(edited)[:, -1].argmax(1, keepdim=True)], 1)
    assert torch.equal(steered, edited)


@pytest.mark.parametrize("name", ["gpt2", "mamba", "lstm"])
def test_behaviour_does_not_depend_on_the_side_of_the_padding(name, place):
    from tests.activations.test_padding import TEXTS, padded

    model = host(name)
    point = {"gpt2": "transformer.h.0", "mamba": "backbone.layers.0", "lstm": "lstm"}[name]
    width = 6 if name == "lstm" else 8
    dictionary = isthmus.fit("topk", torch.randn(60, width), latent_dim=16, k=2, steps=2,
                             batch_size=30, progress=False)  # fmt: skip
    found = [
        behaviour(model, point, dictionary, padded(TEXTS * 3, [side] * 12), draws=0)
        for side in ("left", "right")
    ]
    for measure in ("ce", "ce_spliced", "kl"):
        assert found[0][measure].value == pytest.approx(found[1][measure].value, rel=1e-5)
        assert found[0][measure].n == 3 * (2 + 8 + 4)


def test_masks_of_edits_follow_rows_padded_on_the_left():
    from tests.activations.test_padding import TEXTS, padded

    model, tokens = host("gpt2"), padded(TEXTS[:2], ["left", "right"])
    where = torch.zeros_like(tokens.mask)
    where[0, -1] = where[1, 2] = True
    push = {"transformer.h.1": lambda x: x + torch.linspace(0, 9, 8)}
    with spliced(model, push, mask=where.to(torch.int32)):
        changed = model.logits(tokens.ids, tokens.mask)
    plain = model.logits(tokens.ids, tokens.mask)
    moved = ((changed - plain).abs().amax(-1) > 1e-6) & tokens.mask
    assert torch.equal(moved, where)


def test_a_code_of_two_points_is_not_steered(place):
    spec = f"lm:some_hosts:mamba@backbone.layers.0,backbone.layers.1?text={place / 'notes.txt'}"
    folder = place / "crossed"
    isthmus.fit("crosscoder", spec + "&tokens=400&context=24", out=folder, latent_dim=32, k=4,
                steps=2, batch_size=64, progress=False)  # fmt: skip
    page, missing = written(folder, progress=False)
    assert not missing
    assert "one code for 2 points together" in page.read_text()
    with pytest.raises(IsthmusError, match="one code for 2 points together"):
        run(folder, "the", add=["1:3"])
