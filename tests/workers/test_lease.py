"""A task belongs to one process; what belongs to a dead one is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isthmus.errors import IsthmusError
from isthmus.training.lock import lives, myself
from isthmus.workers import lease as leases
from isthmus.workers.lease import holders, take


def test_one_task_one_process(tmp_path):
    with take(tmp_path, "a") as lease:
        assert lease.ours
        assert take(tmp_path, "a") is None
        assert take(tmp_path, "b") is not None
        assert {one["pid"] for one in holders(tmp_path)} == {os.getpid()}
    with take(tmp_path, "a"):
        pass
    assert not (tmp_path / "a.json").exists()


def test_of_many_that_ask_at_once_one_gets_it(tmp_path):
    for _ in range(20):
        got = []
        barrier = threading.Barrier(4)

        def ask(got=got, barrier=barrier):
            barrier.wait()
            got.append(take(tmp_path, "a"))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        leases = [lease for lease in got if lease is not None]
        assert len(leases) == 1
        leases[0].release()


def test_a_dead_process_of_this_machine_is_followed_at_once(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**myself(), "pid": 2**22 + 1}))
    assert list(holders(tmp_path)) == []
    assert take(tmp_path, "a") is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_process_that_ended_and_is_still_listed_is_followed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while lives({**myself(), "pid": child.pid, "began": None}):
        time.sleep(0.01)
    (tmp_path / "a.json").write_text(json.dumps({**myself(), "pid": child.pid, "began": None}))
    assert take(tmp_path, "a") is not None
    child.wait()


def test_a_silent_process_elsewhere_is_followed_after_a_while(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**myself(), "host": "elsewhere"}))
    assert take(tmp_path, "a", stale=60) is None
    os.utime(path, (time.time() - 59,) * 2)
    assert take(tmp_path, "a", stale=60) is None
    os.utime(path, (time.time() - 61,) * 2)
    lease = take(tmp_path, "a", stale=60)
    assert lease is not None
    assert lease.ours


def test_a_lease_that_is_just_being_written_is_nobodys_to_take(tmp_path):
    (tmp_path / "a.json").touch()
    assert take(tmp_path, "a") is None


def test_a_living_process_says_so(tmp_path):
    with take(tmp_path, "a", stale=0.5) as lease:
        os.utime(lease.path, (time.time() - 100,) * 2)
        time.sleep(0.3)
        assert time.time() - lease.path.stat().st_mtime < 5


def test_who_was_followed_leaves_the_lease_to_the_other(tmp_path):
    lease = take(tmp_path, "a")
    lease.path.unlink()
    other = take(tmp_path, "a")
    assert not lease.ours
    lease.release()
    assert other.ours
    other.release()


def test_two_that_follow_the_same_dead_one_do_not_both_get_it(tmp_path):
    for _ in range(20):
        path = tmp_path / "a.json"
        path.write_text(json.dumps({**myself(), "pid": 2**22 + 1}))
        got, barrier = [], threading.Barrier(3)

        def ask(got=got, barrier=barrier):
            barrier.wait()
            got.append(take(tmp_path, "a"))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        leases = [lease for lease in got if lease is not None and lease.ours]
        assert len(leases) <= 1
        for lease in leases:
            lease.release()
        path.unlink(missing_ok=True)


def test_a_lease_that_cannot_be_signed_is_gone(tmp_path, monkeypatch):
    def full(handle, mode):
        os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leases.os, "fdopen", full)
    with pytest.raises(IsthmusError, match=r"cannot take work .*No space left.*; free some space"):
        take(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []  # an unsigned one would be waited for


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IsthmusError, match="cannot take work in "):
        take(tmp_path / "file", "a")


def test_a_process_may_be_waited_for_for_ever(tmp_path):
    with take(tmp_path, "a", stale=float("inf")) as lease:
        time.sleep(0.01)
        assert lease._beating.is_alive()
