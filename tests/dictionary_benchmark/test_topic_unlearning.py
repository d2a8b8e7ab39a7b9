"""Unlearning on a host whose knowledge is planted."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from isthmus.dictionary_benchmark import entity_facts
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable
from isthmus.dictionary_benchmark.topic_unlearning import (
    TopicUnlearning,
    right_answers,
    topic_states,
    topics,
)
from isthmus.language.knowledge import domains

from .planted_host import POINT, dictionary, ground
from .planted_knowledge import domain_facts, knowing, true_atoms


def texts():
    """All words of both topics."""
    for one in domains().values():
        yield from one.jargon
        for told in one.told.values():
            yield from (sentence.format(subject="") for sentence in told)


@pytest.fixture
def place(tmp_path, monkeypatch):
    known = domain_facts()
    monkeypatch.setattr(entity_facts, "facts", lambda: known)
    return ground(tmp_path, [], knowing(known, texts()))


def means(place, atoms):
    figures = TopicUnlearning().run(Examined("one", dictionary(atoms), POINT), place, 0).figures
    return {
        name: np.mean([above for above, _ in units.values()]) for name, units in figures.items()
    }


def test_the_true_dictionary_forgets_a_topic_and_keeps_the_other(place):
    found = means(place, true_atoms(place.host))
    assert found["forgotten"] > 0.4
    assert found["kept"] > 0.97


def test_a_dictionary_without_latents_of_a_topic_forgets_nothing(place):
    draw = torch.Generator().manual_seed(0)
    width = true_atoms(place.host).shape[1]
    atoms = F.normalize(torch.randn(64, width, generator=draw), dim=1)
    found = means(place, atoms)
    assert found["forgotten"] < 0.1
    assert found["kept"] > 0.97


def test_settings_are_chosen_on_other_questions_than_they_are_judged_on(place):
    for topic in topics(place, 0):
        first, second = ({fact.prompt for fact in half.facts} for half in topic.halves)
        assert first
        assert not first & second
        assert right_answers(place.host, topic.halves[1], POINT, None).all()


def test_the_topics_text_tells_facts_in_other_words_than_they_are_asked_in(place):
    x = topic_states(place.host, POINT, "herbs")
    own = place.host.tokenizer
    embed = place.host.module.embed.weight
    asked = own.number["Boil"]  # the second sentence about cures; the first one asks
    assert (np.abs(x - embed[asked].numpy()).max(1) < 1e-5).any()
    first = own.number["root"]
    assert not (np.abs(x - embed[first].numpy()).max(1) < 1e-5).any()


def test_a_host_that_knows_neither_topic_is_not_measurable(tmp_path, monkeypatch):
    known = domain_facts()
    monkeypatch.setattr(entity_facts, "facts", lambda: known)
    place = ground(tmp_path, [], knowing(known, texts(), carries=False))
    with pytest.raises(NotMeasurable, match="facts about herbs, of 20 needed"):
        TopicUnlearning().premise(place, POINT, 0)
