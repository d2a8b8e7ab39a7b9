"""Labels of a features folder, from end to end."""

import json

import numpy as np
import pytest

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.interpretation.labels import (
    CONTROLS,
    ChatLabeller,
    Explanation,
    Rule,
    label,
    read_labels,
    score_difference,
    write_labels,
)
from isthmus.interpretation.labels.chat import Memory, Reply, Spend

from .made import after, chance, ending, folder, word

LATENTS = [
    word("king"), word("ship", "house"), after(" the"), ending("ing"), word("of"), word("."),
    *[chance(0.02, seed) for seed in range(4)],
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("source") / "features", LATENTS, rows=240, contexts=600)


@pytest.fixture
def features(source, tmp_path):
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def ruled(source):
    return label(source, progress=False, write=False)


def of(labels, metric, latents=range(100)):
    return [x for x in labels if x.metric == metric and x.latent in latents]


def test_labels_of_what_follows_a_rule_hold_on_new_text(ruled):
    """Planted latents against such as fire by chance, and against the labels of others."""
    for metric in ("detection", "fuzzing"):
        planted = of(ruled.labels, metric, range(6))
        assert min(x.score for x in planted) > 0.95
        against = score_difference(planted, of(ruled.labels, metric, range(6, 10)))
        assert against.interval[0] > 0.3
        shuffled = ruled.summary()[f"{metric}_shuffled"]
        assert abs(shuffled.value - 0.5) < 0.1
    low, high = ruled.summary()["detection"].interval
    assert low < ruled.summary()["detection"].value < high


def test_what_is_written_is_what_is_returned(features):
    found = label(features, progress=False, latents=[0, 2, 4])
    assert read_labels(features) == found.labels
    shuffled = read_labels(features, name=CONTROLS)
    assert {x.latent for x in shuffled} == {0, 2, 4}
    names = {x.latent: x.label for x in found.labels}
    for x in shuffled:
        assert x.detail["label_of"] != x.latent
        assert x.label == names[x.detail["label_of"]]
    for x in found.labels:
        if "interval" in x.detail:
            low, high = x.detail["interval"]
            assert low <= x.score <= high
        else:  # resamples that all agree have none
            assert x.score in (0.0, 0.5, 1.0)
        assert x.method == "rules"
        assert x.examples > 10
        assert Rule.from_dict(x.detail["rule"]).sentence() == x.label


def test_a_label_depends_on_its_latent_and_the_seed_alone(source, ruled):
    alone = label(source, latents=[3, 8], progress=False, write=False).labels
    assert alone == [x for x in ruled.labels if x.latent in (3, 8)]
    other = label(source, latents=[3, 8], seed=1, progress=False, write=False).labels
    assert [x.detail for x in other] != [x.detail for x in alone]


def test_the_strongest_examples_only(features):
    found = label(features, latents=[0, 6], sample="top", progress=False)
    assert {x.method for x in found.labels} == {"rules/top"}
    assert max(x.examples for x in found.labels) <= 6


def test_explaining_without_scoring(features):
    found = label(features, latents=[0], scorers=[], progress=False)
    (only,) = found.labels
    assert (only.score, only.metric, only.label) == (None, "", "“ king”")


def test_without_random_windows_the_doubt_is_said(features):
    (features / "windows.parquet").unlink()
    found = label(features, latents=[0], progress=False, write=False).labels
    detail = of(found, "detection")[0].detail
    assert detail["silent_unchecked"]
    assert 0 < detail["expected_firing_in_silent"] < 1


class Model:
    """A model that explains by the first marked token and judges by looking for it."""

    name, settings = "model", {}

    def __init__(self, fails_after=10**9, unreadable=()):
        self.spend, self.left, self.unreadable = Spend(), fails_after, unreadable

    def ask(self, prompts, done):
        for i, prompt in enumerate(prompts):
            if self.left == 0:
                raise IsthmusError("out of order")
            self.left -= 1
            self.spend.requests += 1
            done(i, Reply(self.answer(prompt), 10, 2))

    def answer(self, prompt):
        if prompt.attempt < len(self.unreadable):
            return self.unreadable[prompt.attempt]
        if "[EXPLANATION]" in prompt.system:
            return f"[EXPLANATION]: {prompt.user.split('<<')[1].split('>>')[0].strip()}"
        told, *texts = prompt.user.split("\nText ")
        sought = told.removeprefix("Explanation: ").strip()
        if "<<" in prompt.user:
            return json.dumps([int(f"<< {sought}>>" in text) for text in texts])
        return json.dumps([int(f" {sought}" in text) for text in texts])


def outside(where, **options):
    chat = Model(**options)
    return ChatLabeller(chat, Memory(where / "label_cache.jsonl"))


def test_a_model_explains_and_judges(features):
    model = outside(features)
    found = label(features, model, latents=[0, 4], progress=False)
    assert {(x.latent, x.label) for x in found.labels} == {(0, "king"), (4, "of")}
    assert min(x.score for x in found.labels) > 0.9  # marks of neighbours run together
    assert found.controls == []
    assert found.spend == model.spend
    assert "unanswered" not in found.labels[0].detail


def test_rules_can_be_judged_by_a_model(features):
    found = label(features, "rules", judge=outside(features), latents=[0], progress=False)
    assert {x.method for x in found.labels} == {"rules judged by model"}
    assert found.labels[0].label == "“ king”"


def test_a_run_that_failed_goes_on_where_it_was(features):
    whole = outside(features / "..", fails_after=10**9)
    every = label(features, whole, latents=[0, 4], progress=False, write=False).labels
    broken = outside(features, fails_after=7)
    with pytest.raises(IsthmusError, match="out of order"):
        label(features, broken, latents=[0, 4], progress=False)
    assert read_labels(features) == []
    again = outside(features)
    found = label(features, again, latents=[0, 4], progress=False)
    assert found.labels == every
    assert again.spend.remembered == 7
    assert again.spend.requests + 7 == whole.spend.requests


def test_unreadable_answers_are_asked_for_again(features):
    model = outside(features, unreadable=("hm\nhm", "let me\nthink"))
    found = label(features, model, latents=[0], progress=False)
    assert min(x.score for x in found.labels) > 0.9
    assert model.spend.unreadable > 0


def test_a_model_that_is_never_understood(features):
    model = outside(features, unreadable=("a\nb",) * 3)
    found = label(features, model, latents=[0], progress=False)
    assert {(x.label, x.score) for x in found.labels} == {("", None)}
    mute = outside(features / "..", unreadable=("a\nb",) * 3)
    judged = label(features, "rules", judge=mute, latents=[0], progress=False).labels
    for x in judged:
        assert x.score is None
        assert x.detail["unanswered"] > 0


class Known:
    name = "known"

    def explain(self, evidence):
        return [Explanation("known", Rule(()), len(e.firing)) for e in evidence]


def test_own_explainers(features):
    found = label(features, Known(), judge="rules", latents=[0], progress=False, write=False)
    assert {x.score for x in found.labels} == {0.5}
    with pytest.raises(IsthmusError, match="name a judge"):
        label(features, Known(), latents=[0], progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explainer": "rule"}, "did you mean 'rules'"),
        ({"scorers": ["detect"]}, "did you mean 'detection'"),
        ({"sample": "decile"}, "did you mean 'deciles'"),
        ({"model": "x"}, "belongs to the methods"),
        ({"explainer": "endpoint", "judge": "local", "model": "x"}, "cannot serve two"),
        ({"latents": [77]}, "latent 77 has no examples"),
    ],
)
def test_mistakes(source, options, message):
    with pytest.raises(IsthmusError, match=message):
        label(source, progress=False, write=False, **options)


def test_without_pyarrow(source, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"isthmus\[tables\]"):
        label(source, progress=False)
    with pytest.raises(MissingExtra, match="pyarrow"):
        write_labels(source, [])


def test_scores_do_not_depend_on_blocks(source, ruled, monkeypatch):
    monkeypatch.setattr("isthmus.interpretation.labels.windows.read_windows.__defaults__", (0, 3))
    found = label(source, progress=False, write=False)
    assert found.labels == ruled.labels
    assert np.isfinite([x.score for x in found.labels]).all()
