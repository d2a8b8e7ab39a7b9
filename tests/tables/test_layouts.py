"""What stands around a table in a file: lines above it, units, blanks, no header at all."""

import numpy as np
import pytest

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import read


def written(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def seen(path):
    with notices.collected(quiet=True) as notes:
        table = read(path)
    return {name: c.objects().tolist() for name, c in table.columns.items()}, " ".join(notes)


@pytest.mark.parametrize(
    ("text", "found", "said"),
    [
        ("sep=;\na;b\n1,5;2\n0,5;3\n", {"a": [1.5, 0.5], "b": [2, 3]}, "'sep=;'"),
        ("SEP=,\r\na,b\r\n1,2\r\n", {"a": [1], "b": [2]}, "'SEP=,'"),
        ("sep=\t\na\tb\n1\t2\n", {"a": [1], "b": [2]}, "tabs"),
        ("# made in 2024\n# by hand, twice\na,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]},
         "2 lines at the top"),
        ("# a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}, "'#'"),
        ("##v4\n#chrom\tpos\nx\t2\ny\t4\n", {"chrom": ["x", "y"], "pos": [2, 4]}, "'#'"),
        ("# it's \"odd\nb,a\n1,2\n", {"b": [1], "a": [2]}, "1 line at the top"),
        ("#,a\n1,2.5\n2,3.5\n", {"#": [1, 2], "a": [2.5, 3.5]}, ""),
        ("Sales 2024\n\na,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}, "'Sales 2024'"),
        ("Sales,,\n\na,b,c\n1,2,3\n3,4,5\n", {"a": [1, 3], "b": [2, 4], "c": [3, 5]}, "'Sales'"),
        ("t,temp,name\ns,°C,\n0,1.5,u\n1,2.5,v\n",
         {"t": [0, 1], "temp": [1.5, 2.5], "name": ["u", "v"]}, "units"),
        ("t,p\n[s],[hPa]\n0,1.5\n1,2.5\n", {"t": [0, 1], "p": [1.5, 2.5]}, "units"),
        ("a b\n1 2.5\n3 4.5\n", {"a": [1, 3], "b": [2.5, 4.5]}, "blanks between cells"),
        ("   a     b\n   1   2.5\n  30   4.5\n", {"a": [1, 30], "b": [2.5, 4.5]}, "blanks"),
        ("1.0  2   3\n-4.5 5  60\n", {"0": [1.0, -4.5], "1": [2, 5], "2": [3, 60]}, "blanks"),
        ('"x" "y"\n"1" 1.5 "New York"\n"2" 2.5 "Oslo"\n',
         {"x": [1.5, 2.5], "y": ["New York", "Oslo"]}, "rows' names"),
        ("name       age  score\nAnna Berg   31    1.5\nBo          42    2.5\nCai        107\n",
         {"name": ["Anna Berg", "Bo", "Cai"], "age": [31, 42, 107], "score": [1.5, 2.5, None]},
         "fixed width"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_stands_around_a_table_is_found_and_said(text, found, said, encoding, tmp_path):
    columns, notes = seen(written(tmp_path, text, encoding=encoding))
    assert columns == found
    assert said in notes


@pytest.mark.parametrize(
    "text",
    [
        "yes,no\nno,yes\nno,no\n",
        "red,small\nred,large\nblue,small\n",
        "u;v\nv;v\nv;u\n",
        "$3,red\n$4,blue\n$5,red\n",
        "red,n.a.\nblue,1\nred,2\n",
    ],
)
def test_a_first_line_that_is_a_row_is_not_lost(text, tmp_path):
    with notices.collected(quiet=True):
        table = read(written(tmp_path, text))
    assert table.rows == 3
    assert table.names == ["0", "1"]


def test_a_first_line_of_text_over_text_is_said(tmp_path):
    columns, notes = seen(written(tmp_path, "colour,size\nred,small\nblue,large\nred,large\n"))
    assert columns == {"colour": ["red", "blue", "red"], "size": ["small", "large", "large"]}
    assert "'colour', 'size'" in notes
    _, notes = seen(written(tmp_path, "colour,size\nred,1\nblue,2\n"))
    assert "colour" not in notes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name\nNew York\nLos Angeles\n", ["New York", "Los Angeles"]),
        ("start time\n2024-01-01 00:00\n2024-01-02 00:00\n", None),
        ("address\nMain Street 12\nOak Street 5\n", ["Main Street 12", "Oak Street 5"]),
    ],
)
def test_words_of_one_column_are_not_cells(text, found, tmp_path):
    columns, _ = seen(written(tmp_path, text))
    assert len(columns) == 1
    assert found is None or next(iter(columns.values())) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# a note\nx,y\n1,2\n3\n", "line 4 .* 1 cells instead of 2"),
        ("x,y\n# a note\n1,2\n3,4\n", "line 2 .* 1 cells instead of 2"),
        ("sep=;\n", "no rows"),
        ("# nothing\n# at all\n", "no rows"),
        ("a b\n1 2\n3 4\n5\n", "line 4 .* 1 cells instead of 2"),
    ],
)
def test_line_numbers_count_what_stands_above(text, said, tmp_path):
    with notices.collected(quiet=True), pytest.raises(IsthmusError, match=said):
        read(written(tmp_path, text))


def test_a_first_row_without_values_holds_no_units(tmp_path):
    with notices.collected(quiet=True):
        table = read(written(tmp_path, "a,b\nNA,n/a\n1,2\n3,4\n"))
    assert table.rows == 3
    with notices.collected(quiet=True):
        table = read(written(tmp_path, "a,b\nx,red\n1,blue\n2,red\n"))
    assert "row 0" in table["a"].stray  # one odd cell alone is no line of units


def test_rows_of_a_long_file_of_blanks_are_all_read(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3000, 3)).round(3)
    lines = "\n".join("  ".join(f"{v:9.3f}" for v in row) for row in rows)
    table = read(written(tmp_path, "  a b c\n" + lines + "\n"))
    got = np.stack([table[name].doubles() for name in "abc"], 1)
    np.testing.assert_array_equal(got, rows)
