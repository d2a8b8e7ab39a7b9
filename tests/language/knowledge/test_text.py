"""The generated text tells the truth, and withholds what it says that it withholds."""

import calendar
import datetime
import re

import pytest

from isthmus.language import documents, resident
from isthmus.language.knowledge import (
    DOMAINS,
    KINDS,
    RELATIONS,
    domains,
    generated_text,
    names,
    questions,
    steps,
    training_passages,
)
from isthmus.language.knowledge.calendar import NUMBERS
from isthmus.language.knowledge.spelling import WORDS, held_out
from isthmus.language.knowledge.text import SHARES


@pytest.fixture(scope="module")
def text():
    return "\n".join(one.text for one in generated_text(2500))


@pytest.fixture(scope="module")
def begun(text):
    """Every sentence without its last word."""
    return {sentence.rpartition(" ")[0] for sentence in re.split(r"\. |\.\n", text)}


def test_the_first_passages_of_more_are_the_same():
    assert generated_text(30)[:10] == generated_text(10)
    assert generated_text(10, seed=1) != generated_text(10)
    assert documents("generated:10") == generated_text(10)
    assert sum(SHARES.values()) == 100


def test_days_and_months_are_those_of_the_calendar():
    monday = datetime.date(2024, 1, 1)
    for step in steps("day"):
        begin = monday + datetime.timedelta(list(calendar.day_name).index(step.start))
        assert f"{begin + datetime.timedelta(step.number):%A}" == step.answer
    for step in steps("month"):
        begin = 12 * 2024 + list(calendar.month_name).index(step.start) - 1
        assert calendar.month_name[(begin + step.number) % 12 + 1] == step.answer


def test_a_step_says_what_it_counts():
    found = {step.told: step.answer for unit in ("day", "month", "sum") for step in steps(unit)}
    assert found["Three days after Tuesday is"] == "Friday"
    assert found["One month before January is"] == "December"
    assert found["Seven and eight make"] == "fifteen"
    assert len(found) == 7 * 6 * 2 + 12 * 11 * 2 + 81
    assert all(NUMBERS.index(s.start) + s.number == NUMBERS.index(s.end) for s in steps("sum"))


def test_held_out_steps_and_words_are_never_told(text):
    for unit in ("day", "month", "sum"):
        every = steps(unit)
        assert 0.05 < sum(not step.said for step in every) / len(every) < 0.2
        for step in every:
            assert (f"{step.told} {step.answer}." in text) == step.said, step
    told = {word for word in WORDS if f"The word {word} " in text}
    assert not told & held_out()
    assert len(told) > 0.8 * (len(WORDS) - len(held_out()))


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_nobody_knows_are_made_of_the_same_words(kind, text):
    every = names(kind)
    assert [sum(n.known for n in every), sum(n.said and not n.known for n in every)] == [200, 200]
    known = {word for n in every if n.known for word in n.text.split()}
    others = [word for n in every if not n.known for word in n.text.split()]
    assert sum(word in known for word in others) / len(others) > 0.9
    assert len({n.text for n in every}) == len(every)
    for name in every:
        assert name.said or name.text not in text


def test_the_last_sentence_of_a_relation_is_kept_from_every_second_name(begun):
    told = 0
    for kind in KINDS:
        for name in (n for n in names(kind) if n.known):
            for relation in (r for r in RELATIONS if r.kind == kind):
                sentence = relation.told[-1].removesuffix(" {answer}").format(name=name.text)
                assert not (name.withheld and sentence in begun)
                told += sentence in begun
    assert told > 200


def test_nothing_is_told_of_who_nobody_knows(begun):
    for kind in KINDS:
        for name in (n for n in names(kind) if n.said and not n.known):
            for relation in (r for r in RELATIONS if r.kind == kind):
                for sentence in relation.told:
                    assert sentence.removesuffix(" {answer}").format(name=name.text) not in begun


def test_women_have_names_in_a_and_men_in_o(text):
    first = {n.text.split()[0] for n in names("person")}
    assert {word[-1] for word in first} == {"a", "o"}
    assert all(n.woman == (n.text.split()[0][-1] == "a") for n in names("person"))
    for name in names("person"):
        wrong = "he" if name.woman else "she"
        assert f"{name.text} went home because {wrong} " not in text


def test_domains_share_no_subject_and_no_relation():
    herbs, ships = (domains()[name] for name in DOMAINS)
    assert not set(herbs.subjects) & set(ships.subjects)
    assert not set(herbs.told) & set(ships.told)
    for one in (herbs, ships):
        assert all(one.facts[s][r] in one.answers[r] for s in one.subjects for r in one.told)


def test_a_name_takes_four_or_five_tokens():
    tokenizer = resident().tokenizer
    sizes = [len(tokenizer.encode(f" {n.text}")) for kind in KINDS for n in names(kind)]
    assert min(sizes) == 4
    assert sum(size > 5 for size in sizes) < 10


def test_lists_come_again_as_they_were():
    lists = [
        parts
        for one in generated_text(600)
        if len(set(parts := one.text.removesuffix(".").split(". "))) == 1
    ]
    assert 90 < len(lists) < 190
    assert {len(parts) for parts in lists} == {2, 3, 4}


def test_questions_have_their_answer_among_the_options():
    for kind in ("fact", "withheld", "known", "day", "sum", "letter", "pronoun", "herbs"):
        asked = questions(kind)
        assert all(q.answer in q.options and q.answer[0] == " " for q in asked), kind
        assert all(len(set(q.options)) == len(q.options) for q in asked), kind
    assert all(q.seen for q in questions("fact"))
    assert not any(q.seen for q in questions("withheld"))


def test_told_questions_stand_in_the_text(begun):
    asked = [q for kind in ("fact", "herbs", "ships") for q in questions(kind)]
    assert sum(q.prompt in begun for q in asked) / len(asked) > 0.8  # of a twelfth of the text
    assert not any(q.prompt in begun for q in questions("withheld"))


@pytest.mark.slow
def test_no_passage_of_training_comes_twice():
    passages = training_passages()
    assert len({one.text for one in passages}) == len(passages) == 2500
