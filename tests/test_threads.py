"""Threads that wait asleep, and as many as a container allows."""

import os
import subprocess
import sys

import pytest

from isthmus import threads
from isthmus.errors import IsthmusError


def in_process(code, **environment):
    """What a fresh interpreter prints, without what this one has settled."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {*threads._WAITING, *threads._COUNTS}
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


SAY = "import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"


def test_threads_wait_passively_once_isthmus_is_imported():
    assert in_process(f"import isthmus; {SAY}") == f"passive {threads.SPINS}"


def test_importing_isthmus_does_not_import_torch():
    assert in_process("import isthmus, sys; print('torch' in sys.modules)") == "False"


def test_what_the_user_has_set_stays():
    assert in_process(f"import isthmus; {SAY}", OMP_WAIT_POLICY="active") == "active None"


def test_where_torch_is_imported_first_its_threads_are_put_to_sleep():
    code = (
        "import torch, isthmus, threading\n"
        "from isthmus import threads\n"
        "print(threads.waiting(), 'isthmus-crew' in {t.name for t in threading.enumerate()})\n"
        "torch.randn(512, 512) @ torch.randn(512, 512)"
    )
    if in_process("import torch, ctypes; print(hasattr(ctypes.CDLL(None), 'GOMP_parallel'))") != (
        "True"
    ):
        pytest.skip("PyTorch brings another OpenMP runtime here")
    said = in_process(code)
    assert said == "asleep: a busy machine is shared fairly True"


def test_the_limit_of_a_container_is_read_in_both_layouts(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert threads.quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.quota(tmp_path) is None
    (tmp_path / "cpu.max").unlink()
    assert threads.quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert threads.quota(tmp_path) == 2.0
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert threads.quota(tmp_path) is None


def test_as_many_threads_as_a_container_allows(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000")
    code = (
        "import isthmus, os, pathlib, sys\n"
        "from isthmus import threads\n"
        "os.cpu_count = lambda: 8\n"
        f"threads.quota.__defaults__ = (pathlib.Path({str(tmp_path)!r}),)\n"
        "threads.settle()\n"
        "print(os.environ.get('OMP_NUM_THREADS'))"
    )
    assert in_process(code) == "1"
    assert in_process(code, OMP_NUM_THREADS="3") == "3"


def test_no_machine_is_asked_for_more_processes_than_it_could_start(monkeypatch):
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 32)
    threads.check_processes(128, "ranks")
    with pytest.raises(IsthmusError, match="jobs=129 processes are too many for the 32 cores"):
        threads.check_processes(129, "jobs")
    monkeypatch.setattr(threads.os, "cpu_count", lambda: None)
    threads.check_processes(64, "ranks")
