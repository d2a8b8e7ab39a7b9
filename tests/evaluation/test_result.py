import json
import math

import numpy as np
import pytest

from isthmus.evaluation import Moments, Result


def test_nan_and_infinity_become_null_in_json():
    result = Result(
        "fvu", math.nan, False, (0.0, math.inf), 3, "how", per=np.array([[1.0, np.nan]]), note="why"
    )
    text = json.dumps(result.to_dict(), allow_nan=False)
    plain = json.loads(text)
    assert plain["value"] is None
    assert plain["interval"] == [0.0, None]
    assert plain["per"] == [[1.0, None]]
    assert "per" not in result.to_dict(per=False)


def test_a_result_survives_the_round_trip():
    result = Result("l0", 2.5, None, (2.0, 3.0), 7, "how", "latents", np.array([0.5, 1.0]), "note")
    back = Result.from_dict(json.loads(json.dumps(result.to_dict())))
    assert str(back) == str(result)
    assert back.interval == (2.0, 3.0)
    np.testing.assert_array_equal(back.per, result.per)


def test_mean_interval_covers_the_truth_in_95_of_100_samples():
    draws = np.random.default_rng(0).exponential(size=(2000, 100))
    covered = 0
    for row in draws:
        result = Result.of_mean("m", Moments().update(row), higher_is_better=True, what="x")
        low, high = result.interval
        covered += low <= 1.0 <= high
    assert 0.92 < covered / 2000 < 0.965


def test_one_row_has_no_interval():
    result = Result.of_mean("m", Moments().update(np.ones(1)), higher_is_better=True, what="x")
    assert result.value == 1.0
    assert result.interval is None
    assert "no interval" in result.estimator


@pytest.mark.parametrize(("better", "arrow"), [(True, "↑"), (False, "↓"), (None, "·")])
def test_text_names_value_direction_interval_and_note(better, arrow):
    result = Result("kl", 0.123456, better, (0.1, 0.2), 9, "how", "nats", note="few rows")
    assert str(result) == f"kl {arrow} 0.1235 nats [0.1, 0.2] (n = 9; how): few rows"
