"""One folder has one writer: beside others, in threads, after crashes, on drives without locks."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError
from isthmus.training import Callback, lock
from isthmus.training.lock import NAME, claim, claims, held

X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
QUICK = {"steps": 6, "batch_size": 16, "hidden": (4,), "latent_dim": 2, "progress": False}
HOLD = """
import sys, time
from pathlib import Path
from isthmus.training import lock
if sys.argv[2] == "none":
    lock._flock = lambda handle: None
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["flock", "none"])
def kind(request, monkeypatch):
    """A drive that has locks, and one that has none."""
    if request.param == "none":
        monkeypatch.setattr(lock, "_flock", lambda handle: None)
    return request.param


@pytest.fixture
def holder(tmp_path, kind):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "m"), kind]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close(), process.stdout.close()


@pytest.mark.slow
def test_a_second_process_is_one_sentence_and_the_first_is_untouched(tmp_path, holder):
    with pytest.raises(IsthmusError, match=f"process {holder.pid} on .*choose another") as problem:
        isthmus.fit("plain", X, out=tmp_path / "m", overwrite=True, **QUICK)
    assert "\n" not in str(problem.value)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [NAME]
    holder.stdin.close()
    assert holder.wait() == 0
    assert not (tmp_path / "m").exists(), "a folder made for nothing goes"
    isthmus.fit("plain", X, out=tmp_path / "m", **QUICK)


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "m" / NAME).exists()
    with held(tmp_path / "m"):
        assert json.loads((tmp_path / "m" / NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "m" / NAME).exists()


def test_threads_of_one_process_exclude_each_other(tmp_path, kind):
    found = []

    def other():
        try:
            isthmus.fit("plain", X, out=tmp_path / "m", overwrite=True, **QUICK)
        except IsthmusError as problem:
            found.append(str(problem))

    class Second(Callback):
        def on_step(self, run, step):
            if step == 3:
                thread = threading.Thread(target=other)
                thread.start()
                thread.join()

    model = isthmus.fit("plain", X, out=tmp_path / "m", callbacks=[Second()], **QUICK)
    assert len(found) == 1
    assert "another run is being written" in found[0]
    assert np.array_equal(isthmus.load(tmp_path / "m").encode(X), model.encode(X))


@pytest.mark.parametrize("what", ["fit", "fit_many", "resume", "save", "resume_many"])
def test_whatever_writes_asks_for_the_folder(tmp_path, what):
    class Stop(Callback):
        def on_step(self, run, step):
            raise KeyboardInterrupt

    many, one = tmp_path / "many", tmp_path / "one"
    quick = {k: v for k, v in QUICK.items() if k != "progress"}
    with pytest.raises(KeyboardInterrupt):
        isthmus.fit("plain", X, out=one, callbacks=[Stop()], **QUICK)
    with pytest.raises(KeyboardInterrupt):
        isthmus.fit_many(["plain", "vae"], X, out=many, callbacks=[Stop()], **quick)
    model = isthmus.fit("plain", X, **QUICK)
    calls = {
        "fit": lambda: isthmus.fit("plain", X, out=one, overwrite=True, **QUICK),
        "fit_many": lambda: isthmus.fit_many(["plain"], X, out=many, overwrite=True, **quick),
        "resume": lambda: isthmus.resume(one, X),
        "save": lambda: isthmus.save(model, one),
        "resume_many": lambda: isthmus.resume_many(many, X),
    }
    shared = many / "plain" if what == "resume_many" else many if "many" in what else one
    with held(shared), pytest.raises(IsthmusError, match="another run is being written"):
        calls[what]()
    if what != "save":  # there is a run already, which is another sentence
        calls[what]()


def test_a_finished_run_can_be_read_while_somebody_holds_it(tmp_path):
    isthmus.fit("plain", X, out=tmp_path / "m", **QUICK)
    with held(tmp_path / "m"):
        isthmus.load(tmp_path / "m")
        isthmus.resume(tmp_path / "m")


def test_a_mistake_leaves_no_folder_behind(tmp_path):
    with pytest.raises(IsthmusError):
        isthmus.fit("plain", X[:1], out=tmp_path / "a" / "b", **QUICK)
    assert not (tmp_path / "a").exists()


def test_claims_within_claims_are_one(tmp_path):
    with claims():
        outer = claim(tmp_path / "m")
        with claims():
            assert claim(tmp_path / "." / "m") is outer
        assert outer.ours
    assert not (tmp_path / "m").exists()


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "m")
    with held(tmp_path / "m"), pytest.raises(IsthmusError), held(tmp_path / "link"):
        pass


@pytest.mark.parametrize("owner", ["", "{", "[]", '{"host": "HERE", "pid": 1, "began": "another"}'])
def test_without_locks_a_signature_of_nobody_is_taken_over(tmp_path, monkeypatch, owner):
    monkeypatch.setattr(lock, "_flock", lambda handle: None)
    (tmp_path / NAME).write_text(owner.replace("HERE", lock._host()))
    with held(tmp_path) as mine:
        assert mine.ours
        assert sorted(p.name for p in tmp_path.iterdir()) == [NAME]
    assert not list(tmp_path.iterdir())


def test_without_locks_another_host_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_flock", lambda handle: None)
    (tmp_path / NAME).write_text(json.dumps({"host": "elsewhere", "pid": 5, "since": 0}))
    with pytest.raises(IsthmusError, match=r"process 5 on elsewhere.*delete .*\.lock"):
        lock.Held(tmp_path)
    assert (tmp_path / NAME).exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, number):
    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.os, "open", refuse)
    with pytest.raises(IsthmusError, match=r"cannot write in .*choose another folder"):
        lock.Held(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert not lock._here


@pytest.mark.parametrize("then", ["nothing", "another run"])
def test_a_folder_deleted_meanwhile_is_one_sentence(tmp_path, then):
    class Delete(Callback):
        def on_step(self, run, step):
            if step == 3:
                shutil.rmtree(run.folder)
                if then == "another run":
                    isthmus.fit("plain", X, out=tmp_path / "other", **{**QUICK, "steps": 2})
                    (tmp_path / "other").rename(run.folder)

    with pytest.raises(IsthmusError, match="was deleted or replaced"):
        isthmus.fit("plain", X, out=tmp_path / "m", callbacks=[Delete()], **QUICK)
    if then == "nothing":
        assert not (tmp_path / "m").exists()
    else:
        assert isthmus.load(tmp_path / "m").config["training"]["steps"] == 2


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_mode_that_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        isthmus.fit("plain", X, out=tmp_path / "m", tensorboard=False, **QUICK)
    finally:
        os.umask(before)
    found = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "m").rglob("*")}
    folders = {"training": mode | ((mode & 0o444) >> 2)}
    assert found == {name: folders.get(name, mode) for name in found}
    assert (tmp_path / "m").stat().st_mode & 0o777 == folders["training"]
