"""Models kept by what they were made of."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.data import ArraySource
from isthmus.studies import Trial, fit_cache

ROWS = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
WANTED = {"latent_dim": 2, "hidden": 4, "batch_size": 16, "lr": 1e-3, "steps": 40, "seed": 0,
          "progress": False}  # fmt: skip


@pytest.fixture
def fits(monkeypatch, tmp_path):
    """The cache in a folder of its own; returns the steps of every fit that was made."""
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setattr(fit_cache, "WORTH", 40)
    made, real = [], isthmus.fit

    def counted(*args, **options):
        made.append(options["steps"])
        return real(*args, **options)

    monkeypatch.setattr(isthmus, "fit", counted)
    return made


def full(made):
    return sum(steps == 40 for steps in made)


def test_the_same_fit_is_made_once(fits, tmp_path):
    first = fit_cache.fitted("plain", ROWS, WANTED)
    second = fit_cache.fitted("plain", ROWS, WANTED)
    assert full(fits) == 1
    assert np.array_equal(first.encode(ROWS), second.encode(ROWS))
    assert len(list((tmp_path / "fits").iterdir())) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 2e-3}, {"hidden": 5}])
def test_other_options_are_other_models(fits, change):
    fit_cache.fitted("plain", ROWS, WANTED)
    fit_cache.fitted("plain", ROWS, {**WANTED, **change})
    assert full(fits) == 2


def test_other_data_are_other_models(fits):
    fit_cache.fitted("plain", ROWS, WANTED)
    fit_cache.fitted("plain", ROWS + 1e-6, WANTED)
    assert full(fits) == 2


def test_other_code_makes_another_model(fits, monkeypatch):
    fit_cache.fitted("plain", ROWS, WANTED)
    monkeypatch.setattr(fit_cache, "code", lambda: "another")
    fit_cache.fitted("plain", ROWS, WANTED)
    assert full(fits) == 2


def test_the_code_is_that_of_all_parts_that_train(monkeypatch, tmp_path):
    root = Path(isthmus.__file__).parent
    assert all((root / package).is_dir() for package in fit_cache.TRAINS)
    shutil.copytree(root / "training", tmp_path / "training")
    monkeypatch.setattr(fit_cache, "TRAINS", ("training",))
    monkeypatch.setattr(isthmus, "__file__", str(tmp_path / "__init__.py"))
    fit_cache.code.cache_clear()
    before = fit_cache.code()
    with (tmp_path / "training" / "optimisers.py").open("a") as file:
        file.write("# other\n")
    fit_cache.code.cache_clear()
    assert fit_cache.code() != before
    fit_cache.code.cache_clear()


@pytest.mark.parametrize("rows", [ROWS[::-1], ROWS.T.copy().T])
def test_odd_arrays_are_fitted_all_the_same(fits, rows):
    model = fit_cache.fitted("plain", rows, WANTED)
    assert model.encode(ROWS).shape == (64, 2)


def test_a_damaged_model_is_made_anew(fits, tmp_path):
    first = fit_cache.fitted("plain", ROWS, WANTED)
    kept = next((tmp_path / "fits").iterdir())
    (kept / "model.safetensors").write_bytes(b"no")
    again = fit_cache.fitted("plain", ROWS, WANTED)
    assert full(fits) == 2
    assert fit_cache.weights_hash(first) == fit_cache.weights_hash(again)


def test_data_without_bytes_and_short_fits_are_not_kept(fits, tmp_path):
    fit_cache.fitted("plain", ROWS, {**WANTED, "steps": 39})
    assert not (tmp_path / "fits").exists()
    assert Trial(0).fit("plain", ROWS, **{k: v for k, v in WANTED.items() if k != "seed"})


def test_a_source_is_known_by_its_fingerprint(fits):
    """Activations in a store are training data too, and say what they are without being read."""

    class Named(ArraySource):
        def __init__(self, name):
            super().__init__(ROWS)
            self.name = name

        def fingerprint(self):
            return self.name

    for name in ("a", "a", "b"):
        fit_cache.fitted("plain", Named(name), WANTED)
    assert full(fits) == 2
