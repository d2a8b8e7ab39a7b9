"""Random tables: codes of a row depend neither on the columns' order nor on other rows."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus
from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import Preparation, as_table, given_back

WORDS = ["Oslo", "Lima", "Rome", "1", "true", "", "a,b", "ü"]
VALUES = {
    "float": st.floats(-1e6, 1e6) | st.none(),
    "large": st.floats(1e9, 1e9 + 50),
    "int": st.integers(-(2**62), 2**62),
    "bool": st.booleans() | st.none(),
    "word": st.sampled_from(WORDS) | st.none(),
    "time": st.datetimes(pd.Timestamp("1950-01-01"), pd.Timestamp("2150-01-01")),
}


@st.composite
def frames(draw, least=4):
    kinds = draw(st.lists(st.sampled_from([*VALUES]), min_size=2, max_size=5))
    rows = draw(st.integers(least, 12))
    columns = {
        f"c{i}": draw(st.lists(VALUES[kind], min_size=rows, max_size=rows))
        for i, kind in enumerate(kinds)
    }
    return pd.DataFrame({name: _typed(values) for name, values in columns.items()})


def _typed(values):
    there = [v for v in values if v is not None]
    if there and isinstance(there[0], bool):
        return pd.array(values, "boolean")
    return pd.Series(values, dtype="float64") if there and isinstance(there[0], float) else values


def learnt(frame):
    try:
        return Preparation.learn(as_table(frame))
    except IsthmusError as problem:
        if "no usable column" not in str(problem):
            raise
        return None


@settings(max_examples=60, deadline=None)
@given(frames(), st.randoms(use_true_random=False))
def test_order_of_columns_and_other_rows_do_not_matter(frame, random):
    with notices.collected(quiet=True):
        preparation = learnt(frame)
        if preparation is None:
            return
        whole = preparation.apply(as_table(frame))
        names = random.sample([*frame.columns], len(frame.columns))
        rows = random.sample(range(len(frame)), len(frame))
        part = rows[: max(1, len(rows) // 2)]
        shuffled = preparation.apply(as_table(frame.iloc[part][names].assign(more=1.0)))
        np.testing.assert_array_equal(shuffled, whole[part])
        alone = preparation.apply(as_table(frame.iloc[:1]))
        np.testing.assert_array_equal(alone, whole[:1])


@settings(max_examples=60, deadline=None)
@given(frames())
def test_a_table_comes_back(frame):
    with notices.collected(quiet=True):
        preparation = learnt(frame)
        if preparation is None:
            return
        table = as_table(frame)
        rows = preparation.apply(table)
        back = given_back(preparation.restored(rows), table)
        again = preparation.apply(as_table(back))
        np.testing.assert_allclose(again, rows, rtol=1e-5, atol=1e-5)
        assert [*back] == [name for name in frame if name in preparation.columns]


@settings(max_examples=40, deadline=None)
@given(frames(), st.data())
def test_a_column_less_or_by_another_name_is_named(frame, data):
    with notices.collected(quiet=True):
        preparation = learnt(frame)
        if preparation is None:
            return
        name = data.draw(st.sampled_from(preparation.columns))
        for other in (frame.drop(columns=name), frame.rename(columns={name: f"{name}x"})):
            if not len(other.columns):
                continue
            with pytest.raises(IsthmusError, match=f"lacks the column {name!r}"):
                preparation.apply(as_table(other))


@settings(max_examples=30, deadline=None)
@given(frames())
def test_a_file_reads_as_its_frame(tmp_path_factory, frame):
    """Up to what text cannot tell: an empty word, and words that are numbers or truth values."""
    frame = frame.replace({"": "-", "1": "one", "true": "yes"})
    folder = tmp_path_factory.mktemp("t")
    with notices.collected(quiet=True):
        preparation = learnt(frame)
        if preparation is None:
            return
        whole = preparation.apply(as_table(frame))
        frame.to_parquet(folder / "t.parquet", index=False)
        found = preparation.apply(isthmus.tables.read(folder / "t.parquet"))
        np.testing.assert_array_equal(found, whole)
        frame.to_csv(folder / "t.csv", index=False)
        found = preparation.apply(isthmus.tables.read(folder / "t.csv"))
        np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize(
    "labels", [range(3), [2, 5, 7], [("x", 1), ("x", 2), ("y", 1)], [1.5, 2, "z"]]
)
def test_a_reconstruction_has_the_labels_of_the_frame(labels):
    """Else ``frame - reconstruction`` is all missing, as no column fits another."""
    rows = np.random.default_rng(0).normal(size=(30, 3))
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples(labels) if labels[0] == ("x", 1) else pd.Index(labels)
    model = isthmus.fit("plain", frame, latent_dim=2, steps=1, progress=False)
    found = model.reconstruct(frame)
    assert found.columns.equals(frame.columns)
    assert not (frame - found).isna().to_numpy().any()


def test_an_unnamed_frame_keeps_its_labels_where_the_model_knows_names():
    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = isthmus.fit(
        "plain", pd.DataFrame(rows, columns=[*"abc"]), latent_dim=2, steps=1, progress=False
    )
    assert [*model.reconstruct(pd.DataFrame(rows)).columns] == [0, 1, 2]


def test_unsigned_integers_that_doubles_do_not_tell_apart_are_an_error():
    for kind in ("uint64", object):
        huge = pd.DataFrame(
            {"a": np.arange(30.0), "id": pd.Series([2**63 + i for i in range(30)], dtype=kind)}
        )
        with pytest.raises(IsthmusError, match=r"'id'.*too large to be told apart"):
            isthmus.fit("plain", huge, latent_dim=1, steps=1, progress=False)


def test_times_of_several_zones_are_read_in_utc_and_keep_the_time_of_day():
    zones = [timezone(timedelta(hours=i % 3)) for i in range(30)]
    times = [datetime(2020, 1, 1 + i % 28, 10, 30, tzinfo=zones[i]) for i in range(30)]
    frame = pd.DataFrame({"a": np.arange(30.0), "t": pd.Series(times, dtype=object)})
    table = as_table(frame)
    assert table["t"].zone == "UTC"
    assert [t.replace(tzinfo=UTC) for t in table["t"].objects()[:2].tolist()] == times[:2]
    naive = pd.DataFrame({"t": pd.Series([datetime(2020, 1, 1, 10, 30)] * 3, dtype=object)})
    back = given_back(as_table(naive), as_table(naive))
    assert back["t"][0] == pd.Timestamp("2020-01-01 10:30")
    times[0] = datetime(2020, 1, 1)
    with pytest.raises(IsthmusError, match=r"'t'.*with and without a time zone"):
        as_table(pd.DataFrame({"t": pd.Series(times, dtype=object)}))


def test_times_beyond_the_range_of_their_unit_are_an_error():
    hours = pd.date_range("2020", periods=30, freq="h").astype("datetime64[ns]")
    model = isthmus.fit(
        "plain", pd.DataFrame({"a": np.arange(30.0), "t": hours}), latent_dim=1, steps=1,
        progress=False,
    )  # fmt: skip
    for unit in ("s", "ms", "us", "ns"):
        same = pd.DataFrame({"a": np.arange(30.0), "t": hours.astype(f"datetime64[{unit}]")})
        assert model.encode(same).shape == (30, 1)
    far = pd.DataFrame({"a": [1.0, 2.0], "t": np.array(["3000-01-01", "NaT"], "M8[us]")})
    with pytest.raises(IsthmusError, match=r"3000-01-01.*'t'.*too far"):
        model.encode(far)


def test_an_array_is_not_taken_for_prepared_rows_where_it_may_be_the_columns():
    """Seconds that were read as times are no numbers of standard deviations."""
    hours = pd.date_range("2020", periods=30, freq="h")
    frame = pd.DataFrame({"a": np.arange(30.0), "t": hours})
    model = isthmus.fit("plain", frame, latent_dim=1, steps=1, progress=False)
    seconds = np.stack([frame["a"], hours.astype("datetime64[s]").astype("int64")], 1)
    with pytest.raises(IsthmusError, match="times among them"):
        model.encode(seconds)


def test_whole_numbers_of_128_bits_are_one_sentence():
    frame = polars.DataFrame({"a": [1, 2, 3]}, schema={"a": polars.Int128})
    with pytest.raises(IsthmusError, match="'a' of the data frame holds whole numbers of 128 bits"):
        as_table(frame)
