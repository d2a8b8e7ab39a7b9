"""The scikit-learn outlier detector."""

import numpy as np
import pytest
from sklearn.base import is_outlier_detector
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from isthmus.estimators import AutoencoderDetector

SMALL = {"latent_dim": 2, "steps": 5, "options": {"hidden": (4,)}}


@parametrize_with_checks([AutoencoderDetector()])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + 0.2 * rng.normal(size=(200, 6))
    X[:10] += 5.0 * rng.normal(size=(10, 6))
    return X, np.arange(200) < 10


@pytest.mark.parametrize("recipe", ["trimmed-linear-vae", "vae", "plain"])
def test_it_is_a_detector(recipe):
    X, y = rows()
    options = {} if recipe == "trimmed-linear-vae" else SMALL
    found = AutoencoderDetector(recipe, contamination=0.05, **options).fit(X)
    assert is_outlier_detector(found)
    scores = found.score_samples(X)
    assert found.offset_ == np.quantile(scores, 0.05)
    np.testing.assert_array_equal(found.decision_function(X), scores - found.offset_)
    predicted = found.predict(X)
    assert set(predicted) == {-1, 1}
    assert (predicted == -1).sum() == 10
    np.testing.assert_array_equal(predicted, np.where(found.decision_function(X) < 0, -1, 1))
    np.testing.assert_array_equal(found.fit_predict(X), predicted)
    assert found.transform(X).shape[0] == 200
    if recipe == "trimmed-linear-vae":
        assert roc_auc_score(y, -scores) > 0.99


@pytest.mark.parametrize("contamination", [0.0, 0.7, "auto"])
def test_a_contamination_that_is_no_share_is_refused(contamination):
    with pytest.raises(ValueError, match="contamination"):
        AutoencoderDetector(contamination=contamination).fit(rows()[0])


def test_it_scores_by_what_was_asked_for():
    X, _ = rows()
    bound = AutoencoderDetector("vae", **SMALL).fit(X)
    error = AutoencoderDetector("vae", scoring="error", **SMALL).fit(X)
    np.testing.assert_allclose(error.score_samples(X), bound.model_.score(X, kind="error"))
    assert not np.allclose(bound.score_samples(X), error.score_samples(X))


def test_it_ends_a_pipeline():
    X, y = rows()
    found = make_pipeline(StandardScaler(), AutoencoderDetector(contamination=0.05))
    assert (found.fit_predict(X)[y] == -1).mean() > 0.8
