"""Disentanglement where the right score is known, and the variance between classes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from isthmus.dictionary_benchmark import attribute_swaps, entity_facts
from isthmus.dictionary_benchmark.attribute_swaps import AttributeSwaps, between, questions
from isthmus.dictionary_benchmark.control_dictionaries import projection
from isthmus.dictionary_benchmark.entity_facts import as_prompts, asked_facts, facts, said
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable
from isthmus.language import resident

from .planted_host import POINT, dictionary, ground
from .planted_knowledge import knowing, planted_facts, true_atoms


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(entity_facts, "facts", planted_facts)
    monkeypatch.setattr(attribute_swaps, "LEAST_ATTRIBUTES", 2)
    return ground(tmp_path, [], knowing(planted_facts()))


def scores(place, atoms, seed=0):
    one = Examined("one", dictionary(atoms), POINT)
    figures = AttributeSwaps().run(one, place, seed).figures
    return {name: [above for above, _ in units.values()] for name, units in figures.items()}


def test_the_true_dictionary_changes_one_attribute_and_keeps_the_other(place):
    found = scores(place, true_atoms(place.host))
    assert found["cause"] == [1.0, 1.0]
    assert found["isolation"] == [1.0, 1.0]
    assert found["disentanglement"] == [1.0, 1.0]


def test_a_random_dictionary_does_worse(place):
    draw = torch.Generator().manual_seed(0)
    atoms = F.normalize(torch.randn(true_atoms(place.host).shape, generator=draw), dim=1)
    assert np.mean(scores(place, atoms)["disentanglement"]) < 0.9


def test_a_basis_in_which_both_attributes_are_mixed_changes_both_or_none(place):
    """Each latent has a part of a size and of a colour: isolation and cause cannot both be high."""
    atoms = true_atoms(place.host).clone()
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]).float()
    atoms[:6] = turn @ atoms[:6]
    mixed = Examined("mixed", projection(atoms.double().numpy(), np.zeros(atoms.shape[1])), POINT)
    found = AttributeSwaps().run(mixed, place, 0).figures["disentanglement"]
    assert np.mean([above for above, _ in found.values()]) < 0.95


def test_entities_are_chosen_on_and_judged_on_apart(place):
    chosen, judged = questions(place, POINT, 0)
    first, second = (
        {fact.entity for question in part for swap in (question.change, question.stay)
         for fact in (*swap.base.facts, *swap.source.facts)}
        for part in (chosen, judged)
    )  # fmt: skip
    assert first
    assert not first & second
    for question in judged:
        for a, b in zip(question.change.base.facts, question.change.source.facts, strict=True):
            assert a.attribute == b.attribute == question.attribute
            assert a.answer != b.answer
        assert all(fact.attribute != question.attribute for fact in question.stay.base.facts)


def test_a_host_that_knows_nothing_is_not_measurable(tmp_path, monkeypatch):
    monkeypatch.setattr(entity_facts, "facts", planted_facts)
    place = ground(tmp_path, [], knowing(planted_facts(), carries=False))
    with pytest.raises(NotMeasurable, match="0 of 72 facts about entities"):
        AttributeSwaps().premise(place, POINT, 0)


def test_where_the_host_does_not_read_the_entity_nothing_can_be_measured(place, monkeypatch):
    """Past the point the host goes by what it saw before: no activation there changes an answer."""
    module = place.host.module

    def deaf(tokens, attention_mask=None):
        module.layers[0](module.embed(tokens))  # what is edited, and not read
        x = module.embed(tokens)
        return (x if attention_mask is None else x * attention_mask[..., None]).cumsum(
            1
        ) @ module.heads.T

    monkeypatch.setattr(module, "forward", deaf)
    with pytest.raises(NotMeasurable, match="0 attributes change with the whole activation"):
        AttributeSwaps().premise(place, POINT, 0)


def test_the_component_between_classes_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    labels = np.array(["a"] * 5 + ["b"] * 7 + ["c"] * 4 + [""] * 3)
    values = rng.normal(size=(19, 2))
    values[:, 0] += np.array([0.0] * 5 + [3.0] * 7 + [6.0] * 4 + [100.0] * 3)
    groups = [values[labels == name, 0] for name in "abc"]
    mean = np.concatenate(groups).mean()
    across = sum(len(g) * (g.mean() - mean) ** 2 for g in groups) / 2
    inside = sum(((g - g.mean()) ** 2).sum() for g in groups) / 13
    typical = (16 - (25 + 49 + 16) / 16) / 2
    assert between(values, labels)[0] == pytest.approx((across - inside) / typical)
    many = rng.normal(size=(400, 200))
    shuffled = rng.choice(list("abcd"), 400)
    assert abs(between(many, shuffled).mean()) < 0.01


def test_facts_are_asked_with_the_entity_where_it_ends():
    host = resident()
    prompts = as_prompts(host, facts()[:40])
    for row in range(0, len(prompts), 7):
        fact = prompts.facts[row]
        named = host.tokenizer.decode(prompts.ids[row, 1 : prompts.named[row] + 1].tolist())
        before = host.tokenizer.decode(prompts.ids[row, 1 : prompts.begin[row]].tolist())
        assert before == fact.prompt[: fact.prompt.index(fact.entity)].rstrip()
        whole = host.tokenizer.decode(prompts.ids[row, 1 : prompts.last[row] + 1].tolist())
        assert named.endswith(fact.entity)
        assert whole == fact.prompt
        assert fact.options[int(prompts.right[row])] == fact.answer


def test_every_fact_has_its_answer_among_the_options_and_cities_have_three():
    every = facts()
    assert all(one.answer in one.options for one in every)
    assert all(one.prompt.count(one.entity) == 1 for one in every)
    cities = {one.entity for one in every if one.kind == "city"}
    assert len([one for one in every if one.kind == "city"]) == 3 * len(cities)
    model = knowing(planted_facts())
    prompts = as_prompts(model, planted_facts())
    assert torch.equal(said(model, prompts), prompts.right)
    assert len(prompts) == 72


def test_one_answer_to_all_is_no_knowledge(tmp_path, monkeypatch):
    monkeypatch.setattr(entity_facts, "facts", planted_facts)
    blind = knowing(planted_facts(), carries=False)
    prompts, known = asked_facts(blind)
    assert (said(blind, prompts) == prompts.right).any()
    assert not known.any()


def test_what_is_known_is_what_is_answered_right(place):
    prompts, known = asked_facts(place.host)
    assert known.all()
    assert len(prompts) == 72
