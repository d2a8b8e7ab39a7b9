"""``isthmus similarity``: arrays, the codes of two runs, and what cannot be compared."""

import re

import numpy as np
import pytest

import isthmus
from commands import run
from isthmus.evaluation import cka, stitching


def value(text, measure):
    return float(re.search(rf"^ *{measure} +\S* *(\S+)", text, re.MULTILINE)[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two arrays of the same rows, and one with a row less."""
    place = tmp_path_factory.mktemp("similarity")
    rng = np.random.default_rng(0)
    a = rng.normal(size=(90, 6)).astype(np.float32)
    np.save(place / "a.npy", a)
    np.save(place / "b.npy", (a @ rng.normal(size=(6, 4)) + rng.normal(size=(90, 4))).astype("f4"))
    np.save(place / "short.npy", a[1:])
    return place


def test_every_measure_of_two_arrays(folder):
    text = run("similarity", "a.npy", "b.npy", cwd=folder)
    a, b = (np.load(folder / name) for name in ("a.npy", "b.npy"))
    assert value(text, "cka") == pytest.approx(cka(a, b, debiased=True).value, rel=1e-3)
    assert value(text, "stitching") == pytest.approx(stitching(a, b).value, rel=1e-3)
    for name in ("rbf-cka", "cca", "svcca", "pwcca", "rsa", "matched-units", "procrustes"):
        assert np.isfinite(value(text, name))


def test_some_measures_of_some_rows(folder):
    text = run("similarity", "a.npy", "a.npy", "--measures", "cka,rsa", "--rows", 50, cwd=folder)
    assert "50 of 90 rows" in text
    assert value(text, "cka") == pytest.approx(1.0)
    assert "stitching" not in text


def test_the_codes_of_two_runs(folder):
    X = np.load(folder / "a.npy")
    for seed in (0, 1):
        isthmus.fit(
            "k-means", X, latent_dim=5, seed=seed, out=folder / f"run{seed}", progress=False
        )
    text = run(
        "similarity", "run0", "run1", "--data", "a.npy", "--measures", "matched-units", cwd=folder
    )
    assert "run0 (90, 5) and run1 (90, 5)" in text
    assert 0.0 < value(text, "matched-units") <= 1.0
    text = run("similarity", "run0", "run1", cwd=folder, code=2)
    assert "run0 is a run: add --data DATA for the codes" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.npy", "short.npy"), "a.npy has 90 rows and short.npy 89"),
        (("a.npy", "b.npy", "--measures", "ccka"), "did you mean 'cka'"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(folder, words, said):
    assert said in run("similarity", *words, cwd=folder, code=2)
