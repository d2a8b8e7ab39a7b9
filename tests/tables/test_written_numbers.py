"""Numbers as people write them: per cent, money, marks of other countries, leading zeros."""

import numpy as np
import pandas as pd
import pytest

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import Preparation, PrepareOptions, TableSource, read

NBSP = "\u00a0"


def written(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def column(path, name="a"):
    with notices.collected(quiet=True) as notes:
        found = read(path)[name]
    return found, " ".join(notes)


def quoted(cells):
    return "a,b\n" + "".join(f'"{cell}",{i}.5\n' for i, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "values", "said"),
    [
        (["12.5 %", "3%", "0"], [12.5, 3, 0], "'a' (%)"),
        (["€ 1,200.50", "€ 3"], [1200.5, 3], "€"),
        (["$3", "-$4.25", "$-1"], [3, -4.25, -1], "$"),
        (["3 USD", "4.5 USD"], [3, 4.5], "USD"),
        (["CHF 1'234.50", "CHF 3"], [1234.5, 3], "CHF"),
        (["(1,234)", "5", "(2.5)"], [-1234, 5, -2.5], "in brackets"),
        (["($3.50)", "$4"], [-3.5, 4], "in brackets"),
        (["1,5", "2,25", "-0,125"], [1.5, 2.25, -0.125], "',' as the decimal mark"),
        (["1,234", "12,345,678"], [1234, 12345678], "',' between thousands"),
        (["1.234,5", "2,5"], [1234.5, 2.5], "',' as the decimal mark"),
        (["1'234", "1'234'567.5"], [1234, 1234567.5], '"\'" between thousands'),
        (["1 234", "12 345,5"], [1234, 12345.5], "' ' between thousands"),
        ([f"1{NBSP}234,5", f"2{NBSP}000"], [1234.5, 2000], "',' as the decimal mark"),
        (["\u22123.5", "4"], [-3.5, 4], ""),
        (["3 €", "", "NA", "4 €"], [3, np.nan, np.nan, 4], "€"),
    ],
)
def test_written_numbers_are_read_and_said(cells, values, said, tmp_path):
    found, notes = column(written(tmp_path, quoted(cells)))
    assert found.is_number
    np.testing.assert_array_equal(found.doubles(), values)
    assert said in notes


@pytest.mark.parametrize(
    "cells",
    [
        ["(1)", "(2)", "(3)"],  # a list's numbers
        ["$3", "€4"],
        ["3 kg", "4 lb"],
        ["1,2", "1,2,3"],
        ["A1", "A2"],
        ["1-2", "3-5"],
        ["%", "$"],
        ["12,34,567", "1"],
    ],
)
def test_what_is_no_number_of_one_kind_stays_text(cells, tmp_path):
    found, _ = column(written(tmp_path, quoted(cells)))
    assert found.kind == "text"


def test_a_share_among_plain_numbers_is_named_by_its_row(tmp_path):
    found, _ = column(written(tmp_path, quoted(["0.5", "12.5 %", "0.25"])))
    assert "row 1" in found.stray
    assert "'12.5 %'" in found.stray


def test_each_column_has_its_own_decimal_mark(tmp_path):
    text = "a;b;c\n" + "".join(f"{i},5;{i}.25;{i}\n" for i in range(9))
    path = written(tmp_path, text)
    with notices.collected(quiet=True) as notes:
        table = read(path)
    np.testing.assert_array_equal(table["a"].doubles(), np.arange(9) + 0.5)
    np.testing.assert_array_equal(table["b"].doubles(), np.arange(9) + 0.25)
    assert table["c"].kind == "integer"
    assert sum("'a'" in note for note in notes) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a;b\n1,234;0.5\n2,345;1.5\n", 1234.0),  # points are decimal elsewhere
        ("a;b\n1,234;0,5\n2,345;1,5\n", 1.234),
        ("a;b\n1.234;0,5\n2.345;1,25\n", 1234.0),
    ],
)
def test_three_digits_behind_a_mark_are_read_by_what_the_file_shows(text, value, tmp_path):
    found, _ = column(written(tmp_path, text))
    assert found.doubles()[0] == value


def test_what_may_be_thousands_or_decimals_is_a_sentence(tmp_path):
    text = "a;b;c\n1,234;0.5;0,5\n2,345;1.5;1,5\n"
    found, _ = column(written(tmp_path, text))
    assert "thousands" in found.stray
    assert "'1,234'" in found.stray


def test_new_rows_are_read_with_the_marks_of_those_fitted_to(tmp_path):
    rows = "a;b\n1.234,5;1\n2.000,25;2\n3,5;3\n"
    learnt = Preparation.learn(read(written(tmp_path, rows)))
    again = Preparation.from_dict(learnt.to_dict())
    new = read(written(tmp_path, "a;b\n1.234;1\n", "new.csv"))  # 1.234 of a file with points
    np.testing.assert_array_equal(again.apply(new)[:, 0], np.float32([1234.0]))


@pytest.mark.parametrize(
    "cells",
    [["01234", "90210", "00501"], ["007", "1", "2"], [f"{i:05d}" for i in range(400)],
     [str(10000 + i) for i in range(300)] + ["01234"]],
)  # fmt: skip
@pytest.mark.parametrize("quote", ["", '"'])
def test_leading_zeros_are_those_of_names(cells, quote, tmp_path):
    text = "zip,b\n" + "".join(f"{quote}{cell}{quote},{i}.5\n" for i, cell in enumerate(cells))
    table = read(written(tmp_path, text))
    assert table.as_text("zip").objects().tolist() == cells
    with notices.collected(quiet=True) as notes:
        learnt = Preparation.learn(table, options=PrepareOptions(levels=1000, rare=0))
    assert sum("leading zeros" in note and "'zip'" in note for note in notes) == 1
    back = learnt.restored(learnt.apply(table))
    assert back["zip"].objects().tolist() == [cell or None for cell in cells]


def test_leading_zeros_may_be_numbers_all_the_same(tmp_path):
    path = written(tmp_path, "month,b\n" + "".join(f"{m:02d},{m}.5\n" for m in range(1, 13)))
    learnt = Preparation.learn(read(path), options=PrepareOptions.of({"numbers": ["month"]}))
    np.testing.assert_array_equal(learnt.apply(read(path))[:, 0], np.arange(1, 13))
    assert PrepareOptions.of(PrepareOptions(numbers=("month",)).to_dict()).numbers == ("month",)
    # New rows without a leading zero are names all the same.
    learnt = Preparation.learn(read(path), options=PrepareOptions(rare=0))
    new = read(written(tmp_path, "month,b\n10,1.5\n11,2.5\n", "new.csv"))
    rows = learnt.apply(new)
    assert rows[0, learnt.features.index("month=10")] == 1.0


def test_zeros_of_numbers_are_no_names(tmp_path):
    found, _ = column(written(tmp_path, "a,b\n00,0\n0.5,0\n10,0\n"))
    assert found.kind == "number"
    assert not found.zeros
    with notices.collected(quiet=True) as notes:
        Preparation.learn(read(written(tmp_path, "a,b\n0,1\n1,2\n100,3\n")))
    assert not any("zeros" in note for note in notes)


@pytest.mark.parametrize("values", [[0.3, 0.1, 2.7], [1e-7, 123456.7, 0.0], [1e9 + 0.5, 2e9, 3e9]])
def test_a_table_comes_back_without_the_digits_of_float32(values):
    frame = pd.DataFrame({"x": values, "word": ["u", "v", "u"]})
    source = TableSource(_table(frame))
    learnt = Preparation.learn(source.table)
    back = learnt.restored(learnt.apply(source.table))["x"].values
    # As few digits as tell the float32 from its neighbours.
    np.testing.assert_allclose(back, values, rtol=1e-7, atol=1e-12)
    if max(values) < 1e6:
        assert [repr(v) for v in back.tolist()] == [repr(float(v)) for v in values]


def _table(frame):
    from isthmus.tables import as_table

    table = as_table(frame)
    assert table is not None
    return table


@pytest.mark.parametrize("value", [3, 0.1, 1e12 + 0.3, -7.25])
def test_a_column_that_never_varies_comes_back_exactly(value):
    frame = pd.DataFrame({"x": [0.5, 1.5, 2.5], "same": [value] * 3})
    learnt = Preparation.learn(_table(frame))
    rows = learnt.apply(_table(frame))
    back = learnt.restored(rows + np.float32(0.01))
    assert back["same"].objects().tolist() == [value] * 3


def test_infinity_and_words_are_still_named(tmp_path):
    with pytest.raises(IsthmusError, match="row 1"):
        Preparation.learn(read(written(tmp_path, "a,b\n1,2\nx,3\n4,5\n")))
