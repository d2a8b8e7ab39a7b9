import bz2
import csv
import gzip
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.tables import files as reading

FRAME = pd.DataFrame({"a": [1.5, -2.0, 3e5], "b": [4, 5, 6], "c": [0.0, 1.0, 0.25]})


def read(path):
    """A table's numbers, float32 with NaN for what is missing, and its columns' names."""
    table = reading.read(path)
    columns = [column.doubles() for column in table.columns.values()]
    return np.stack(columns, 1).astype(np.float32), table.names


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.csv", bytes),
        ("t.csv.gz", gzip.compress),
        ("t.csv.bz2", bz2.compress),
        ("t.csv.xz", lzma.compress),
        ("t.csv.zst", zstd),
        ("t.tsv", bytes),
        ("t.tsv.gz", gzip.compress),
    ],
)
def test_packed_tables_read_alike(name, pack, tmp_path):
    text = FRAME.to_csv(index=False, sep="\t" if ".tsv" in name else ",")
    (tmp_path / name).write_bytes(pack(text.encode()))
    values, columns = read(tmp_path / name)
    assert columns == ["a", "b", "c"]
    np.testing.assert_array_equal(values, FRAME.to_numpy(np.float32))


@pytest.mark.parametrize(
    ("text", "columns", "values"),
    [
        ("1,2\n3,4\n", ["0", "1"], [[1, 2], [3, 4]]),
        ("x,y\n1,2\n", ["x", "y"], [[1, 2]]),
        ("\ufeffx,y\n1,2\n", ["x", "y"], [[1, 2]]),
        ("x;y\n1;2\n", ["x", "y"], [[1, 2]]),
        ('"x, m","y"\n"1",2\n', ["x, m", "y"], [[1, 2]]),
        (",x,y\n0,1,2\n1,3,4\n", ["x", "y"], [[1, 2], [3, 4]]),
        ("id,2019\n1,5\n", ["id", "2019"], [[1, 5]]),
        ("x\n1\n\n2\n\n", ["x"], [[1], [2]]),
        ("x,y\r\n1,2\r\n", ["x", "y"], [[1, 2]]),
        ("x,y\nTrue,1\nFalse,2", ["x", "y"], [[1, 1], [0, 2]]),
        ("7", ["0"], [[7]]),
        ("1,,3\n4,5,6\n", ["0", "1", "2"], [[1, np.nan, 3], [4, 5, 6]]),
        ("x,y\nNA,1\n?,2\n-inf,nan\n", ["x", "y"], [[np.nan, 1], [np.nan, 2], [-np.inf, np.nan]]),
    ],
)
def test_headers_quotes_and_missing_values(text, columns, values, tmp_path):
    got, names = read(write(tmp_path / "t.csv", text))
    assert names == columns
    np.testing.assert_array_equal(got, np.array(values, np.float32))


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2), min_size=1))
def test_written_numbers_come_back_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    write(path, "x,y\n" + "".join(f"{a!r},{b!r}\n" for a, b in rows))
    np.testing.assert_array_equal(read(path)[0], np.array(rows, np.float32))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_are_chosen_or_left_out(ending, tmp_path):
    frame = FRAME.assign(name=["u", "v", "w"])
    path = tmp_path / f"t.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    with pytest.raises(IsthmusError, match=rf"\('name'\).*'t.{ending}:-name'"):
        as_source(path).rows(torch.arange(1))
    for choice, kept in (("-name", ["a", "b", "c"]), ("c,a", ["c", "a"])):
        rows = as_source(f"{path}:{choice}").rows(torch.arange(3))
        np.testing.assert_array_equal(rows.numpy(), frame[kept].to_numpy(np.float32))
    with pytest.raises(IsthmusError, match="did you mean 'name'"):
        as_source(f"{path}:-nam")
    with pytest.raises(IsthmusError, match="leaves no columns"):
        as_source(f"{path}:-a,b,c,name")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_missing_values_name_row_and_column(ending, tmp_path):
    frame = FRAME.assign(b=[4.0, np.nan, 6.0])
    path = tmp_path / f"t.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    with pytest.raises(IsthmusError, match=rf"'t.{ending}' contain NaN .*row 1, column 'b'"):
        as_source(path).rows(torch.arange(1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "line 3 .* 1 cells instead of 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 .* 3 cells instead of 2"),
        ("a,b\n1,2\n3,red\n4,5\n", r"row 1 of 't.csv' holds 'red' in the column 'b'"),
        ("a,b\nx,red\ny,blue\n", r"not numeric \('a', 'b'\)"),
    ],
)
def test_bad_tables_are_errors(text, said, tmp_path):
    with pytest.raises(IsthmusError, match=said):
        as_source(write(tmp_path / "t.csv", text)).rows(torch.arange(1))


def test_bytes_that_are_no_text_and_truncated_packing_are_errors(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe\x00\x00\x07,1\n")
    packed = gzip.compress(FRAME.to_csv(index=False).encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[:-12])
    (tmp_path / "u.csv.xz").write_bytes(b"no xz at all")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    for name in ("t.csv", "t.csv.gz", "u.csv.xz", "t.parquet"):
        with pytest.raises(IsthmusError, match=rf"{name}' is damaged"):
            as_source(tmp_path / name)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
def test_parquet_of_every_numeric_type(compression, tmp_path):
    table = pa.table({
        "i": pa.array([1, None, 3], pa.int16()),
        "f": pa.array([0.5, 1.5, 2.5], pa.float32()),
        "b": pa.array([True, False, True]),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet", compression=compression)
    values, names = read(tmp_path / "t.parquet")
    assert names == ["i", "f", "b"]
    np.testing.assert_array_equal(values, np.float32([[1, 0.5, 1], [np.nan, 1.5, 0], [3, 2.5, 1]]))


def test_parquet_column_of_vectors_is_a_matrix(tmp_path):
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 4)):
        pq.write_table(pa.table({"e": pa.array(x.tolist(), kind)}), tmp_path / "t.parquet")
        np.testing.assert_array_equal(as_source(tmp_path / "t.parquet").rows(torch.arange(5)), x)
    pq.write_table(pa.table({"e": [[1.0], [2.0, 3.0], [4.0, 5.0]]}), tmp_path / "t.parquet")
    with pytest.raises(IsthmusError, match="differ in length"):
        as_source(tmp_path / "t.parquet")


def test_parquet_without_rows_is_an_error(tmp_path):
    FRAME.iloc[:0].to_parquet(tmp_path / "t.parquet")
    with pytest.raises(IsthmusError, match="empty"):
        as_source(tmp_path / "t.parquet")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_may_be_longer_than_the_standard_reader_allows(quote, tmp_path):
    limit = csv.field_size_limit()
    rows = "".join(f"{i}.5,{quote}{'z' * (200_000 if i == 3 else 1)}{quote}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("a,b\n" + rows)
    table = reading.read(str(tmp_path / "t.csv"))
    assert (len(table), table["b"].kind) == (20, "text")
    assert csv.field_size_limit() == limit
