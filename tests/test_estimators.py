"""The scikit-learn face passes scikit-learn's own checks, for every recipe that reads vectors."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer, _numbers

SMALL = {
    "plain": {"epochs": 2, "options": {"hidden": (8,)}},
    "denoising": {"epochs": 2, "options": {"hidden": (8,)}},
    "beta-vae": {"steps": 10, "options": {"hidden": (8,)}},
    "topk": {"steps": 5, "k": 2, "latent_dim": 16},
    "jumprelu": {"steps": 5, "latent_dim": 16},
    "daef": {},
}
X = load_iris().data


@pytest.mark.parametrize("recipe", SMALL)
def test_check_estimator(recipe):
    estimator = AutoencoderTransformer(recipe, **{"latent_dim": 2, **SMALL[recipe]})
    with warnings.catch_warnings():
        # The array API check needs an environment variable that is not ours to set.
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(estimator)


def test_clone_keeps_every_parameter():
    estimator = AutoencoderTransformer("topk", latent_dim=8, k=2, lr=0.01, options={"clip": 2.0})
    assert clone(estimator).get_params() == estimator.get_params()


def test_shapes_and_sign_of_the_score():
    estimator = AutoencoderTransformer("plain", latent_dim=2, epochs=30, options={"hidden": ()})
    codes = estimator.fit_transform(X)
    assert codes.shape == (len(X), 2)
    recon = estimator.inverse_transform(codes)
    assert recon.shape == X.shape
    outlier = X[:1] + 100.0
    assert estimator.score_samples(outlier)[0] < estimator.score_samples(X).min()
    assert estimator.score(X) == pytest.approx(estimator.score_samples(X).mean())
    assert list(estimator.get_feature_names_out()) == ["plain0", "plain1"]


def test_in_a_pipeline_and_a_search():
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer("plain", epochs=2))
    search = GridSearchCV(pipeline, {"autoencodertransformer__latent_dim": [1, 3]}, cv=2)
    search.fit(X)
    assert search.best_params_["autoencodertransformer__latent_dim"] in (1, 3)


def test_same_seed_same_codes():
    make = lambda seed: AutoencoderTransformer("beta-vae", latent_dim=2, steps=5, seed=seed)  # noqa: E731
    first, again, other = (make(seed).fit_transform(X) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_option_is_named():
    with pytest.raises(IsthmusError, match=r"did you mean 'hidden'"):
        AutoencoderTransformer("plain", options={"hiden": (3,)}).fit(X)


def test_a_mapping_is_answered_in_one_sentence():
    with pytest.raises(IsthmusError, match=r"parts=\{name: columns\}"):
        AutoencoderTransformer("mvae").fit({"a": np.ones((4, 2))})


@pytest.mark.parametrize(
    ("y", "numbers"),
    [([2.0, 7.0, 2.0], [0, 1, 0]), (["b", "a", "b"], [1, 0, 1]), ([0.25, 3.5, 1.0],) * 2],
)
def test_classes_are_numbered_and_real_conditions_kept(y, numbers):
    np.testing.assert_array_equal(_numbers(y), numbers)


def test_a_missing_label_is_no_class():
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = pd.Series(["a", "b", None, "a"] * 5)
    with pytest.raises(IsthmusError, match="labels contain missing values"):
        AutoencoderTransformer("plain", label="labels").fit(x, y)
