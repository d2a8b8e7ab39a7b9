"""A process that trains one library's dictionaries on command, so that libraries can take turns.

One JSON object a line on standard input, one on standard output::

    {"do": "data", "path": "x.npy"}                 map the rows and touch each page
    {"do": "setup", "peer": "sae_lens", "kind": "topk", "width": 8192, "k": 32, "batch": 4096,
     "steps": 100000, "seed": 0, "precision": null, "options": {}}
    {"do": "step", "n": 3}                          {"seconds": ...}
    {"do": "peak"}                                  {"before": bytes, "peak": bytes}
    {"do": "eval", "held": "held.npy", "out": "recon.npy", "decoder": "decoder.npy"}
                                                    {"fvu": ..., "l0": ...}
    {"do": "exit"}

An ``error`` is answered where a command fails. Seconds are those of the optimiser steps; peers get
their batches drawn beforehand, isthmus draws its own within the time.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sparse.measures import batches, fvu


def resident() -> int:
    """Bytes of memory in use now."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes in use since :func:`forget_peak`.

    Not ``ru_maxrss``: a child inherits that from the process that started it.
    """
    return _status("VmHWM")


def forget_peak() -> None:
    """Start the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}: memory is measured on Linux only")


class PeerRun:
    """A peer and its stream of batches, with the interface of ``ours.Isthmus``."""

    def __init__(self, peer: str, kind: str, data: np.ndarray, width: int, k: int, batch: int,
                 steps: int, seed: int, **options: Any) -> None:  # fmt: skip
        from benchmarks.sparse.peers import PEERS

        torch.manual_seed(seed)
        cls = PEERS[peer]
        if kind not in cls.kinds:
            raise RuntimeError(f"{peer} has no {kind}")
        self.data = data
        self.peer = cls(kind, data.shape[1], width, k, batch, steps, **options)
        self.index: Iterator[np.ndarray] = batches(len(data), batch, seed)
        self.decoder, self.rebuild = self.peer.decoder, self.peer.rebuild

    def run(self, steps: int) -> float:
        seconds = 0.0
        for start in range(0, steps, 16):
            drawn = [torch.from_numpy(self.data[next(self.index)])
                     for _ in range(min(16, steps - start))]  # fmt: skip
            begun = time.perf_counter()
            self.peer.run(drawn)
            seconds += time.perf_counter() - begun
        return seconds

    def stop(self) -> None:
        """Nothing runs on."""


class Worker:
    """The state behind the commands."""

    def __init__(self) -> None:
        self.data: np.ndarray | None = None
        self.run: Any = None
        self.before = 0

    def do_data(self, path: str) -> dict[str, Any]:
        self.data = np.load(path, mmap_mode="c")
        # Pages of the file count as memory in use: have them all before the first measurement.
        self.data.max()
        return {"rows": len(self.data)}

    def do_setup(
        self,
        peer: str,
        kind: str,
        precision: str | None = None,
        options: dict[str, Any] | None = None,
        **shape: int,
    ) -> dict[str, Any]:
        if self.run is not None:
            self.run.stop()
            self.run = None
        if peer == "isthmus":
            from benchmarks.sparse.ours import Isthmus, get_recipe

            get_recipe(kind)  # imports what recipes need
            Run = Isthmus
        else:
            from benchmarks.sparse.peers import load

            load(peer)
            Run = partial(PeerRun, peer)
        # Every optimiser imports this at its first step; it is in no library's favour.
        importlib.import_module("torch._dynamo")
        gc.collect()
        forget_peak()
        self.before = resident()
        self.run = Run(kind, self.data, **shape, **(options or {}))
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        return {"threads": torch.get_num_threads(), "torch": torch.__version__}

    def do_step(self, n: int) -> dict[str, Any]:
        gc.collect()
        return {"seconds": self.run.run(n)}

    def do_peak(self) -> dict[str, Any]:
        return {"before": self.before, "peak": peak()}

    def do_eval(
        self, held: str, out: str | None = None, decoder: str | None = None
    ) -> dict[str, Any]:
        x = np.load(held)
        recon, l0 = self.run.rebuild(torch.from_numpy(x))
        recon = recon.detach().numpy()
        if out is not None:
            np.save(out, recon)
        if decoder is not None:
            np.save(decoder, self.run.decoder())
        return {"fvu": fvu(x, recon), "l0": l0}


def serve() -> None:
    """Answer commands until ``exit`` or the end of input."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    worker = Worker()
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        name = command.pop("do")
        if name == "exit":
            break
        try:
            method: Callable[..., dict[str, Any]] = getattr(worker, f"do_{name}")
            answer = method(**command)
        except BaseException as problem:
            traceback.print_exc()
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)  # some peers' exit handlers look for a network


if __name__ == "__main__":
    serve()
