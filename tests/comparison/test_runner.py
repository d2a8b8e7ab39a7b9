"""Comparisons: ranked right, kept, gone on with, and refused in one sentence."""

import json

import numpy as np
import pytest

from isthmus.comparison import TASKS, compare
from isthmus.comparison import runner as module
from isthmus.comparison.comparison_page import page
from isthmus.comparison.kept_fits import RESULTS
from isthmus.comparison.ranking_table import as_csv
from isthmus.errors import IsthmusError

QUICK = {"seeds": 2, "steps": 5, "batch_size": 32, "latents": 2, "width": 8}


@pytest.fixture(scope="module")
def blobs():
    """Three clusters in 6 dimensions, and rows far from all of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 6)) * 8
    y = np.arange(180) % 3
    return (centres[y] + rng.normal(size=(180, 6))).astype(np.float32), y


def test_clusters_that_are_plain_to_see_are_found(blobs):
    x, y = blobs
    found = compare(x, ["plain"], "cluster", labels=y, **QUICK)
    assert found.estimate("data", "accuracy").mean == 1.0
    assert found.estimate("pca", "nmi").mean == 1.0
    assert set(found.ranking) == {"plain", *TASKS["cluster"].baselines}
    assert found.best_baseline in TASKS["cluster"].baselines


def test_without_labels_the_number_of_clusters_is_found(blobs):
    x, _ = blobs
    found = compare(x, ["plain"], "cluster", **QUICK)
    assert found.settings.clusters == 3
    assert found.measures == ["silhouette", "smallest_share"]


def test_anomalies_far_away_are_found_and_the_rarer_class_is_anomalous():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 8)) + 0.05 * rng.normal(size=(200, 8))
    far = rng.random(200) < 0.1
    x[far] += 4.0 * rng.normal(size=(int(far.sum()), 8))
    labels = np.where(far, "bad", "good")
    found = compare(x.astype(np.float32), ["plain"], "anomaly", labels=labels, **QUICK)
    assert found.estimate("pca", "auroc").mean > 0.9
    assert found.estimate("isolation-forest", "auroc").mean > 0.8
    assert "anomalous are the rows labelled 'bad'" in found.prepared.notes[-1]
    assert found.ranking[0] != "untrained"


def test_reconstruction_by_all_components_is_exact():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(80, 2)) @ rng.normal(size=(2, 7))).astype(np.float32)
    found = compare(x, ["plain", "barlow-twins"], "reconstruct", **QUICK)
    assert found.estimate("pca", "fvu").mean < 1e-6
    assert found.ranking[0] == "pca"
    assert "barlow-twins" in found.left_out


def test_the_density_of_a_gaussian_is_that_of_probabilistic_pca():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    found = compare(x, ["vae"], "density", **{**QUICK, "seeds": 1})
    entropy = -1.5 * np.log(2 * np.pi * np.e)
    assert found.estimate("pca", "log_density").mean == pytest.approx(entropy, abs=0.1)
    assert found.estimate("vae", "log_density").mean < entropy + 0.1


def test_codes_of_more_noise_cost_more_bits(blobs):
    x, _ = blobs
    found = compare(x, ["plain", "topk"], "compress", **QUICK)
    pca = found.of("pca")[0].measures
    assert pca["fvu"] <= pca["unrounded_fvu"] + 0.01
    assert 0.0 < pca["bits"] < 2 * 16


def test_probing_tells_classes_and_predicts_numbers(blobs):
    x, y = blobs
    assert compare(x, ["plain"], "probe", labels=y, **QUICK).estimate("data", "linear").mean > 0.99
    target = x[:, 0].astype(float) + 0.5
    found = compare(x, ["plain"], "probe", labels=target, **QUICK)
    assert found.estimate("data", "linear").mean > 0.99


def test_what_is_there_is_not_fitted_again(blobs, tmp_path, monkeypatch):
    x, y = blobs
    first = compare(x, ["plain"], "cluster", labels=y, out=tmp_path, **QUICK)
    calls = []
    whole = module._fitted
    monkeypatch.setattr(module, "_fitted", lambda *a: calls.append(a[0]) or whole(*a))
    again = compare(x, ["plain"], "cluster", labels=y, out=tmp_path, **QUICK)
    assert calls == []
    assert as_csv(again) == as_csv(first)
    compare(x, ["plain", "vae"], "cluster", labels=y, out=tmp_path, **QUICK)
    assert calls == ["vae", "vae"]
    with pytest.raises(IsthmusError, match="a comparison of other data or settings"):
        compare(x + 1.0, ["plain"], "cluster", labels=y, out=tmp_path, **QUICK)
    (tmp_path / RESULTS).write_text("{")
    with pytest.raises(IsthmusError, match="holds no readable results"):
        compare(x, ["plain"], "cluster", labels=y, out=tmp_path, **QUICK)


def test_the_page_is_whole_and_escapes_what_comes_from_data(blobs, tmp_path):
    x, y = blobs
    names = np.array(["<script>alert(1)</script>", "b", "c"])[y]
    found = compare(x, ["plain"], "cluster", labels=names, **QUICK)
    found.prepared.notes.append("<img src=x onerror=alert(1)>")
    text = page(found)
    assert "<script" not in text
    assert "<img" not in text
    assert "http:" not in text
    assert "https:" not in text
    worst = [1 + len(one.rows) for one in found.examples.worst.values()]
    assert text.count("<tr") == 2 + len(found.ranking) * 3 + sum(worst)
    lines = as_csv(found).splitlines()
    assert len(lines) == 1 + len(found.ranking) * 2 * len(found.measures)
    plain = json.dumps([found.estimate("data", "nmi").mean])
    assert plain != "[NaN]"


def test_gaps_are_paired_and_follow_the_direction(blobs):
    x, _ = blobs
    found = compare(x, ["plain"], "reconstruct", **QUICK)
    gap = found.gap("pca", "untrained")
    each = [
        b.measures["fvu"] - a.measures["fvu"]
        for a, b in zip(found.of("pca"), found.of("untrained"), strict=True)
    ]
    assert gap.mean == pytest.approx(np.mean(each))
    assert gap.low > 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ["plan"]}, "did you mean 'plain'"),
        ({"recipes": []}, "no recipes to compare"),
        ({"task": "clusters"}, "did you mean 'cluster'"),
        ({"task": "anomaly"}, "needs labels"),
        ({"seeds": 0}, "seeds=0 is not allowed"),
        ({"options": {"vae": {}}}, "unknown compared recipe 'vae'"),
        ({"options": {"plain": {"k": 3}}}, "option of the recipe 'plain'"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(blobs, change, message):
    given = {"recipes": ["plain"], "task": "reconstruct", **QUICK, **change}
    with pytest.raises(IsthmusError, match=message):
        compare(blobs[0], **given)


def test_without_steps_recipes_end_by_themselves():
    x = np.random.default_rng(0).normal(size=(160, 6)).astype(np.float32)
    found = compare(x, ["plain"], "reconstruct", seeds=1, options={"plain": {"hidden": (8,)}})
    assert found.settings.budget.steps is None
    assert "until nothing is gained on held-out rows, at most 4,000 steps" in page(found)
    assert found.estimate("plain", found.measures[0]).mean < 1.0


def test_minutes_bound_the_steps_of_each_fit(blobs, tmp_path):
    x, _ = blobs
    short = {"seeds": 1, "latents": 2, "width": 8, "minutes": 1e-3}
    found = compare(x, ["plain"], "reconstruct", out=tmp_path, **short)
    plan = json.loads((tmp_path / "winner" / "config.json").read_text())["plan"]
    assert plan["bound"] == "minutes=0.001"
    assert plan["steps"] < 200
    assert "and 0.001 minutes a fit" in str(page(found))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minutes", 0), ("minutes", float("inf")), ("minutes", "abc"), ("minutes", 10**400),
        ("steps", 0), ("steps", "abc"), ("batch_size", 0), ("batch_size", -4), ("latents", 0),
        ("latents", -5), ("latents", 2.5), ("width", -3), ("clusters", "abc"), ("clusters", 1),
        ("seeds", 0),
    ],
)  # fmt: skip
def test_numbers_of_a_budget_are_checked_before_anything_is_written(blobs, tmp_path, name, value):
    with pytest.raises(IsthmusError, match=f"the option {name}=.* is not allowed: "):
        compare(blobs[0], ["plain"], "reconstruct", out=tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()
