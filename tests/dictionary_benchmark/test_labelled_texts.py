"""Labelled texts: the library's, and tables of the user's."""

import json

import pytest

from isthmus import notices
from isthmus.dictionary_benchmark.concept_probes import asked_classes, balanced, one_against_rest
from isthmus.dictionary_benchmark.labelled_texts import (
    LEAST,
    MOST_CLASSES,
    chosen_texts,
    offline_texts,
    user_texts,
)
from isthmus.errors import IsthmusError


def test_without_data_there_are_the_made_texts(monkeypatch, tmp_path):
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    (only,) = offline_texts(20)
    assert only.name == "made"
    assert all(len(only.classes(name)) == 2 for name in only.labels)


def test_a_table_is_read_and_classes_are_drawn_evenly(tmp_path):
    rows = [{"say": f"text {i}", "kind": "abc"[i % 3], "tone": "up" if i % 2 else "down"}
            for i in range(300)]  # fmt: skip
    rows += [{"say": "", "kind": "a", "tone": "up"}, {"say": "x", "kind": "rare", "tone": "up"}]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = user_texts(path, "say", ["kind"], 20)
    assert (one.name, len(one)) == ("own", 60)
    assert one.classes("kind") == ("a", "b", "c")
    assert all(one.of("kind", label).sum() == 20 for label in "abc")
    two = user_texts(path, "say", ["kind", "tone"], 20)
    for kind in "abc":
        for tone in ("up", "down"):
            assert (two.of("kind", kind) & two.of("tone", tone)).sum() == 10


def test_of_many_classes_the_largest_are_asked_about():
    labels = [f"c{i}" for i in range(MOST_CLASSES + 2) for _ in range(LEAST + i)]
    texts = [f"{i}" for i in range(len(labels))]
    found = chosen_texts("many", texts, {"class": labels}, 5, 0)
    assert found.classes("class") == tuple(f"c{i}" for i in range(2, MOST_CLASSES + 2))
    assert found.texts == chosen_texts("many", texts, {"class": labels}, 5, 0).texts
    assert found.texts != chosen_texts("many", texts, {"class": labels}, 5, 1).texts


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(IsthmusError, match="there is no file"):
        user_texts(tmp_path / "no.csv", "text", ["label"], 5)
    path = tmp_path / "own.csv"
    path.write_text("text,label\na,b\n")
    with pytest.raises(IsthmusError, match="did you mean 'label'"):
        user_texts(path, "text", ["labels"], 5)
    with pytest.raises(IsthmusError, match="fewer than two classes"):
        user_texts(path, "text", ["label"], 5)
    with pytest.raises(IsthmusError, match="no column of labels"):
        user_texts(path, "text", [], 5)
    (tmp_path / "own.txt").write_text("text")
    with pytest.raises(IsthmusError, match="no rows with columns"):
        user_texts(tmp_path / "own.txt", "text", ["label"], 5)
    with pytest.raises(IsthmusError, match="a column is named twice"):
        user_texts(path, "text", ["label", "label"], 5)
    path.write_text("text,label\n")
    with pytest.raises(IsthmusError, match="has no rows"):
        user_texts(path, "text", ["label"], 5)


def test_of_two_classes_one_question_is_asked_and_of_three_three():
    labels = {"two": list("ab" * 36), "three": list("xyz" * 24)}
    texts = chosen_texts("t", [str(i) for i in range(72)], labels, 36, 0)
    assert [label for _, label in asked_classes(texts)] == ["a", "x", "y", "z"]
    split = one_against_rest(texts, "three", "y", 3)
    assert texts.of("three", "y")[split.index].tolist() == split.on.tolist()
    again = balanced(split.index[split.on], split.index[~split.on], 0, 0)
    assert sorted(again.index.tolist()) == sorted(split.index.tolist())


def test_rows_that_lack_something_or_repeat_a_text_are_left_out_and_counted(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = [f'{{"text": "text {i}", "label": "{"ab"[i % 2]}"}}' for i in range(40)]
    gaps = ['{"text": "x", "label": NaN}', '{"text": "  ", "label": "a"}']
    path.write_text("\n".join([*rows, *gaps, rows[0], rows[1], rows[1]]))
    with notices.collected(quiet=True) as said:
        read = user_texts(path, "text", ["label"], 50)
    assert sorted(read.texts) == sorted(f"text {i}" for i in range(40))
    assert said == [
        "2 of 45 rows of own.jsonl lack the text or a label: left out",
        "3 of 45 rows of own.jsonl repeat the text of another: left out",
    ]
