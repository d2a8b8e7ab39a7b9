"""``isthmus steer``: what is written with latents changed, and what is refused."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.cli.steer import run
from isthmus.errors import IsthmusError
from isthmus.interpretation.steering import Steering, steered_generate
from isthmus.language import open_model

TEXT = "The whale came up. The captain saw the whale, and the sea was calm again. " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("steered")
    (place / "text.txt").write_text(TEXT)
    isthmus.fit(
        "topk", f"lm:resident@layers.1?text={place / 'text.txt'}", out=place / "run",
        latent_dim=16, k=4, steps=20, batch_size=64, progress=False,
    )  # fmt: skip
    return place / "run"


def lines(found):
    return [one.plain for one in found.renderables]


def test_the_text_is_that_of_steered_generate(folder):
    found = lines(run(folder, "The", add=["3:40"], new=12, samples=1, temperature=0.0))
    assert found[0] == "at layers.1 of resident"
    host = open_model("resident")

    tokens = torch.tensor([[host.tokenizer.bos, *host.tokenizer.encode("The")]])
    edit = Steering(isthmus.load(folder), add={3: 40.0})
    rows = steered_generate(host, tokens, "layers.1", edit, new=12, temperature=0.0)
    assert found[2] == "steered: The" + host.tokenizer.decode(rows[0, tokens.shape[1] :].tolist())
    assert found[1].removeprefix("as it is: ") != found[2].removeprefix("steered: ")


def test_nothing_changes_where_a_latent_keeps_its_value(folder):
    found = lines(run(folder, "The sea", scale=["3:1"], new=12, samples=2, seed=5))
    for before, after in zip(found[1:3], found[3:], strict=True):
        assert before.removeprefix("as it is: ") == after.removeprefix("steered: ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"add": ["3"]}, "write it as 12:4.5"),
        ({"add": ["3:nan"]}, "write it as 12:4.5"),
        ({"clamp": ["x:1"]}, "write it as 12:4.5"),
        ({"clamp": ["1:1", "1:2"]}, "latent 1 is given twice"),
        ({"add": ["1:1"], "ablate": [1]}, "latent 1 is ablated and changed"),
        ({"ablate": [16]}, "name latents from 0 to 15"),
        ({}, "nothing is steered"),
        ({"ablate": [1], "samples": 0}, "samples is 0"),
        ({"ablate": [1], "new": 1000}, "exceed the 256 places"),
    ],
)
def test_mistakes_are_one_sentence(folder, given, said):
    with pytest.raises(IsthmusError, match=said):
        run(folder, "The", **given)


def test_other_runs_cannot_be_steered(tmp_path):
    options = {"latent_dim": 8, "k": 2, "steps": 1, "progress": False}
    isthmus.fit("topk", "digits", out=tmp_path / "named", **options)
    with pytest.raises(IsthmusError, match="'digits' are no activations of a language model"):
        run(tmp_path / "named", "The", ablate=[1])
    rows = np.random.default_rng(0).random((64, 5), np.float32)
    isthmus.fit("topk", rows, out=tmp_path / "rows", **options)
    with pytest.raises(IsthmusError, match="does not name the data"):
        run(tmp_path / "rows", "The", ablate=[1])
