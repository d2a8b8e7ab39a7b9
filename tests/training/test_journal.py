"""Several files as one: every point at which a process can die, and a full disk."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest

from isthmus.errors import IsthmusError
from isthmus.training import journal
from isthmus.training.journal import MARKER, STAGING, commit, located

NAMES = ["config.json", "model.safetensors", "training/state.safetensors"]


def writers(text, names=NAMES):
    return {name: (lambda path, t=f"{text} {name}": path.write_text(t)) for name in names}


def read(folder):
    """What a reader finds: the first word of every file (None where there is none)."""
    found = set()
    for name in NAMES:
        path = located(folder, name)
        found.add(path.read_text().split()[0] if path.exists() else None)
    return found


class Killed(BaseException):
    """Stands for a kill: after it nothing of the process runs any more."""


OPERATIONS = [
    (os, "replace"), (os, "fsync"), (shutil, "rmtree"), (Path, "mkdir"), (Path, "touch"),
    (Path, "unlink"), (Path, "write_text"),
]  # fmt: skip


class Mortal:
    """Counts all file operations of the journal and dies before (or right after) the n-th.

    Dead, every further operation dies too: no clean-up of a killed process happens.
    """

    def __init__(self, monkeypatch, at, after):
        self.count, self.at, self.after, self.dead, self.trace = 0, at, after, False, []
        monkeypatch.setattr(os, "fsync", lambda handle: None)  # counted, not waited for
        for owner, name in OPERATIONS:
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name), name))

    def wrapped(self, operation, name):
        def mortal(*args, **kwargs):
            if self.dead:
                raise Killed
            if name == "rmtree":  # it removes file by file: die half-way through, too
                return self.rmtree(operation, *args, **kwargs)
            self.count += 1
            self.trace.append(name)
            due = self.count == self.at
            if due and not self.after:
                self.dead = True
                raise Killed
            result = operation(*args, **kwargs)
            if due:
                self.dead = True
                raise Killed
            return result

        return mortal

    def rmtree(self, operation, path, *args, **kwargs):
        for inner in sorted((p for p in path.rglob("*") if p.is_file()), reverse=True):
            self.count += 1
            self.trace.append("rmtree")
            due = self.count == self.at
            if due and not self.after:
                self.dead = True
                raise Killed
            os.unlink(inner)
            if due:
                self.dead = True
                raise Killed
        return operation(path, *args, **kwargs)


def operations_of_one_commit(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        commit(tmp_path / "dry", writers("old"))
        mortal = Mortal(patch, -1, False)
        commit(tmp_path / "dry", writers("new"))
    return mortal.trace


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_operation_the_folder_is_all_old_or_all_new(tmp_path, after):
    trace = operations_of_one_commit(tmp_path)
    assert trace.count("replace") == len(NAMES)
    seen = []
    for n in range(1, len(trace) + 1):
        folder = tmp_path / f"{after}{n}"
        commit(folder, writers("old"))
        with pytest.MonkeyPatch.context() as patch:
            Mortal(patch, n, after)
            with pytest.raises(Killed):
                commit(folder, writers("new"))
        state = read(folder)
        assert state in ({"old"}, {"new"}), f"mixed after operation {n} ({trace[n - 1]})"
        seen.append(state == {"new"})
        # The next process writes on as if nothing had happened.
        commit(folder, writers("third"))
        assert read(folder) == {"third"}
        assert not (folder / STAGING).exists()
    assert seen == sorted(seen), "decided commits were undone"
    assert seen[0] is False
    assert seen[-1] is True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_finishing_what_another_process_began(tmp_path, after):
    """A second kill, during the recovery that the next commit starts with."""
    trace = operations_of_one_commit(tmp_path)
    decided = trace.index("replace") + 1  # the marker is there, the first rename is not
    for n in range(1, 40):
        folder = tmp_path / f"{after}{n}"
        commit(folder, writers("old"))
        for at, text in ((decided, "new"), (n, "third")):
            with pytest.MonkeyPatch.context() as patch:
                Mortal(patch, at, after and text == "third")
                with contextlib.suppress(Killed):
                    commit(folder, writers(text))
            assert read(folder) in ({"new"}, {"third"})
        commit(folder, writers("fourth"))
        assert read(folder) == {"fourth"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("half", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path, name, half):
    folder = tmp_path / "run"
    commit(folder, writers("old"))

    def full(path):
        if half:
            path.write_text("ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(IsthmusError, match="No space left on device; free some space") as problem:
        commit(folder, {**writers("new"), name: full})
    assert "\n" not in str(problem.value)
    assert read(folder) == {"old"}
    assert not (folder / STAGING).exists()
    commit(folder, writers("new"))
    assert read(folder) == {"new"}


def test_a_disk_that_fails_to_sync(tmp_path, monkeypatch):
    """At every sync before the decision the old files stay, after it the new ones are read."""
    syncs = operations_of_one_commit(tmp_path).count("fsync")
    outcomes = []
    for n in range(1, syncs + 1):
        folder = tmp_path / str(n)
        commit(folder, writers("old"))
        count, real = [0], os.fsync

        def failing(handle, n=n, count=count, real=real):
            count[0] += 1
            if count[0] == n:
                raise OSError(errno.EIO, "Input/output error")
            real(handle)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(IsthmusError, match="Input/output error"):
                commit(folder, writers("new"))
        state = read(folder)
        assert state in ({"old"}, {"new"})
        outcomes.append(state == {"new"})
        commit(folder, writers("third"))
        assert read(folder) == {"third"}
    assert outcomes == sorted(outcomes)
    assert outcomes[0] is False


def test_a_decided_commit_survives_a_disk_that_will_not_finish_it(tmp_path, monkeypatch):
    """The renames fail, now and when the next commit tries to finish them: nothing is lost."""
    folder = tmp_path / "run"
    commit(folder, writers("old"))
    real, count = os.replace, [0]

    def failing(*args):
        count[0] += 1
        if count[0] > 1:
            raise OSError(errno.EIO, "Input/output error")
        real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", failing)
        for text in ("new", "third"):
            with pytest.raises(IsthmusError, match="Input/output error"):
                commit(folder, writers(text))
            assert read(folder) == {"new"}
    commit(folder, writers("fourth"))
    assert read(folder) == {"fourth"}


@pytest.mark.parametrize("problem", [KeyboardInterrupt, MemoryError, ValueError])
def test_anything_else_that_goes_wrong_while_writing(tmp_path, problem):
    folder = tmp_path / "run"
    commit(folder, writers("old"))

    def breaking(path):
        path.write_text("half")
        raise problem

    with pytest.raises(problem):
        commit(folder, {**writers("new"), NAMES[1]: breaking})
    assert read(folder) == {"old"}
    assert not (folder / STAGING).exists()


def test_a_staging_folder_without_the_marker_is_rubbish(tmp_path):
    commit(tmp_path, writers("old"))
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / NAMES[0]).write_text("half a fi")
    assert read(tmp_path) == {"old"}
    commit(tmp_path, writers("new"))
    assert read(tmp_path) == {"new"}


def test_reading_a_decided_commit_changes_nothing_on_disk(tmp_path):
    commit(tmp_path, writers("old"))
    staging = tmp_path / STAGING
    (staging / "training").mkdir(parents=True)
    for name in NAMES:
        (staging / name).write_text(f"new {name}")
    (staging / MARKER).touch()
    before = sorted(tmp_path.rglob("*"))
    assert read(tmp_path) == {"new"}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IsthmusError, match="cannot save to"):
        commit(tmp_path / "file" / "run", writers("new"))


def test_files_are_synced_before_the_marker_is_made(tmp_path, monkeypatch):
    log = []
    monkeypatch.setattr(journal, "synced", lambda path: log.append(path.name))
    touch = Path.touch
    monkeypatch.setattr(Path, "touch", lambda p, *a, **k: (log.append(p.name), touch(p))[1])
    commit(tmp_path, writers("new"))
    assert {Path(n).name for n in NAMES} <= set(log[: log.index(MARKER)])
    assert log[log.index(MARKER) - 1] == STAGING
    assert log[log.index(MARKER) + 1] == STAGING
