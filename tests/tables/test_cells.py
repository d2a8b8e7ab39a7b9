"""What is written in files of text as people have them: separators, marks, letters, packings."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import notices
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.tables import Preparation, TableSource, read


def written(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def columns(path):
    return {name: c.objects().tolist() for name, c in read(path).columns.items()}


@pytest.mark.parametrize(
    ("text", "found", "said"),
    [
        ("a;b\n1,5;2,5\n0,5;3,5\n", {"a": [1.5, 0.5], "b": [2.5, 3.5]}, "',' as the decimal mark"),
        ("a|b\n1.5|2.5\n0.5|3.5\n", {"a": [1.5, 0.5], "b": [2.5, 3.5]}, "'|' between cells"),
        ("a\tb\n1.5\t2\n0.5\t3\n", {"a": [1.5, 0.5], "b": [2, 3]}, "tabs between cells"),
        ('"t, C";b\n1.5;2\n0.5;3\n', {"t, C": [1.5, 0.5], "b": [2, 3]}, "';' between cells"),
        ("a;b\n1.234,5;x\n2.000,25;y\n", {"a": [1234.5, 2000.25], "b": ["x", "y"]}, "'.' between"),
        ('a,b\n"1,234",1.5\n"12,345,678",2.5\n', {"a": [1234, 12345678], "b": [1.5, 2.5]},
         "',' between thousands"),
        ("1,5;2,5\n0,5;3,5\n", {"0": [1.5, 0.5], "1": [2.5, 3.5]}, "decimal"),
        ("a\tb\n1,5\t2\n0,5\t3\n", {"a": [1.5, 0.5], "b": [2, 3]}, "tabs"),
        ("0,1,2\n0.5,0.25,3\n1.5,2,4\n", {"0": [0.5, 1.5], "1": [0.25, 2.0], "2": [3, 4]},
         "counts (0, 1, 2)"),
        ("Unnamed: 0,a\n0,1.5\n1,2.5\n", {"a": [1.5, 2.5]}, "rows' numbers and left out"),
        ("a,b\nr1,1,2\nr2,3,4\n", {"a": [1, 3], "b": [2, 4]}, "rows' names"),
        ("a,,b\n1,2,3\n4,5,6\n", {"a": [1, 4], "unnamed 1": [2, 5], "b": [3, 6]}, "without a name"),
    ],
)  # fmt: skip
def test_dialects_are_found_and_said(text, found, said, tmp_path):
    with notices.collected(quiet=True) as notes:
        assert columns(written(tmp_path, text)) == found
    assert any(said in note for note in notes), notes


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1_000", "2"], None),  # Python reads the first as a number; nobody else does
        (["1_000", "2_000"], ["1_000", "2_000"]),
        (["True", "false", ""], [True, False, None]),
        (["2024-01-02", "", "2024-03-04T05:06:07"], "time"),
        (["31.12.2023", "01.02.2024"], "time"),
        (["12/31/2023", "01/02/2024"], "time"),
        (["31/12/2023", "01/02/2024"], "time"),
        (["01/02/2024", "03/04/2024"], ["01/02/2024", "03/04/2024"]),  # which is the month?
        (["9007199254740993", "", "9007199254740995"], [2**53 + 1, None, 2**53 + 3]),
        (["123456789012345678901234567890", "1"], [1.2345678901234568e29, 1.0]),
        (["none", "NA", "red"], ["none", "NA", "red"]),
        (["none", "NA", "7"], [None, None, 7]),
        (["0x1F", "0x2F"], ["0x1F", "0x2F"]),
        (["1e5", "-2.5E-3"], [1e5, -2.5e-3]),
    ],
)
def test_types_of_cells(cells, found, tmp_path):
    path = written(tmp_path, "x,row\n" + "".join(f"{c},{i}\n" for i, c in enumerate(cells)))
    column = read(path).columns["x"]
    if found is None:
        assert "holds '1_000' in the column 'x'" in column.stray
    elif found == "time":
        assert column.kind == "time"
        days = {"31.12.2023": "2023-12-31", "12/31/2023": "2023-12-31", "31/12/2023": "2023-12-31"}
        first = np.datetime64(days.get(cells[0], "2024-01-02"))
        assert column.values[0] == first
    else:
        assert [None if v != v else v for v in column.objects().tolist()] == found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("quotes", [False, True])
def test_letters_of_every_encoding(encoding, quotes, tmp_path):
    text = (
        'größe,ort\n1.5,Köln\n2.5,"Malmö, Süd"\n' if quotes else "größe,ort\n1.5,Köln\n2.5,Malmö\n"
    )
    with notices.collected(quiet=True) as notes:
        found = columns(written(tmp_path, text, encoding=encoding))
    assert found == {"größe": [1.5, 2.5], "ort": ["Köln", "Malmö, Süd" if quotes else "Malmö"]}
    assert any("no UTF-8" in note for note in notes) == (encoding == "latin-1")


def test_an_odd_letter_far_down_is_found(tmp_path):
    text = "a,b\n" + "1.5,plain\n" * 60_000 + "2.5,Köln\n"
    table = read(written(tmp_path, text, encoding="latin-1"))
    assert table.columns["b"].levels == ["Köln", "plain"]


def test_archives_hold_one_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.csv.zip", "w") as archive:
        archive.writestr("z.csv", "a,b\n1.5,2.5\n")
    with zipfile.ZipFile(tmp_path / "named.zip", "w") as archive:
        archive.writestr("folder/z.csv", "a,b\n1.5,2.5\n")
        archive.writestr("__MACOSX/z.csv", "nothing")
    for name in ("z.csv.zip", "named.zip"):
        assert columns(tmp_path / name) == {"a": [1.5], "b": [2.5]}
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("x.csv", "a\n1\n")
        archive.writestr("y.csv", "a\n1\n")
    with pytest.raises(IsthmusError, match=r"holds 2 files \('x.csv', 'y.csv'\): unpack it"):
        read(tmp_path / "two.csv.zip")


@pytest.mark.parametrize("give", ["csv", "parquet", "pandas", "fit"])
def test_columns_of_one_name_are_refused_everywhere(give, tmp_path):
    import isthmus
    from isthmus.comparison.prepared import prepare

    frame = pd.DataFrame(np.zeros((9, 3)), columns=["a", "a", "b"])
    X = frame
    if give == "csv":
        X = tmp_path / "d.csv"
        frame.to_csv(X, index=False)
    if give == "parquet":
        X = tmp_path / "d.parquet"
        pq.write_table(pa.table([[1.0], [2.0], [3.0]], ["a", "a", "b"]), X)
    what = {"fit": lambda: isthmus.fit("plain", X, steps=1)}.get(give, lambda: prepare(X))
    with pytest.raises(IsthmusError, match=r"several columns called 'a': give each"):
        what()


@pytest.mark.parametrize(
    ("row", "line"),
    [("1", 31), ("1,2,3", 31), ('"1', 31), ("1,2,", 31)],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_first_uneven_line_is_named(row, line, packed, tmp_path):
    text = "a,b\n" + "1,2\n" * 29 + row + "\n" + "1,2\n" * 9
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    said = f"line {line} .* instead of 2" if row != '"1' else "line 40 .* instead of 2"
    with pytest.raises(IsthmusError, match=said):
        read(path)


@pytest.mark.parametrize("cell", ["n.a.", "12abc", "1,5", "missing"])
def test_a_stray_cell_is_named_by_fit_and_compare(cell, tmp_path):
    import isthmus
    from isthmus.comparison.prepared import prepare

    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{y:.3f}" for x, y in rng.normal(size=(60, 2))]
    rows[7] = f'1.0,"{cell}"'
    path = written(tmp_path, "a,b\n" + "\n".join(rows) + "\n")
    said = f"row 7 of 't.csv' holds '{cell}' in the column 'b'"
    for use in (lambda: isthmus.fit("plain", path, steps=1), lambda: prepare(path)):
        with pytest.raises(IsthmusError, match=said):
            use()
    model = Preparation.learn(as_source(f"{path}:-b").table)
    assert model.columns == ["a"]


def test_infinity_is_named(tmp_path):
    path = written(tmp_path, "a,b\n1,2\n3,inf\n5,6\n")
    with pytest.raises(IsthmusError, match="row 1 holds infinity in the column 'b'"):
        Preparation.learn(read(path))


def test_text_with_too_many_values_is_not_kept(tmp_path, monkeypatch):
    from isthmus.tables import text_columns as gathering

    monkeypatch.setattr(gathering, "KEPT", 100)
    rows = "".join(f"{i / 7:.6f},word {i},{i},2024-01-01T00:{i // 60:02d}:{i % 60:02d}\n"
                   for i in range(900))  # fmt: skip
    table = read(written(tmp_path, "x,free,n,t\n" + rows))
    assert [c.kind for c in table.columns.values()] == ["number", "free", "integer", "time"]
    assert len(table.columns["free"].values) == 0
    assert read(tmp_path / "t.csv", whole=["free"]).columns["free"].objects()[7] == "word 7"


def test_a_table_is_read_in_parts(tmp_path, monkeypatch):
    from isthmus.tables import files as reading

    monkeypatch.setattr(reading, "PART_CELLS", 1)
    values = [*range(500), 0.5, *["NA"] * 3, *range(70)]
    path = written(tmp_path, "x,y\n" + "".join(f"{v},{'u' if v == 3 else 'v'}\n" for v in values))
    whole = np.array([np.nan if v == "NA" else v for v in values], float)
    np.testing.assert_array_equal(read(path).columns["x"].values, whole)
    assert TableSource(read(path).only(["x"]).take(slice(0, 9))).signal.shape == (1,)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a;b\n345.584;0,054\n-1.303.157;0,273\n", {"a": [345584, -1303157], "b": [0.054, 0.273]}),
        ("a;b\n345.584;0,054\n1.303;10,273\n", {"a": [345584, 1303], "b": [0.054, 10.273]}),
        ("a;b\n1.234.567;12,125\n", {"a": [1234567], "b": [12.125]}),
        ('a,b\n"0,125",7\n"1,250",8\n', {"a": [0.125, 1.25], "b": [7, 8]}),
        ("a;b\n1,125;0.5\n2,250;0.25\n", {"a": [1125, 2250], "b": [0.5, 0.25]}),
    ],
)
def test_a_mark_that_may_be_either_is_settled_by_the_others(text, found, tmp_path):
    assert columns(written(tmp_path, text)) == found


def test_no_number_with_thousands_begins_with_zero(tmp_path):
    path = written(tmp_path, 'a,b\n"1,234",0.5\n"0,234",1.5\n"5,234",1.5\n')
    assert "row 1" in read(path).columns["a"].stray


@pytest.mark.parametrize("start", [10**20, 2**63, 10**17])
def test_whole_numbers_that_doubles_do_not_tell_apart_are_an_error(start, tmp_path):
    path = written(tmp_path, "a,b\n" + "".join(f"{start + i},{i}\n" for i in range(20)) + ",1\n")
    stray = read(path).columns["a"].stray
    if start < 2**63:
        assert not stray  # 64 bits hold them
    else:
        assert "too large to be told apart" in stray
    far = written(tmp_path, "a,b\n" + "".join(f"{i}{'0' * 19},{i}\n" for i in range(1, 20)))
    assert not read(far).columns["a"].stray
