import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from isthmus.data import as_source, open_file
from isthmus.errors import IsthmusError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
ALL = torch.arange(4)


def save_lzma(path, **arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)


WRITERS = {
    "a.npy": lambda p: np.save(p, X),
    "a.npz": lambda p: np.savez(p, only=X),
    "picked.npz": lambda p: np.savez(p, x_train=X, y_train=X[:, 0], x_test=X + 1),
    "lzma.npz": lambda p: save_lzma(p, x=X, y=X[:, 0]),
    "a.pt": lambda p: torch.save(torch.from_numpy(X), p),
    "dict.pt": lambda p: torch.save({"data": torch.from_numpy(X), "n": 3}, p),
    "a.safetensors": lambda p: save_file({"acts": X}, p),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_its_rows(name, tmp_path):
    WRITERS[name](tmp_path / name)
    for given in (tmp_path / name, str(tmp_path / name)):
        source = as_source(given)
        np.testing.assert_array_equal(source.rows(ALL).numpy(), X)
        assert (source.signal.low, source.signal.high) == (0, 11)


def test_npy_stays_on_disk(tmp_path):
    np.save(tmp_path / "a.npy", X)
    assert isinstance(open_file(tmp_path / "a.npy")._array, np.memmap)


@pytest.mark.parametrize("ending", ["npz", "safetensors", "pt"])
def test_members_are_chosen_by_colon(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    parts = {"first": X, "second": X + 1}
    if ending == "npz":
        np.savez(path, **parts)
    elif ending == "pt":
        torch.save({k: torch.from_numpy(v) for k, v in parts.items()}, path)
    else:
        save_file(parts, path)
    np.testing.assert_array_equal(as_source(f"{path}:second").rows(ALL).numpy(), X + 1)
    if ending == "npz":  # arrays of as many rows each are a collection
        assert set(as_source(path).parts) == {"first", "second"}
    else:
        with pytest.raises(IsthmusError, match=rf"first, second.*'a.{ending}:first'"):
            as_source(path)
    with pytest.raises(IsthmusError, match="did you mean 'second'"):
        as_source(f"{path}:secnd")


def test_nan_in_a_file_names_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0], [np.nan]]))
    with pytest.raises(IsthmusError, match=r"'a.npy' contain NaN or infinity \(first in row 1"):
        as_source(tmp_path / "a.npy")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_named(name, share, tmp_path):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(IsthmusError, match=name) as caught:
        as_source(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_damaged_bytes_inside_an_archive_are_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=X)
    raw = bytearray(path.read_bytes())
    raw[raw.find(X.tobytes()) + 3] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(IsthmusError, match="damaged"):
        as_source(path)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt", "a.pkl", "a.joblib"])
def test_pickles_are_refused_and_not_run(name, tmp_path):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, np.array([[Evil()]], object), allow_pickle=True)
    elif name == "a.npz":
        np.savez(path, x=np.array([[Evil()]], object))
    elif name == "a.pt":
        torch.save([Evil()], path)
    else:
        path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(IsthmusError, match="refused"):
        as_source(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.npy", "no file"),
        ("missing.npz:x", "no file"),
        ("note.doc", "no known type"),
        ("rows.feather", r"write it as parquet, by pandas\.read_feather\("),
        ("rows.jsonl", r"write it as parquet, by pandas\.read_json\(\.\.\., lines=True\)"),
    ],
)
def test_other_files_are_errors_with_a_remedy(name, said, tmp_path):
    for present in ("note.doc", "one.png", "rows.feather", "rows.jsonl"):
        (tmp_path / present).write_bytes(b"x")
    with pytest.raises(IsthmusError, match=said):
        as_source(str(tmp_path / name))


def test_archive_of_no_tensors_is_an_error(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(IsthmusError, match="no tensors"):
        as_source(tmp_path / "a.pt")


def test_members_of_a_plain_array_are_an_error(tmp_path):
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(IsthmusError, match="leave ':x' out"):
        as_source(f"{tmp_path / 'a.npy'}:x")


def test_a_text_file_is_a_text_a_line(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffone\r\n\n  \nzwölf \n".encode())
    source = as_source(str(path))
    batch = source.batch(torch.arange(2))
    assert (source.signal.text, source.signal.vocabulary, source.signal.ragged) == (
        "str",
        256,
        True,
    )
    rows = [bytes(row[m].tolist()) for row, m in zip(batch.x, batch.mask, strict=True)]
    assert rows == [b"one", "zwölf ".encode()]


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"\n \n", "a.txt", "holds no text"),
        (b"caf\xe9\n", "a.txt", r"UTF-8 \(byte 3"),
        (b"one\n", "a.txt:member", "no members"),
    ],
)
def test_text_files_that_cannot_be_read(content, name, said, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(IsthmusError, match=said):
        as_source(str(tmp_path / name))


def test_a_part_of_a_table_is_named_once(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6\n")
    with pytest.raises(IsthmusError, match="two parts are called 'left'"):
        open_file(f"{path}:left=a;left=b;right=c")
