"""The hook for commits refuses large files and files that cannot be read."""

import pytest
from tools.check_files import LARGEST, problem


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "x = "), ("a.yml", "a: [1"), ("a.json", "{"), ("a.cff", "- a: b: c")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert str(path) in problem(path)


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", "x = 1"), ("a.yml", "a: [1]"), ("a.json", "{}"), ("a.py", "(")]
)
def test_a_file_that_can_be_read_is_fine(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert problem(path) is None


def test_a_large_file_is_refused_but_where_such_files_belong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("docs/pictures", "docs"):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
    from pathlib import Path

    for path in (Path("docs/pictures/a.png"), Path("docs/a.png")):
        path.write_bytes(b"0" * (LARGEST + 1))
    assert problem(Path("docs/pictures/a.png")) is None
    assert f"{LARGEST:,}" in problem(Path("docs/a.png"))
