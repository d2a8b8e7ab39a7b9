import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from isthmus import IsthmusError
from isthmus.anatomy import Scaler
from isthmus.evaluation import (
    Shrinkage,
    evaluate,
    fvu,
    measures,
    norm_ratio,
    shrinkage,
    shrinkage_measure,
)

from .test_registry import Signed, SignedCode
from .tiny import FEATURES, Dense, Embedding, SparseDecoder, Threshold, TopK, tiny

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, [1, 2, 3, 1, 2], (200, FEATURES))
NOISY = X.mean(0) + 0.6 * (X - X.mean(0)) + 0.5 * RNG.normal(size=X.shape)


def test_gamma_is_the_best_divisor():
    for about in (None, np.zeros(FEATURES), np.arange(FEATURES)):
        origin = X.mean(0) if about is None else about
        x, recon = X - origin, NOISY - origin
        best = minimize_scalar(
            lambda g, x=x, recon=recon: ((recon / g - x) ** 2).mean(),
            bounds=(0.1, 10),
            method="bounded",
            options={"xatol": 1e-10},
        ).x
        assert shrinkage(X, NOISY, about=about).value == pytest.approx(best, rel=1e-6)
        lengths = math.sqrt((recon**2).sum() / (x**2).sum())
        assert norm_ratio(X, NOISY, about=about).value == pytest.approx(lengths, rel=1e-12)


@given(st.floats(0.05, 5.0), st.floats(-1e3, 1e3))
def test_a_common_factor_about_the_mean_is_found_wherever_the_mean_is(factor, shift):
    x = X + shift
    recon = x.mean(0) + factor * (x - x.mean(0))
    assert shrinkage(x, recon).value == pytest.approx(factor, rel=1e-8)
    assert norm_ratio(x, recon).value == pytest.approx(factor, rel=1e-8)


def test_the_best_rescaling_leaves_no_shrinkage_but_shorter_rows():
    mean = X.mean(0)
    recon = mean + (NOISY - NOISY.mean(0)) / shrinkage(X, NOISY - NOISY.mean(0) + mean).value
    assert shrinkage(X, recon).value == pytest.approx(1.0, rel=1e-12)
    short = math.sqrt(1 - fvu(X, recon).value)
    assert norm_ratio(X, recon).value == pytest.approx(short, rel=1e-12)
    assert short < 0.95


def test_a_bias_of_the_decoder_hides_no_shrinkage():
    recon = X.mean(0) + 0.5 * (X - X.mean(0))
    assert shrinkage(X, recon).value == pytest.approx(0.5)
    assert shrinkage(X, recon, about=np.zeros(FEATURES)).value > 0.9


def test_batches_change_nothing():
    streamed = Shrinkage()
    for part in (slice(0, 3), slice(3, 120), slice(120, 200)):
        streamed.update(torch.tensor(X[part]), torch.tensor(NOISY[part]))
    for result, whole in (
        (streamed.factor(), shrinkage(X, NOISY)),
        (streamed.norm_ratio(), norm_ratio(X, NOISY)),
    ):
        assert result.value == pytest.approx(whole.value, rel=1e-12)
        assert result.interval == pytest.approx(whole.interval, rel=1e-9)
        assert result.n == 200


def test_up_to_32_rows_the_interval_is_the_delete_one_jackknife():
    from scipy import stats

    x, recon = X[:20], NOISY[:20]
    for measure in (shrinkage, norm_ratio):
        got = measure(x, recon)
        keep = [np.delete(np.arange(20), i) for i in range(20)]
        without = np.array([measure(x[k], recon[k]).value for k in keep])
        centre = 20 * got.value - 19 * without.mean()
        spread = math.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
        half = stats.t.ppf(0.975, 19) * spread
        assert got.interval == pytest.approx((got.value - half, got.value + half), rel=1e-9)
        assert abs(centre - got.value) < half


def test_intervals_cover():
    truth = 0.7 + 0.25 / (0.7 * 19 / FEATURES)
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.normal(3.0, [1, 2, 3, 1, 2], (400, FEATURES))
        got = shrinkage(x, 3.0 + 0.7 * (x - 3.0) + 0.5 * rng.normal(size=x.shape))
        hits += got.interval[0] <= truth <= got.interval[1]
    assert 51 <= hits <= 60


def test_what_has_no_ratio_is_nan_with_a_reason():
    constant = np.broadcast_to(X[0], X.shape)
    assert "do not vary together" in shrinkage(X, constant).note
    assert norm_ratio(X, X.mean(0) + 0 * X).value == pytest.approx(0.0, abs=1e-7)
    assert math.isnan(norm_ratio(constant, X).value)
    assert "point away" in shrinkage(X, -X).note
    assert shrinkage(X, X.mean(0) - 2 * (X - X.mean(0))).value == pytest.approx(-2)
    broken = NOISY.copy()
    broken[5, 2] = np.nan
    assert "NaN" in shrinkage(X, broken).note
    assert shrinkage(X[:2], NOISY[:2]).interval is None


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="same shape"):
        shrinkage(X, NOISY[:, :2])
    with pytest.raises(IsthmusError, match="about has 2 elements"):
        shrinkage(X, NOISY, about=np.zeros(2))
    with pytest.raises(IsthmusError, match="no rows have been seen"):
        Shrinkage().factor()


NAMES = {"shrinkage", "norm_ratio"}


def test_evaluate_reports_it_of_sparse_codes_in_the_users_units():
    scaler = Scaler((FEATURES,), "columns")
    x = X.astype(np.float32)
    scaler.fit(torch.tensor(x))
    sparse = tiny(TopK(2), latent=20, decoder=SparseDecoder(20, FEATURES), scaler=scaler)
    for model in (sparse, tiny(Threshold())):
        got = evaluate(model, x)
        recon = model.reconstruct(x)
        assert got["shrinkage"].value == pytest.approx(shrinkage(x, recon).value, rel=1e-6)
        assert got["norm_ratio"].value == pytest.approx(norm_ratio(x, recon).value, rel=1e-6)
    assert not NAMES & set(evaluate(tiny(Dense()), x))
    assert not NAMES & set(evaluate(tiny(Embedding(), decoder=None), x))


def test_another_target_is_measured_in_the_models_units():
    x = X.astype(np.float32)
    model = tiny(Threshold(), target=lambda x: 2 * x)
    expected = shrinkage(2 * x, model.reconstruct(x)).value
    assert evaluate(model, x)["shrinkage"].value == pytest.approx(expected, rel=1e-6)


def test_another_kind_of_code_may_ask_for_it(monkeypatch):
    from isthmus.evaluation import registry

    table = {kind: list(factories) for kind, factories in registry._TABLE.items()}
    monkeypatch.setattr(registry, "_TABLE", table)
    x = X.astype(np.float32)
    assert not NAMES & set(evaluate(tiny(Signed()), x))
    measures(SignedCode)(shrinkage_measure)
    assert set(evaluate(tiny(Signed()), x)) >= NAMES
