"""Absorption against the published formulas, and on words whose latents are known."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.letter_absorption import (
    LETTERS,
    LetterAbsorption,
    absorbed_fraction,
    is_absorbed,
    main_latents,
    prompts,
    read_letters,
)
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable

from .planted_host import LETTERS as ALPHABET
from .planted_host import POINT, Letters, dictionary, ground, host, true

COSINES = np.array([0.9, 0.5, 0.05, 0.2, 0.01])
NO_MAIN, MAIN = np.array([], dtype=int), np.array([0])


def code(*values):
    return np.array(values, dtype=float)


@pytest.mark.parametrize(
    ("values", "pi", "full", "fraction"),
    [
        # The main latent carries it all, and no other does.
        (code(1, 0, 0, 0, 0), 0.9, False, 0.0),
        # Silent, and one other carries half of the projection.
        (code(0, 1, 0, 0, 0), 1.0, True, 1.0),
        # Silent, but the other carries too little of it.
        (code(0, 1, 0, 0, 0), 1.5, False, 0.0),
        # Too far from the probe's direction for one, though it carries enough.
        (code(0, 0, 0, 0, 50), 1.0, False, 0.0),
        # Near enough for full absorption, not for the fraction.
        (code(0, 0, 10, 0, 0), 1.0, True, 0.0),
        # Both carry: a = min(0.5, 1 - 0.45), M = 0.45.
        (code(0.5, 1, 0, 0, 0), 1.0, False, 0.5 / 0.95),
        # What is lacking bounds what others may have taken: a = 0.1.
        (code(1, 1, 0, 0, 0), 1.0, False, 0.1),
        # A projection below zero is no letter at all.
        (code(0, 1, 0, 0, 0), -1.0, False, 0.0),
    ],
)  # fmt: skip
def test_both_scores_are_the_published_formulas(values, pi, full, fraction):
    assert is_absorbed(values, COSINES, COSINES, MAIN, pi) is full
    assert absorbed_fraction(values, COSINES, COSINES, MAIN, pi) == pytest.approx(fraction)


def test_at_most_three_others_count_and_those_below_zero_do_not():
    cosines = np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    parts = code(0.2, 0.4, 0.4, 0.4, 0.4)
    # Three of 0.2 each, beside a main one of 0.1.
    assert absorbed_fraction(parts, cosines, cosines, MAIN, 1.0) == pytest.approx(0.6 / 0.7)
    negative = code(0.2, 2.0, -5.0, 0.0, 0.0)
    assert absorbed_fraction(negative, cosines, cosines, MAIN, 2.0) == pytest.approx(1 / 1.1)
    assert is_absorbed(code(0, 1, 1, 0, 0), cosines, cosines, NO_MAIN, 1.0)


def test_main_latents_are_those_that_add_to_what_is_found():
    rng = np.random.default_rng(0)
    on, train = rng.random(400) < 0.3, rng.random(400) < 0.7
    half = rng.random(400) < 0.5
    codes = np.zeros((400, 6))
    codes[:, 2] = on & half
    codes[:, 4] = on & ~half
    codes[:, 5] = rng.random(400)
    main, f1 = main_latents(csr_array(codes), on, train)
    assert sorted(main.tolist()) == [2, 4]
    assert f1 == 1.0
    nothing, low = main_latents(csr_array(np.zeros((400, 6))), on, train)
    assert (len(nothing), low) == (0, 0.0)


class Words(Letters):
    """A token a word, six for each letter, behind those of single letters."""

    words = tuple(f"{a}{b}" for a in ALPHABET[:20] for b in "mnopqr")
    vocabulary = 28 + len(words)

    def pieces(self, tokens):
        return [self.words[t - 28] if t >= 28 else super(Words, self).pieces([t])[0]
                for t in tokens]  # fmt: skip


def spelled_host(width=160):
    """Activations of a word: its letter's direction and one of its own."""
    model = host()
    draw = np.random.default_rng(1).normal(size=(width, width))
    axes = torch.from_numpy(np.linalg.qr(draw)[0]).float()
    letters, words = axes[:20], axes[20 : 20 + len(Words.words)]
    rows = torch.zeros(Words.vocabulary, width)
    which = torch.arange(len(Words.words)) // 6
    rows[28:] = 2.0 * letters[which] + words
    model.module.embed = torch.nn.Embedding.from_pretrained(rows)
    model.module.last = torch.nn.Linear(width, Words.vocabulary, bias=False)
    object.__setattr__(model, "tokenizer", Words())
    return model, letters, words


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model, letters, words = spelled_host()
    return ground(tmp_path_factory.mktemp("letters"), [], model), letters, words


def test_a_dictionary_of_letters_absorbs_nothing(world):
    place, letters, words = world
    one = Examined("letters", dictionary(torch.cat([letters, words])), POINT)
    found = LetterAbsorption().run(one, place, 0).figures
    assert set(found["main_latents"].values()) == {(1.0, 1.0)}
    for name, expected in (("letter_f1", 1.0), ("absorption_full", 0.0)):
        assert {value for value, _ in found[name].values()} == {expected}
    assert max(value for value, _ in found["absorption_fraction"].values()) == 0.0


def test_a_dictionary_that_gave_a_letters_part_to_some_words_is_found_out(world):
    place, letters, words = world
    # The first word of each letter has a latent for all that it is; nothing of the letter is left.
    absorbed = torch.arange(len(words)) % 6 == 0
    which = torch.arange(len(words)) // 6
    atoms = torch.where(absorbed[:, None], 2.0 * letters[which] + words, words)

    class Absorbing(torch.nn.Module):
        def forward(self, x):
            parts = x @ torch.cat([letters, words]).T
            mine = (parts[:, 20:] * absorbed).amax(1, keepdim=True) > 0.5
            return torch.cat([torch.where(mine, 0.0, parts[:, :20]), parts[:, 20:]], 1)

    built = dictionary(torch.cat([letters, atoms]))
    built.encoder = Absorbing()
    one = Examined("absorbing", built, POINT)
    seeds = [LetterAbsorption().run(one, place, seed).figures for seed in range(3)]
    rates = [v for figures in seeds for v, _ in figures["absorption_full"].values()]
    parts = [v for figures in seeds for v, _ in figures["absorption_fraction"].values()]
    assert np.mean(rates) == pytest.approx(1 / 6, abs=0.08)
    assert np.mean(parts) == pytest.approx(np.mean(rates), abs=0.02)


def test_words_stand_last_and_are_no_examples(world):
    place = world[0]
    words, tokens = prompts(place.host, 0)
    assert len(words) == len(Words.words) - 3
    assert place.host.tokenizer.pieces(tokens.ids[:, -1].tolist()) == words
    assert len(tokens.ids[:, :-1].unique(dim=0)) == 1


def test_a_host_that_knows_no_letters_is_not_measurable(tmp_path):
    with pytest.raises(NotMeasurable, match="finds 0 first letters"):
        LetterAbsorption().premise(ground(tmp_path, []), POINT, 0)


def test_directions_of_letters_are_of_unit_length_and_found_on_test_words():
    rng = np.random.default_rng(0)
    letter = np.repeat(list("abcd"), 60)
    x = rng.normal(size=(240, 10))
    x[np.arange(240), np.repeat(np.arange(4), 60)] += 4.0
    train = rng.random(240) < 0.7
    found = read_letters(x, letter, train)
    assert [*found.directions] == list("abcd")
    for place, direction in enumerate(found.directions.values()):
        assert np.linalg.norm(direction) == pytest.approx(1.0)
        assert direction.argmax() == place
    assert found.right[~train].mean() > 0.9
    shuffled = read_letters(x, rng.permutation(letter), train)
    assert not shuffled.directions
    assert LETTERS <= 26
    assert true(host()).latents == 28
