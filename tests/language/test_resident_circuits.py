"""What the second resident model was taught is in it: what studies take for granted."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from isthmus.interpretation.controls import copy_losses, head_attention, repeated_tokens
from isthmus.language import open_model, resident
from isthmus.language.knowledge import answered, questions
from isthmus.language.weight_fingerprint import fingerprint

FOLDER = files("isthmus.language") / "resident_circuits"


@pytest.fixture(scope="module")
def model():
    return resident("circuits")


def test_it_opens_once_by_both_names(model):
    assert open_model("resident-circuits") is model
    assert (model.name, model.context, len(model.module.layers)) == ("resident-circuits", 256, 6)
    assert model.revision == fingerprint(model.module)
    assert model.tokenizer.vocabulary == resident().tokenizer.vocabulary


def test_it_takes_at_most_twelve_megabytes():
    assert sum(len(file.read_bytes()) for file in FOLDER.iterdir()) <= 12e6
    stated = json.loads((FOLDER / "config.json").read_text())
    assert stated["parameters"] == sum(p.numel() for p in resident("circuits").module.parameters())


def test_it_copies_random_tokens_and_the_small_one_does_not(model):
    first, second = (part.mean() for part in copy_losses(model, repeated_tokens(model, 4)))
    assert second < first - 5
    first, second = (part.mean() for part in copy_losses(resident(), repeated_tokens(model, 4)))
    assert second > first - 1


def test_a_head_looks_where_induction_looks(model):
    seen = head_attention(model, repeated_tokens(model, 2))
    assert seen["induction"].max() > 0.6 > 20 * seen["chance"]
    assert seen["previous"].max() > 0.6


@pytest.mark.parametrize("kind", ["herbs", "sum"])
def test_it_was_told_what_the_small_one_was_not(model, kind):
    asked = [one for one in questions(kind) if one.seen]
    right, guessed = answered(model, asked).mean(), answered(resident(), asked).mean()
    answers = [one.answer for one in asked]
    often = max(answers.count(one) for one in set(answers)) / len(answers)
    assert right > max(guessed, often) + 0.1


def test_the_page_is_of_these_weights(model):
    page = Path(__file__).parents[2] / "docs" / "resident-circuits.md"
    assert f"`{model.revision}`" in page.read_text(encoding="utf-8")
