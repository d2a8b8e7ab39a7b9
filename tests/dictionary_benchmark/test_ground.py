"""What dictionaries share: texts cut and pooled alike, activations harvested once."""

import numpy as np
import pytest

from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.errors import IsthmusError

from .planted_host import POINT, ground, host, true


def test_texts_are_cut_at_the_context_and_empty_ones_are_zero(tmp_path):
    model = host()
    texts = TextSet("t", ("abc" * 40, "", "z"), {"class": ("x", "y", "z")})
    place = ground(tmp_path, [texts], model, context=11)
    x = place.pooled(texts, POINT)
    embed = model.module.embed.weight.numpy()
    first = model.tokenizer.encode("abc" * 40)[:10]  # one place is for what begins a text
    np.testing.assert_allclose(x[0], embed[first].mean(0), atol=1e-6)
    np.testing.assert_allclose(x[1], 0.0)
    assert place.pooled_codes(true(model), texts)[[1]].nnz == 0


def test_running_text_is_other_text_for_each_seed_and_the_same_again(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.txt").write_text("abcdef"[i] * 40)
    place = ground(tmp_path, [], text=str(folder), tokens=80)
    first, other = (place.running(POINT, seed) for seed in range(2))
    assert first is place.running(POINT, 0)
    assert len(first.x) <= 80
    assert first.tokens.names != other.tokens.names
    letters = [first.tokens.names[i] for i in first.document]
    assert len(set(letters)) == len(np.unique(first.x.round(3), axis=0))


def test_what_is_asked_for_twice_is_made_once(tmp_path):
    place, made = ground(tmp_path, []), []
    for _ in range(2):
        assert place.once("x", lambda: made.append(1) or len(made)) == 1
    assert made == [1]


def test_a_text_that_is_not_there_is_one_sentence(tmp_path):
    place = ground(tmp_path, [], text="nowhere.txt")
    with pytest.raises(IsthmusError, match="there is no file"):
        place.running(POINT, 0)
