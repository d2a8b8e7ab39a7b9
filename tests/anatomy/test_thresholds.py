"""Thresholds: the quantiles of the training rows' scores."""

import json

import numpy as np
import pytest

import isthmus
from isthmus.anatomy.thresholds import POINTS, summary, threshold
from isthmus.errors import IsthmusError


@pytest.mark.parametrize("n", [2, 37, 1000, 1001])
def test_quantiles_of_few_scores_are_exact(n):
    scores = np.random.default_rng(n).normal(size=n).astype("f4")
    kept = json.loads(json.dumps(summary(scores, "bound", n)))
    for share in (0.01, 0.05, 0.1, 0.5):
        expected = np.quantile(np.float64(scores), share)
        assert threshold(kept, contamination=share) == pytest.approx(expected, rel=1e-12)
    assert threshold(kept, quantile=1.0) == scores.max()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.25, 0.5])
def test_quantiles_of_many_scores_are_exact_at_each_thousandth(share):
    scores = np.random.default_rng(0).normal(size=12_345).astype("f4")
    kept = summary(scores, "error", 12_345)
    assert len(kept["quantiles"]) == POINTS
    expected = np.quantile(np.float64(scores), share)
    assert threshold(kept, contamination=share) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"contamination": 0.0}, "contamination=0"),
        ({"contamination": 0.6}, "at most 0.5"),
        ({"quantile": 1.5}, "quantile=1.5"),
        ({"quantile": -0.1}, "quantile=-0.1"),
        ({}, "one of the two"),
        ({"quantile": 0.1, "contamination": 0.1}, "one of the two"),
    ],
)
def test_what_is_no_share_is_refused(asked, said):
    with pytest.raises(IsthmusError, match=said):
        threshold(summary(np.arange(9.0), "error", 9), **asked)
    with pytest.raises(IsthmusError, match="no scores of training rows"):
        threshold(None, contamination=0.1)


def rows(n=200):
    return np.random.default_rng(2).normal(size=(n, 5)).astype("f4")


@pytest.mark.parametrize("recipe", ["plain", "vae", "trimmed-linear-vae"])
def test_predict_flags_the_share_that_was_asked_for(recipe, tmp_path):
    options = {} if recipe == "trimmed-linear-vae" else {"steps": 10, "latent_dim": 2}
    model = isthmus.fit(recipe, rows(), progress=False, out=tmp_path / "run", **options)
    again = isthmus.load(tmp_path / "run")
    assert again.config["scores"] == model.config["scores"]
    assert model.config["scores"]["kind"] == ("error" if recipe == "plain" else "bound")
    for share in (0.05, 0.1, 0.5):
        found = again.predict(rows(), contamination=share)
        assert set(found) == {-1, 1}
        assert (found == -1).sum() == 200 * share
    assert (again.predict(rows()) == -1).sum() == 20
    limit = again.threshold(contamination=0.05)
    np.testing.assert_array_equal(again.predict(rows(), threshold=limit) == -1,
                                  again.score(rows()) < limit)  # fmt: skip
    with pytest.raises(IsthmusError, match="pass it alone"):
        again.predict(rows(), threshold=0.0, quantile=0.1)


def test_dictionaries_keep_no_scores_and_say_so():
    model = isthmus.fit("topk", rows(), progress=False, steps=3, latent_dim=8, k=2)
    assert "scores" not in model.config
    with pytest.raises(IsthmusError, match="no scores of training rows"):
        model.predict(rows(), contamination=0.1)
    assert (model.predict(rows(), threshold=1.0) == -1).all()


def test_a_resumed_run_ends_with_the_same_scores(tmp_path):
    options = {"steps": 6, "latent_dim": 2, "hidden": (8,), "progress": False, "batch_size": 50}
    whole = isthmus.fit("vae", rows(), out=tmp_path / "whole", **options)

    class Stop:
        def on_step(self, trainer, losses):
            if trainer.step == 3:
                trainer.save()
                raise KeyboardInterrupt

    from isthmus.training import Callback

    class Stopping(Stop, Callback):
        pass

    with pytest.raises(KeyboardInterrupt):
        isthmus.fit("vae", rows(), out=tmp_path / "cut", callbacks=[Stopping()], **options)
    resumed = isthmus.resume(tmp_path / "cut", rows(), progress=False)
    assert resumed.config["scores"] == whole.config["scores"]
    assert isthmus.load(tmp_path / "cut").config["scores"] == whole.config["scores"]


def test_a_threshold_of_other_scores_is_refused():
    X = np.random.default_rng(0).normal(size=(200, 5)).astype("f4")
    model = isthmus.fit("vae", X, latent_dim=2, steps=10, progress=False)
    with pytest.raises(IsthmusError, match="not scored by kind=error"):
        model.predict(X, kind="error")
    assert (model.predict(X, kind="bound", contamination=0.1) == -1).mean() == pytest.approx(0.1)
    assert (model.predict(X, kind="error", threshold=-1e9) == 1).all()


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("predict", {"contamination": "0.1"}),
        ("predict", {"quantile": "0.1"}),
        ("predict", {"threshold": "low"}),
        ("predict", {"threshold": float("nan")}),
        ("predict", {"seed": "abc"}),
        ("score", {"seed": "abc"}),
        ("score", {"seed": 1.5}),
        ("drivers", {"seed": "abc"}),
        ("reconstruct", {"seed": "abc"}),
        ("encode", {"batch_size": "many"}),
    ],
)
def test_what_is_no_number_is_one_sentence(method, option):
    X = np.random.default_rng(0).normal(size=(40, 4)).astype("f4")
    model = isthmus.fit("vae", X, latent_dim=2, steps=2, progress=False)
    ((name, value),) = option.items()
    with pytest.raises(IsthmusError, match=f"{name}=.*{value}.* is no"):
        getattr(model, method)(X, **option)
