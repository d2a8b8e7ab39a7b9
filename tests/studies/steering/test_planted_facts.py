"""The tiny language model and its world of facts."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.activations import Activations
from isthmus.data.made.domains import Domains
from isthmus.data.made.words import BOS, Chain, Words
from isthmus.interpretation import behaviour
from isthmus.language import Shape, Tokenizer, Tokens
from isthmus.studies.steering.planted_facts import trained
from isthmus.studies.steering.rmu import rmu

WORDS = Words([f"plain-{i}" for i in range(12)])
SHAPE = Shape(WORDS.vocabulary, 16, 2, 2, 16, 32)


def draw(rng):
    rows = np.tile(1 + np.arange(9), (8, 1))  # each word is followed by the next
    rows[:, 0] = BOS
    return rows


def model(steps=60, seed=0):
    return trained(WORDS, draw, SHAPE, steps=steps, seed=seed, rate=1e-2)


def test_words_are_tokens():
    assert isinstance(WORDS, Tokenizer)
    assert WORDS.decode(WORDS.encode("plain-3 plain-0")) == "plain-3 plain-0"
    assert WORDS.numbers("plain-1").tolist() == [2, 11, 12]
    assert WORDS.pieces([BOS]) == ["<bos>"]


def test_training_is_a_function_of_the_seed_and_learns():
    state, before = model(), torch.random.get_rng_state()
    again = model()
    assert torch.equal(before, torch.random.get_rng_state())
    assert state.revision == again.revision != model(seed=1).revision
    rows = torch.from_numpy(draw(None))
    assert torch.equal(state.logits(rows)[:, 1:-1].argmax(2), rows[:, 2:])


def test_the_library_looks_into_it():
    host = model(steps=2)
    ids = torch.from_numpy(draw(None))
    x = Activations(host.module, "layers.0")(ids)["layers.0"]
    assert x.shape == (8, 9, 16)
    made = isthmus.fit("topk", x[:, 1:].flatten(0, 1), latent_dim=24, k=3, steps=2, progress=False)
    number = torch.arange(len(ids))
    text = Tokens(ids, torch.ones_like(ids), number, 0 * number, [str(i) for i in range(len(ids))])
    found = behaviour(host, "layers.0", made, text)
    assert np.isfinite(found["added_ce"].value)


def test_plain_text_follows_its_chain():
    chain, rng = Chain(1 + np.arange(30), 0), np.random.default_rng(0)
    rows = chain.text(200, 50, rng)
    followers = {word: set() for word in range(1, 31)}
    for before, after in zip(rows[:, :-1].ravel(), rows[:, 1:].ravel(), strict=True):
        followers[before].add(after)
    assert max(map(len, followers.values())) == 8
    assert set(np.unique(rows)) == set(range(1, 31))


@pytest.mark.parametrize("domain", ["forget", "retain"])
def test_text_and_questions_of_a_domain_agree(domain):
    world, rng = Domains(2), np.random.default_rng(0)
    told = world.text(domain, 600, rng)[:, 1:].reshape(-1, 6)
    facts = {(subject, relation): answer for _, subject, _, relation, answer, _ in told.tolist()}
    asked = world.questions(domain, rng)
    assert len(facts) == len(asked.tokens) == 160
    for row, options in zip(asked.tokens.tolist(), asked.options.tolist(), strict=True):
        assert facts[row[2], row[4]] == options[0]
        assert len(set(options)) == 4
    of_relation = {int(w): r for r, words in enumerate(world.answers[domain]) for w in words}
    assert all(len({of_relation[o] for o in options}) == 1 for options in asked.options.tolist())


def test_rmu_moves_one_text_and_keeps_the_other():
    host = model(steps=2)
    good = 1 + np.random.default_rng(1).integers(0, 9, (8, 9))
    good[:, 0] = BOS

    def bad(rng):
        rows = np.full((8, 9), 12)
        rows[:, 0] = BOS
        return rows

    first, last = rmu(
        host, WORDS, 1, bad, lambda rng: good, size=3.0, alpha=10.0, steps=[1, 150], rate=1e-2,
        seed=0,
    )  # fmt: skip
    rng = np.random.default_rng([0, 5])
    goal = rng.random(16)
    goal *= 3.0 / np.linalg.norm(goal)

    def at(one, rows):
        tokens = torch.from_numpy(rows)
        return Activations(one.module, "layers.1")(tokens)["layers.1"][:, 1:].numpy()

    def distance(one):
        return np.linalg.norm(at(one, bad(None)) - goal, axis=2).mean()

    assert distance(last) < 0.6 * distance(host)
    moved = np.linalg.norm(at(last, good) - at(host, good), axis=2).mean()
    assert moved < 0.2 * np.linalg.norm(at(last, bad(None)) - at(host, bad(None)), axis=2).mean()
    changed = {
        name
        for name, value in last.module.named_parameters()
        if not torch.equal(value, dict(host.module.named_parameters())[name])
    }
    assert changed == {"layers.0.mlp.down.weight", "layers.1.mlp.down.weight"}
    assert first.revision != last.revision
