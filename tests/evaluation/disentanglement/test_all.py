"""What every measure has in common: perfect codes, noise, order of rows, and what is degenerate."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import expit

from isthmus import IsthmusError
from isthmus.evaluation import Result
from isthmus.evaluation.disentanglement import (
    dci,
    explicitness,
    factor_vae_score,
    infomec,
    mig,
    mig_from_posterior,
    modularity,
    omes,
    sap,
)

from .grids import grid, noise, perfect, rotated


def posterior(codes, factors, **settings):
    return mig_from_posterior(
        codes, np.full(np.shape(codes), -9.0), factors, n_samples=500, **settings
    )


def of(measure, name):
    return lambda *args, **settings: getattr(measure(*args, **settings), name)


def remembered(measure):
    """The measures of one call are asked for one by one; fit only once."""
    known = {}

    def call(codes, factors, **settings):
        arrays = np.asarray(codes), np.asarray(factors)
        key = tuple((a.tobytes(), a.shape, a.dtype.str) for a in arrays)
        if key not in known or settings:
            known[key] = measure(codes, factors, **settings)
        return known[key]

    return call


forest = remembered(partial(dci, predictor="forest"))
infos = remembered(infomec)
MEASURES = {
    "mig": mig,
    "mig_from_posterior": posterior,
    "modularity": modularity,
    "explicitness": explicitness,
    "sap": sap,
    "factor_vae_score": factor_vae_score,
    "omes": omes,
    "infom": of(infos, "modularity"),
    "infoe": of(infos, "explicitness"),
    "infoc": of(infos, "compactness"),
    "dci_d": of(forest, "disentanglement"),
    "dci_c": of(forest, "completeness"),
    "dci_i": of(forest, "informativeness"),
}
FACTORS = grid(2, 3, 4, repeats=10)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    monkeypatch.setattr("isthmus.evaluation.disentanglement.importances.TREES", 10)


every = pytest.mark.parametrize("name", MEASURES)


@every
@pytest.mark.parametrize("jitter", [0, 1e-6])
def test_a_perfect_code_scores_one(name, jitter):
    codes = perfect(FACTORS) + jitter * noise(len(FACTORS))
    got = MEASURES[name](codes, FACTORS)
    # Jitter leaves the top of each bin in the next one, and the regressions are never certain.
    tolerance = {
        "infoe": 5e-3,
        "infom": 0.02,
        "infoc": 0.02,
        "explicitness": 2e-3,
        "sap": 0.02 if jitter else 1e-9,
    }.get(name, 1e-9)
    if jitter or name.startswith(("mig_", "dci")):
        tolerance = max(tolerance, 0.01)
    assert got.value == pytest.approx(1, abs=tolerance)
    assert got.n == 240
    assert got.higher_is_better is True


# InfoM and InfoC compare what chance leaves, and so have no level of chance.
CHANCE = {
    "mig": (0, 0.05),
    "mig_from_posterior": (0, 0.6),  # Narrow posteriors of distinct means tell rows apart.
    "modularity": (0.3, 0.9),
    "explicitness": (0.4, 0.6),
    "sap": (0, 0.12),
    "factor_vae_score": (0.25, 0.42),
    "omes": (0.3, 0.37),
    "infoe": (-0.01, 0.03),
    "dci_d": (0, 0.1),
    "dci_c": (0, 0.1),
    "dci_i": (0.2, 0.5),
}


@pytest.mark.parametrize("name", CHANCE)
def test_noise_scores_chance(name):
    low, high = CHANCE[name]
    assert low <= MEASURES[name](noise(240), FACTORS).value <= high


@every
def test_a_rotation_lowers_all_but_explicitness(name):
    factors = grid(5, 5, repeats=10)
    factors = np.concatenate([factors, np.random.default_rng(3).permutation(factors)[:, :1]], 1)
    got = MEASURES[name](rotated(factors) + 1e-6 * noise(250), factors)
    if name in ("explicitness", "infoe", "dci_i"):
        assert got.value > 0.8  # A rotation loses nothing that can be read.
    else:
        assert got.value < 0.8
    if got.per is not None and name in ("mig", "sap", "factor_vae_score", "infoc"):
        assert got.per[:2].max() < 0.75
        assert got.per[2] > 0.85


@every
def test_the_order_of_the_rows_does_not_matter(name):
    factors = FACTORS[:180]
    codes = expit(factors[:, [0, 1, 1]] + noise(180))
    order = np.random.default_rng(1).permutation(180)
    one = MEASURES[name](codes, factors)
    other = MEASURES[name](codes[order], factors[order])
    assert one.to_dict() == other.to_dict()  # To the last bit, intervals included.


@every
def test_the_order_and_sign_of_latents_do_not_matter(name):
    codes = FACTORS + 0.4 * noise(240)
    one = MEASURES[name](codes, FACTORS).value
    other = MEASURES[name](-codes[:, [2, 0, 1]], FACTORS).value
    # What draws or splits rows does it anew, as the codes break ties between rows; so do bins.
    drawn = name in ("mig_from_posterior", "explicitness", "sap", "factor_vae_score", "dci_i")
    drawn |= name.startswith("dci")
    assert other == pytest.approx(one, abs=0.12 if drawn else 0.005)


@every
def test_constant_codes(name):
    got = MEASURES[name](np.ones((240, 3)), FACTORS)
    want = {"explicitness": 0.5, "dci_i": None}.get(name, 0.0)
    if want is None:
        assert 0.2 < got.value < 0.5  # The commonest value.
    else:
        assert got.value == want


@every
def test_one_constant_latent_beside_perfect_ones(name):
    codes = np.concatenate([perfect(FACTORS), np.full((240, 1), 7.0)], axis=1)
    assert MEASURES[name](codes, FACTORS).value == pytest.approx(1, abs=5e-3)


@every
def test_a_single_factor_is_no_accident(name):
    got = MEASURES[name](FACTORS[:, 0] + 0.1 * noise(240)[:, 0], FACTORS[:, 0])
    assert isinstance(got, Result)
    nan = name in ("modularity", "infom", "infoc", "dci_d", "dci_c")
    assert np.isnan(got.value) == nan
    assert not nan or got.note
    assert nan or got.value > 0.75


@every
def test_constant_factors_are_left_out(name):
    factors = np.concatenate([FACTORS, np.ones((240, 1))], axis=1)
    got = MEASURES[name](perfect(FACTORS), factors)
    assert got.value == pytest.approx(1, abs=5e-3)
    if name not in ("modularity", "infom", "dci_d"):
        assert np.isnan(got.per[3])
    assert "1 " in got.note
    assert np.isnan(MEASURES[name](noise(240), np.ones((240, 2))).value)


@every
def test_results_are_plain_and_described(name):
    got = MEASURES[name](noise(240), FACTORS)
    assert Result.from_dict(got.to_dict()).value == got.value
    assert "interval" in got.estimator
    if got.interval is not None:
        assert 0 <= got.interval[0] <= got.value <= got.interval[1] <= 1


@every
def test_tensors_and_names_are_taken(name):
    codes = torch.tensor(perfect(FACTORS), dtype=torch.float32)
    names = np.array(["red", "green", "blue", "white"])[FACTORS.astype(int)]
    want = MEASURES[name](codes, torch.tensor(FACTORS)).value
    assert MEASURES[name](codes, names).value == pytest.approx(want, abs=5e-3)


@every
def test_what_does_not_fit_is_an_error(name):
    measure = MEASURES[name]
    with pytest.raises(IsthmusError, match="rows"):
        measure(noise(30), FACTORS[:29])
    with pytest.raises(IsthmusError, match="not finite"):
        measure(np.where(noise(240) > 2, np.nan, 0.0), FACTORS)
    with pytest.raises(IsthmusError, match="shape"):
        measure(np.zeros((0, 3)), np.zeros((0, 2)))
    with pytest.raises(IsthmusError, match="discrete_factors has 2 answers for 3 columns"):
        measure(noise(240), FACTORS, discrete_factors=[True, False])
