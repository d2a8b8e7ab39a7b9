"""Files written whole or not at all."""

import pytest

from isthmus.errors import IsthmusError
from isthmus.runs import write_atomically


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    for name in ("file/in.csv", "x" * 300 + ".csv"):
        with pytest.raises(IsthmusError, match="cannot write "):
            write_atomically(tmp_path / name, b"new")
    with pytest.raises(IsthmusError, match="names no file"):
        write_atomically(tmp_path.__class__(), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
