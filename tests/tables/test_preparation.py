"""What is learnt of a table, beside scikit-learn; there and back; what is said of others."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import Preparation, PrepareOptions, as_table, given_back

RNG = np.random.default_rng(0)
ROWS = 300


def mixed(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "x": rng.normal(size=rows),
        "n": rng.integers(0, 9, rows),
        "ok": rng.random(rows) > 0.5,
        "city": rng.choice(["Oslo", "Lima", "Rome"], rows),
        "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), unit="s"),
        "id": rng.integers(0, 1000, rows) + 2**60,
        "took": pd.to_timedelta(rng.integers(0, 10**5, rows), unit="s"),
        "kind": pd.Categorical(rng.choice(["u", "v"], rows)),
    })  # fmt: skip
    frame.loc[3, "x"] = np.nan
    frame.loc[5, "city"] = None
    return frame


def quietly(function, *given, **named):
    with notices.collected(quiet=True) as notes:
        return function(*given, **named), notes


def learn(frame, index=None, **options):
    return quietly(Preparation.learn, as_table(frame), index, PrepareOptions.of(options))[0]


def apply(preparation, frame):
    return quietly(preparation.apply, as_table(frame))[0]


def test_gaps_are_filled_as_by_scikit_learn():
    x = RNG.normal(size=(50, 3))
    x[RNG.random(x.shape) < 0.2] = np.nan
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    train = np.arange(30)
    found = apply(learn(frame, train), frame)
    filled = SimpleImputer(strategy="median", add_indicator=True).fit(x[train]).transform(x)
    np.testing.assert_allclose(found[:, 0::2], filled[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(found[:, 1::2], filled[:, 3:])


@pytest.mark.parametrize("rare", [0.05, 7, 0])
def test_values_of_text_are_told_apart_as_by_scikit_learn(rare):
    words = RNG.choice([*"abcdefgh"], 200, p=[0.3, 0.3, 0.2, 0.1, 0.04, 0.03, 0.02, 0.01])
    train, new = words[:150, None], np.array([["a"], ["h"], ["new"], ["c"]])
    theirs = OneHotEncoder(
        min_frequency=rare or None, handle_unknown="infrequent_if_exist", sparse_output=False
    ).fit(train)
    frame = pd.DataFrame({"w": words, "x": 1.0})
    preparation = learn(frame, np.arange(150), rare=rare)
    for rows in (train, new):
        found = apply(preparation, pd.DataFrame({"w": rows[:, 0], "x": 1.0}))[:, :-1]
        np.testing.assert_array_equal(found, theirs.transform(rows))


def test_quantiles_are_those_of_scikit_learn():
    x = RNG.gamma(1.0, size=(500, 1))
    frame = pd.DataFrame(x, columns=["a"])
    preparation = learn(frame, quantiles=True)
    theirs = QuantileTransformer(n_quantiles=500, output_distribution="normal").fit(x)
    new = np.sort(RNG.gamma(1.0, size=(100, 1)), 0)
    found = apply(preparation, pd.DataFrame(new, columns=["a"]))
    np.testing.assert_allclose(found, theirs.transform(new), atol=1e-4)
    back = preparation.restored(apply(preparation, frame)).columns["a"].values
    np.testing.assert_allclose(back, x[:, 0], rtol=1e-5, atol=1e-6)


def test_there_and_back():
    frame = mixed()
    preparation = learn(frame)
    back = given_back(preparation.restored(apply(preparation, frame)), as_table(frame))
    assert list(back.dtypes) == list(frame.dtypes)
    for name in ("n", "ok", "city", "id", "kind"):
        pd.testing.assert_series_equal(back[name], frame[name], check_freq=False)
    np.testing.assert_allclose(back["x"], frame["x"], rtol=1e-6)
    assert (back["took"] - frame["took"]).abs().max() < pd.Timedelta("10ms")
    assert (back["t"] - frame["t"]).abs().max() < pd.Timedelta("2s")  # float32 of four months


def test_what_is_stored_is_the_same_preparation():
    frame = mixed()
    for options in ({}, {"quantiles": True}, {"rare": 0.4}, {"text": ["n"]}):
        preparation = learn(frame, **options)
        plain = json.loads(json.dumps(preparation.to_dict(), allow_nan=False))
        again = Preparation.from_dict(plain)
        np.testing.assert_array_equal(apply(again, frame), apply(preparation, frame))
        assert again.to_dict() == plain


@pytest.mark.parametrize("offset", [0.0, 1e7, 1e8, 1.7e9, 1e15, -4e12])
def test_numbers_far_from_zero_keep_their_differences(offset):
    x = RNG.integers(0, 64, 200) / 8.0
    found = apply(
        learn(pd.DataFrame({"a": x + offset, "b": x})), pd.DataFrame({"a": x + offset, "b": x})
    )
    np.testing.assert_allclose(
        np.diff(found[:, 0]), np.diff(x), atol=1e-5 if offset < 1e14 else 0.5
    )
    np.testing.assert_array_equal(found[:, 1], x.astype(np.float32))


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e38])
def test_numbers_too_large_or_small_are_scaled(scale):
    x = RNG.normal(size=100)
    preparation = learn(pd.DataFrame({"a": x * scale}))
    found = apply(preparation, pd.DataFrame({"a": x * scale}))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.corrcoef(found[:, 0], x)[0, 1], 1.0, rtol=1e-6)
    back = preparation.restored(found).columns["a"].values
    np.testing.assert_allclose(back, x * scale, rtol=1e-4, atol=1e-6 * scale)


def test_plain_numbers_are_read_as_before():
    frame = pd.DataFrame({"a": RNG.normal(size=50), "b": RNG.integers(0, 2000, 50), "c": 7.0})
    preparation = learn(frame)
    assert preparation.is_plain
    np.testing.assert_array_equal(apply(preparation, frame), frame.to_numpy(np.float32))


def test_only_training_rows_teach():
    frame = mixed()
    train = np.arange(200)
    other = frame.copy()
    other.loc[200:, "x"] = 1e9
    other.loc[200:, "city"] = "new"
    assert learn(other, train).to_dict() == learn(frame, train).to_dict()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="x"), "lacks the column 'x' that the model was fitted to: pass"),
        (lambda f: f.rename(columns={"city": "City"}), "rename 'City' to 'city'"),
        (lambda f: f.assign(x="word"), r"column 'x' .* holds text \('word', say\), .* numbers"),
        (lambda f: f.assign(t=3.5), "column 't' .* holds numbers.* fitted to times"),
        (lambda f: f.assign(x=np.inf), "row 0 holds infinity in the column 'x'"),
        (lambda f: f.assign(x=1e300), "too far from what the model was fitted to"),
    ],
)
def test_tables_that_do_not_fit_are_one_sentence(change, said):
    preparation = learn(mixed())
    with pytest.raises(IsthmusError, match=said):
        apply(preparation, change(mixed(20)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(more=1.0), "fitted without 'more'"),
        (lambda f: f.assign(city="Paris"), "'city' .* holds 'Paris', not there when"),
        (lambda f: f.assign(n=f["n"].astype(float).where(f["n"] > 1)), r"has gaps in 'n'"),
        (lambda f: f.assign(x=None), None),
        (lambda f: f.assign(kind=f["kind"].astype(str)), None),
        (lambda f: f.astype({"n": "int8", "x": "float32"}), None),
    ],
)
def test_what_differs_is_said(change, said):
    preparation = learn(mixed())
    frame = change(mixed(20))
    rows, notes = quietly(preparation.apply, as_table(frame))
    assert np.isfinite(rows).all()
    assert notes == [] if said is None else __import__("re").search(said, " ".join(notes))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantile": True}, "did you mean 'quantiles'"),
        ({"rare": -1}, "no number from 0 on"),
        ({"levels": 0}, "no number from 1 on"),
        ({"quantiles": "yes"}, "true or false"),
        ("quantiles", "by name"),
    ],
)
def test_wrong_options_are_one_sentence(options, said):
    with pytest.raises(IsthmusError, match=said):
        PrepareOptions.of(options)


@pytest.mark.parametrize(
    "frame",
    [pd.DataFrame({"a": [f"w{i}" for i in range(40)]}), pd.DataFrame({"a": [None] * 9}),
     pd.DataFrame({"a": ["same"] * 9})],
)  # fmt: skip
def test_a_table_without_a_usable_column_is_one_sentence(frame):
    with pytest.raises(IsthmusError, match="no usable column"):
        learn(frame)


def test_a_column_of_one_value_is_put_back():
    frame = pd.DataFrame({"x": RNG.normal(size=20), "unit": "mm", "five": 5})
    preparation, notes = quietly(Preparation.learn, as_table(frame))
    assert preparation.features == ["x", "five"]
    assert sum("never varies" in note for note in notes) == 2
    back = given_back(preparation.restored(apply(preparation, frame)), as_table(frame))
    assert (back["unit"] == "mm").all()


def test_a_column_without_a_name_is_read_back():
    for made in (learn(pd.DataFrame({"": [1.5, 2.0, 7.0]})), learn(pd.DataFrame({"": ["a", "b"]}))):
        plain = json.loads(json.dumps(made.to_dict()))
        assert Preparation.from_dict(plain).to_dict() == plain


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize(
    ("grain", "expected"),
    [("D", "2024-02-04"), ("h", "2024-02-04T11"), ("s", "2024-02-04T10:33:20")],
)
def test_times_come_back_as_whole_as_they_were(unit, grain, expected):
    days = np.datetime64("2024-01-01", grain) + np.arange(100) * np.timedelta64(1, grain)
    frame = pd.DataFrame({"t": days.astype(f"M8[{unit}]")})
    fitted = learn(frame)
    one = Preparation.from_dict(json.loads(json.dumps(fitted.to_dict()))).encoders[0]
    wanted = np.datetime64("2024-02-04T10:33:20.25").astype("M8[ns]").astype(np.int64)
    scale = np.timedelta64(1, unit).astype("m8[ns]").astype(np.int64)
    feature = (wanted / scale - one.offset) / one.scale
    found = one.restored(np.array([[feature]])).values
    assert found.astype("M8[ms]")[0] == np.datetime64(expected), found
    back = given_back(fitted.restored(apply(fitted, frame)), as_table(frame))
    assert (back["t"].to_numpy() == frame["t"].to_numpy()).all()


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_times_are_python_values_whatever_their_unit(unit):
    column = as_table({"t": np.array(["2024-10-26", "NaT"], f"M8[{unit}]")})["t"]
    first, second = column.objects()
    assert str(first).startswith("2024-10-26")
    assert second is None


def test_dates_that_may_begin_with_day_or_month_are_left_out_with_the_remedy():
    frame = pd.DataFrame({"x": RNG.normal(size=60)})
    frame["seen"] = [f"{1 + n % 12:02}/{1 + n // 12:02}/2020" for n in range(60)]
    with notices.collected(quiet=True) as said:
        made = Preparation.learn(as_table(frame), None, PrepareOptions())
    assert [one.name for one in made.encoders] == ["x"]
    assert any("'01/01/2020', may begin with the day or the month: write them" in s for s in said)
