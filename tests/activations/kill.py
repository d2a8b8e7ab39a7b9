"""Kills harvests: ``kill.py FOLDER KILLS SEED`` prints a JSON object.

Each harvest is a process of its own, forked from this one (so that nothing is imported again), and
killed with SIGKILL after a random time, again and again, until one was killed KILLS times; then it
is left to end. Half of the kills come by the clock and half at a random operation on files, so
that they also hit the moments between writing, renaming and listing.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from isthmus.activations import harvest

sys.path.insert(0, str(Path(__file__).parent))
import tiny

AT = ["layers.0", "layers.2"]
TEXTS = [tiny.tokens(60, seed=1, names=("one",)), tiny.tokens(37, seed=2, names=("two",))]
HOST = tiny.language()


def go_on(folder, slow=0.0):
    """Both texts, as a user would harvest them who starts over with the same commands."""
    if slow:
        HOST.module.embed.register_forward_pre_hook(lambda *_: time.sleep(slow))
    for text in TEXTS:
        harvest(HOST, text, AT, folder, dtype="float32", batch=4, shard=37, progress=False)


def killed_at(operation):
    """From now on, die at the so-many-th of the operations that change the disk."""
    count = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "rename", "replace", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


def in_a_process(folder, draw):
    """Whether it was killed; with no ``draw`` it is left to end."""
    by_operation = draw is not None and draw.random() < 0.5
    operation = draw.randint(1, 60) if by_operation else None
    child = os.fork()
    if child == 0:
        try:
            if by_operation:
                killed_at(operation)
            go_on(folder, slow=0.0 if draw is None or by_operation else 0.002)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if draw is not None and not by_operation:
        time.sleep(draw.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("a harvest that went on failed")
    return False


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def main(folder, kills, seed):
    torch.set_num_threads(1)
    go_on(folder / "whole")
    expected = files(folder / "whole")
    draw = random.Random(seed)
    landed, same, runs, partly = 0, True, 0, 0
    while landed < kills:
        runs += 1
        place = folder / f"run-{runs}"
        for _ in range(6):
            if not in_a_process(place, draw):
                break
            landed += 1
            partly += (place / "provenance.json").exists()
        in_a_process(place, None)
        same &= files(place) == expected
    print(json.dumps({"kills": landed, "partly": partly, "runs": runs, "same": same}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
