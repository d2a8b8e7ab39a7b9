"""Random tables: codes of a row depend neither on the columns' order nor on other rows."""

import numpy as np
import pandas as pd
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
