"""``isthmus inspect``: what a published dictionary is, from its headers."""

import pytest

import isthmus
from commands import command
from isthmus.formats import inspect
from peers import FIXTURES, cases, place


def test_the_command_says_what_it_is_and_what_would_be_folded():
    said = " ".join(command("inspect", str(FIXTURES / "saelens" / "topk-rescaled")).split())
    assert "SAELens" in said
    assert "topk, k = 5 dictionary" in said
    assert "lengths of the atoms into the encoder" in said
    assert "8 -> 32 -> 8" in said
    assert "blocks.1.hook_resid_pre" in said


def test_the_formula_names_what_is_subtracted_and_scaled():
    llama = inspect(FIXTURES / "published" / "Llama3_1-8B-Base-L3R-8x")
    assert "0.24595 x W_enc" in llama.record.formula()
    assert "scale 0.24595" in llama.folded[0]
    assert "theta, one for all" in llama.record.formula()
    plain = inspect(FIXTURES / "saelens" / "standard").record.formula()
    assert "(x - b_dec) W_enc + b_enc" in plain


def test_what_reading_would_need_is_said():
    assert "k=" in inspect(place("overcomplete/topk")).lacking


@pytest.mark.parametrize("case", [c for c in cases() if c.startswith("published/")])
def test_every_layout_is_told(case):
    found = inspect(place(case))
    assert found.parameters > 0
    assert found.record.sha256 == {}


def test_no_traceback_for_what_is_none(tmp_path):
    with pytest.raises(isthmus.IsthmusError, match="no layout"):
        inspect(tmp_path)
