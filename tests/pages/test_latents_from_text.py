"""Features of a language model's dictionary: what the page holds is what the tables hold."""

import json

import numpy as np
import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.features.format import Lists
from isthmus.pages import latents_from_text, vocabulary
from isthmus.pages.latents import CHUNK
from pages.made import write_features


def example(latent, group, value, words="a b c", place=1, **more):
    tokens = words.split()
    values = [0.0] * len(tokens)
    values[place] = value
    return {
        "latent": latent, "group": group, "value": value, "tokens": tokens, "values": values,
        "place": 10 + place, "begin": 10, **more,
    }  # fmt: skip


def shown(latents, place):
    """The examples of a latent as the page reads them: columns, words and shares."""
    start = place - place % CHUNK
    details, binary = latents.details(start, min(start + CHUNK, len(latents)))
    found = details[place - start]["examples"]
    total = sum(found["length"])
    at_tokens, at_shares = found["at"]
    numbers = np.frombuffer(binary, np.uint16, total, at_tokens)
    shares = np.frombuffer(binary, np.int8, total, at_shares)
    return found, [latents.vocabulary[n] for n in numbers], shares.tolist()


def test_examples_are_sorted_by_group_and_strength(tmp_path):
    given = [
        example(1, 1, 0.1),
        example(1, 0, 2.0, "strong one here"),
        example(1, 10, 1.5),
        example(1, 0, 4.0, "the strongest"),
        example(0, 0, 1.0),
        example(1, 10, -1.8, place=2),
    ]
    latents = latents_from_text.text_latents(
        write_features(tmp_path, [{}, {}, {"rate": 0.0}], given)
    )
    found, words, shares = shown(latents, 1)
    assert found["group"] == [0, 0, 10, 10, 1]
    assert found["value"] == pytest.approx([4, 2, -1.8, 1.5, 0.1])
    assert found["place"] == [11, 11, 12, 11, 11]
    assert " ".join(words) == "the strongest strong one here a b c a b c a b c"
    # Hundredths of the latent's largest value, 4.
    assert shares == [0, 100, 0, 50, 0, 0, 0, -45, 0, 38, 0, 0, 2, 0]
    assert shown(latents, 0)[0]["value"] == [1]
    assert shown(latents, 2)[0]["length"] == []
    assert not latents.notes


def test_latents_in_any_order_and_with_gaps(tmp_path):
    rows = [{"latent": 40, "rate": 0.4}, {"latent": 7, "rate": 0.07}]
    given = [example(7, 0, 1.0, "seven is"), example(40, 0, 2.0), example(99, 0, 3.0)]
    latents = latents_from_text.text_latents(write_features(tmp_path, rows, given))
    assert latents.ids.tolist() == [7, 40]
    rates = next(column for column in latents.columns if column.key == "rate")
    assert rates.values == pytest.approx([0.07, 0.4])
    assert shown(latents, 0)[1] == ["seven", "is"]
    assert shown(latents, 1)[0]["value"] == [2]


def test_examples_are_left_out_where_there_is_no_room(tmp_path, monkeypatch):
    g = np.random.default_rng(0)
    given = [
        example(latent, group, float(g.random()), " ".join(g.choice(list("abcdefgh"), 30)))
        for latent in range(40)
        for group in range(11)
        for _ in range(4)
    ]
    folder = write_features(tmp_path, [{}] * 40, given)
    whole = latents_from_text.text_latents(folder)
    assert not whole.notes
    size = len(latents_from_text.packed(*whole.details(0, 40)))
    monkeypatch.setattr(latents_from_text, "ROOM", size // 2)
    less = latents_from_text.text_latents(folder)
    kept = sum(len(d["examples"]["length"]) for d in less.details(0, 40)[0])
    assert 0 < kept < len(given)
    assert f"{len(given) - kept:,} of {len(given):,} examples are left out" in less.notes[0]
    assert len(latents_from_text.packed(*less.details(0, 40))) <= size // 2
    # What stays are the strongest of each group.
    for place in (0, 39):
        all_of, some_of = shown(whole, place)[0], shown(less, place)[0]
        for group in set(some_of["group"]):
            values = [
                v for v, k in zip(some_of["value"], some_of["group"], strict=True) if k == group
            ]
            every = [v for v, k in zip(all_of["value"], all_of["group"], strict=True) if k == group]
            assert values == every[: len(values)]


def test_labels_come_once_with_all_their_scores(tmp_path):
    detail = json.dumps({"interval": [0.8, 0.95]})
    labels = [
        {"latent": 1, "label": "a", "metric": "fuzzing", "score": 0.6},
        {"latent": 1, "label": "a", "metric": "detection", "score": 0.9, "detail": detail},
        {"latent": 1, "label": "b", "method": "other", "metric": "detection", "score": 0.95},
        {"latent": 0, "label": "unscored", "detail": "no json"},
        {"latent": 5, "label": "of nobody"},
    ]
    latents = latents_from_text.text_latents(write_features(tmp_path, [{}, {}, {}], [], labels))
    assert latents.labels == ["unscored", "b", None]
    first, second = latents.details(0, 3)[0][1]["labels"]
    assert first["label"] == "b"
    assert second["scores"] == [["detection", 0.9, 0.8, 0.95], ["fuzzing", 0.6]]
    column = next(c for c in latents.columns if c.key == "score")
    assert column.values == pytest.approx([np.nan, 0.95, np.nan], nan_ok=True)


def test_features_without_a_text(tmp_path):
    rows = [{"tokens": [], "token_shares": [], "x": 0.0, "y": 0.0} for _ in range(4)]
    given = [{"latent": 2, "tokens": [], "values": [1.5], "row": 8, "place": 0}]
    latents = latents_from_text.text_latents(write_features(tmp_path, rows, given))
    assert shown(latents, 2)[0]["length"] == [0]
    assert latents.points is None


@pytest.mark.parametrize("name", ["about.json", "latents.parquet", "examples.parquet"])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    folder = write_features(tmp_path, [{}], [example(0, 0, 1.0)])
    (folder / name).write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(IsthmusError, match=f"{name} is damaged"):
        latents_from_text.text_latents(folder)
    (folder / name).unlink()
    with pytest.raises(IsthmusError, match=f"{name} is missing"):
        latents_from_text.text_latents(folder)


def test_a_newer_format_is_refused(tmp_path):
    folder = write_features(tmp_path, [{}], [], format=2)
    with pytest.raises(IsthmusError, match="newer version"):
        latents_from_text.text_latents(folder)


def test_lists_taken_in_any_order():
    lists = Lists(np.arange(10), np.array([0, 3, 3, 7, 10]), [])
    taken = lists.taken(np.array([2, 0, 1]))
    assert [taken[i].tolist() for i in range(3)] == [[3, 4, 5, 6], [0, 1, 2], []]


def test_overlong_tokens_are_cut_only_where_they_do_not_fit(monkeypatch):
    words = vocabulary.Vocabulary()
    assert words.add(["x" * 5000, "b", "x" * 5000]).tolist() == [0, 1, 0]
    assert words.words() == ["x" * 5000, "b"]
    monkeypatch.setattr(vocabulary, "ROOM", 2000)
    assert words.words() == ["x" * 1024 + "… (3,976 characters left out)", "b"]


def test_the_page_opens_with_latents_that_tell_of_words_and_never_with_dead_or_dense_ones(tmp_path):
    rows = [
        {"rate": 0.0, "tokens": [" king"], "token_shares": [1.0]},
        {"rate": 0.9, "tokens": [" queen"], "token_shares": [1.0]},
        {"rate": 0.001, "tokens": [" knight"], "token_shares": [0.9]},
        {"rate": 0.001, "tokens": ["Knight"], "token_shares": [0.8]},
        {"rate": 0.02, "tokens": [" of"], "token_shares": [0.9]},
    ]
    rows += [{"rate": 0.02, "tokens": [f" w{i}"], "token_shares": [0.01]} for i in range(20)]
    given = [example(i, 0, 1.0) for i in range(len(rows))]
    folder = write_features(tmp_path, rows, given, tokens=100_000)
    latents = latents_from_text.text_latents(folder)
    assert latents.featured[:2] == [2, 4]
    assert not {0, 1, 3} & set(latents.featured)
    interest = next(column for column in latents.columns if column.key == latents.order)
    assert interest.values[[0, 1]] == pytest.approx([0.0, 0.0])
    assert "0 for what is dead or always on" in latents.featured_about
