"""Who is compared with whom: libraries, their settings, and the processes they run in."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data import Planted

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("topk", "relu-l1", "batchtopk", "jumprelu")

WARM = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 36),
}
"""glibc keeps what it was given: no page faults for a fresh large tensor in every step."""

QUIET = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A library under one setting."""

    name: str
    peer: str
    kinds: tuple[str, ...] = KINDS
    options: dict[str, Any] = field(default_factory=dict)
    warm: bool = False
    precision: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its process gets beside those of everyone."""
        return WARM if self.warm else {}

    def at_best(self, suffix: str = "", kinds: tuple[str, ...] = (), **options: Any) -> "Arm":
        """The same with a warm allocator, bf16 products where the processor has them, options."""
        return replace(
            self, name=f"{self.name} best{suffix}", kinds=kinds or self.kinds, warm=True,
            precision="medium", options={**self.options, **options},
        )  # fmt: skip


_SPARSIFY = Arm("sparsify", "sparsify", ("topk",), {"optimizer": "adam"})
_LENS = Arm("sae_lens", "sae_lens")
_DL = Arm("dictionary_learning", "dictionary_learning")
_OVER = Arm("overcomplete", "overcomplete")

AS_IT_COMES = (_SPARSIFY, _LENS, _DL, _OVER)
AT_BEST = (
    _SPARSIFY.at_best(),
    _LENS.at_best(),
    _LENS.at_best(" sparse", ("topk",), sparse=True),
    _LENS.at_best(" autocast", autocast=True),
    _DL.at_best(),
    _OVER.at_best(monitoring=0),
)


def ours(paths: list[str], **options: Any) -> tuple[Arm, ...]:
    """isthmus on each kernel path, in a plain environment; the first is called by its name only.

    ``options`` go to all of them but the last, which is as it comes.
    """
    made = tuple(
        Arm(
            "isthmus" if i == 0 else f"isthmus {path}",
            "isthmus",
            options={"path": path, **options},
        )
        for i, path in enumerate(paths)
    )
    if not options:
        return made
    return (*made, Arm("isthmus as it comes", "isthmus", options={"path": paths[0]}))


class Failed(RuntimeError):
    """A worker answered with an error, or died."""


class Client:
    """A worker process for one arm."""

    def __init__(self, arm: Arm, peers_python: Path, threads: int) -> None:
        self.arm = arm
        python = sys.executable if arm.peer == "isthmus" else str(peers_python)
        environment = {
            **os.environ, **QUIET, **arm.environment,
            "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self._noise = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.sparse.worker"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._noise, bufsize=1,
        )  # fmt: skip

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; :class:`Failed` where there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._noise.seek(0)
            raise Failed(f"{self.arm.name} died: {self._noise.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.arm.name}: {answer['error']}")
        return answer

    def setup(self, **shape: Any) -> dict[str, Any]:
        """Build the model; ``options`` are added to the arm's own."""
        options = {**self.arm.options, **shape.pop("options", {})}
        return self.ask(
            "setup", peer=self.arm.peer, precision=self.arm.precision, options=options, **shape
        )

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write('{"do": "exit"}\n')
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._noise.close()


@contextmanager
def clients(
    arms: list[Arm], data: Path, peers_python: Path, threads: int
) -> Iterator[dict[str, Client]]:
    """A running worker with the data mapped for each arm that can be started."""
    running: dict[str, Client] = {}
    try:
        for arm in arms:
            if arm.peer != "isthmus" and not peers_python.exists():
                print(f"  no {arm.name}: {peers_python} is not there (make bench creates it)")
                continue
            running[arm.name] = Client(arm, peers_python, threads)
            running[arm.name].ask("data", path=str(data))
        yield running
    finally:
        for client in running.values():
            client.close()


def planted_file(folder: Path, rows: int, stream: int = 0, **setting: Any) -> tuple[Planted, Path]:
    """Planted rows in an .npy file that all workers map, made a part at a time."""
    planted = Planted(**setting)
    path = folder / f"rows-{planted.width}-{rows}-{stream}.npy"
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, planted.width))
    for start in range(0, rows, 4096):
        out[start : start + 4096] = planted.at(np.arange(start, min(start + 4096, rows)), stream)[0]
    out.flush()
    return planted, path


def parser(about: str) -> argparse.ArgumentParser:
    """The options that all three benchmarks share."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--peers-python", type=Path, default=Path(sys.prefix) / "peers/bin/python",
                      help="interpreter of the peers' environment")  # fmt: skip
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--only", default="", help="arms whose name contains one of these, by comma")
    made.add_argument("--json", type=Path, help="write the figures there, too")
    return made


def wanted(arms: tuple[Arm, ...], only: str, kind: str) -> list[Arm]:
    """The arms that have the kind, and isthmus with those that ``only`` names."""
    words = [word for word in only.split(",") if word]
    return [
        arm
        for arm in arms
        if kind in arm.kinds
        and (arm.peer == "isthmus" or not words or any(word in arm.name for word in words))
    ]
