"""Fetching from a server in this process; nothing leaves the machine."""

import gzip
import hashlib
import http.server
import json
import os
import sys
import threading

import numpy as np
import pytest

from isthmus import data, notices
from isthmus.data import catalogue, public
from isthmus.data.originals import contents
from isthmus.data.public import PublicSet
from isthmus.errors import IsthmusError

pytest.importorskip("pooch")

ROWS = "1.5,2\n3,4\n5,6\n"
MADE = b"a,b\n1.5,2\n3,4\n5,6\n"


class Answers(http.server.BaseHTTPRequestHandler):
    """Files by their path; ``asked`` counts, ``short`` are cut although their length is said."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in server.short else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        found.files, found.asked, found.short = {"/a.csv": ROWS.encode()}, [], set()
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    notices.forget()
    return tmp_path / "cache"


@pytest.fixture
def known(server, monkeypatch):
    """A function that makes a set known; each change of it is a keyword."""
    sets = {}
    monkeypatch.setattr(public, "sets", lambda: sets)

    def add(name="tiny_table", **changes):
        about = {
            "name": name, "title": "Tiny", "what": "Six numbers.", "rows": "3", "licence": "CC0",
            "citation": "Nobody 2000", "source": "nowhere", "file": f"tabular/{name}.csv.gz",
            "size": 60, "contents": contents(MADE),
            "read": {"as": "table", "target": "b", "rows": "array"},
            "at": f"http://127.0.0.1:{server.server_port}/",
            "originals": {"a.csv": hashlib.sha256(ROWS.encode()).hexdigest()},
            "make": {"by": "header", "names": ["a", "b"]},
        }  # fmt: skip
        sets[name] = PublicSet(**{**about, **changes})
        return sets[name]

    return add


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_fetched_set_is_loaded_by_its_name(cache, known, server):
    known()
    with pytest.raises(IsthmusError, match=r"'tiny_table' is not here: .*data fetch tiny_table"):
        data.load("tiny-table")
    with notices.collected(quiet=True) as said:
        (path,) = data.fetch("Tiny-Table")
    assert said == ["'tiny_table', licence: CC0; cite Nobody 2000"]
    assert gzip.decompress(path.read_bytes()) == MADE
    loaded = data.load("tiny_table")
    np.testing.assert_array_equal(loaded.train, np.float32([[1.5], [3], [5]]))
    np.testing.assert_array_equal(loaded.train_labels, [2, 4, 6])
    assert (loaded.licence, loaded.citation) == ("CC0", "Nobody 2000")
    assert "tiny_table" in data.names()
    assert data.is_name("tiny_table")
    assert files_in(cache) == ["manifest.json", "tabular/tiny_table.csv.gz"]


def test_what_is_here_is_not_fetched_again(cache, known, server):
    known()
    first = data.fetch("tiny_table")
    with notices.collected(quiet=True) as said:
        assert data.fetch("tiny_table") == first
    assert server.asked == ["/a.csv"]
    assert "here already" in said[0]
    first[0].unlink()
    assert data.fetch("tiny_table") == first
    assert data.load("tiny_table").train.shape == (3, 1)


def test_folder_of_fetched_sets_serves_as_the_data_folder(cache, known, tmp_path, monkeypatch):
    known(), known("other", read={"as": "table"})
    for name in ("tiny_table", "other"):
        data.fetch(name, tmp_path / "mine")
    assert not cache.exists()
    monkeypatch.setattr(public, "sets", dict)  # the folder's own manifest says how to read it
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path / "mine"))
    assert data.load("tiny_table").train.shape == (3, 1)
    assert list(data.load("other").train.columns) == ["a", "b"]


def test_group_of_sets_is_fetched_by_its_folder(cache, known):
    for name in ("one", "two"):
        known(f"bench/{name}", file=f"tabular/bench/{name}.csv.gz")
    assert [path.stem for path in data.fetch("bench")] == ["one.csv", "two.csv"]
    assert data.load("bench/two").train.shape == (3, 1)


def test_wrong_checksum_leaves_nothing(cache, known, server):
    known()
    server.files["/a.csv"] = b"9,9\n"
    with pytest.raises(IsthmusError, match="is not the file that it was") as raised:
        data.fetch("tiny_table")
    assert "\n" not in str(raised.value)
    assert files_in(cache) == []
    assert not data.is_name("tiny_table")


def test_other_contents_than_known_leave_nothing(cache, known):
    known(contents=contents(b"something else"))
    with pytest.raises(IsthmusError, match="differs from what is known of the set"):
        data.fetch("tiny_table")
    assert files_in(cache) == []


def test_cut_off_download_leaves_nothing(cache, known, server):
    known()
    server.short.add("/a.csv")
    with pytest.raises(IsthmusError, match="no answer, or a part of it"):
        data.fetch("tiny_table")
    assert files_in(cache) == []
    server.short.clear()
    assert len(data.fetch("tiny_table")) == 1


def test_missing_address_and_no_network_are_sentences(cache, known, server):
    known(originals={"b.csv": None})
    with pytest.raises(IsthmusError, match=r"/b\.csv cannot be had \(the answer was 404\)"):
        data.fetch("tiny_table")
    known(at="http://127.0.0.1:1/")
    with pytest.raises(IsthmusError, match=r"cannot be had \(no answer.*look at the network"):
        data.fetch("tiny_table")


def test_unstated_checksum_is_taken_down_and_compared_the_next_time(cache, known, server):
    known(originals={"a.csv": None})
    with notices.collected(quiet=True) as said:
        (path,) = data.fetch("tiny_table")
    assert any("nobody states the checksum" in sentence for sentence in said)
    (item,) = json.loads((cache / "manifest.json").read_text())
    recorded = {"a.csv": hashlib.sha256(ROWS.encode()).hexdigest()}
    assert item["files"][0]["originals"] == recorded
    path.unlink()
    server.files["/a.csv"] = ROWS.replace("\n", "\r\n").encode()  # of which the same would be made
    with pytest.raises(IsthmusError, match="is not the file that it was"):
        data.fetch("tiny_table")


def test_original_of_another_form_is_a_sentence(cache, known):
    known(make={"by": "idx", "members": {"x_train": "a.csv"}})
    with pytest.raises(IsthmusError, match="are not what the maker 'idx' expects") as raised:
        data.fetch("tiny_table")
    assert "\n" not in str(raised.value)


def test_names_that_cannot_be_fetched_are_answered(cache, known):
    known()
    known("odd", originals={}, at="", make={}, why="it was written by hand")
    with pytest.raises(IsthmusError, match=r"unknown public data set 'tiny_tabel'.*'tiny_table'"):
        data.fetch("tiny_tabel")
    with pytest.raises(IsthmusError, match=r"cannot be fetched \(it was written by hand\)"):
        data.fetch("odd")
    with pytest.raises(IsthmusError, match="'digits' is always here"):
        data.fetch("digits")


def test_folder_that_is_no_folder_of_data_is_left_alone(cache, known, tmp_path):
    known()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IsthmusError, match="cannot be written"):
        data.fetch("tiny_table", tmp_path / "file")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(IsthmusError, match="is no manifest of data sets"):
        data.fetch("tiny_table", tmp_path / "taken")
    assert (tmp_path / "taken" / "manifest.json").read_text() == '{"name": "an app"}'


def test_what_a_killed_fetch_left_is_removed_after_a_day(cache, known):
    known()
    left = cache / ".fetching-abc"
    (left / "half").mkdir(parents=True)
    (path,) = data.fetch("tiny_table")
    assert left.is_dir()
    path.unlink()
    long_ago = left.stat().st_mtime - 2 * 86_400
    os.utime(left, (long_ago, long_ago))
    data.fetch("tiny_table")
    assert not left.exists()


def test_without_pooch_the_extra_is_named(cache, known, monkeypatch):
    known()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(IsthmusError, match=r"isthmus\[data\]"):
        data.fetch("tiny_table")


def test_cache_is_where_pooch_has_it(monkeypatch):
    import pooch

    monkeypatch.delenv("ISTHMUS_CACHE")
    assert catalogue.cache_folder() == pooch.os_cache("isthmus")
