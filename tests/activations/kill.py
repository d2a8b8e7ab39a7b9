"""Kills harvests: ``kill.py FOLDER KILLS SEED [PARTS]`` prints a JSON object.

Each harvest is a process of its own, forked from this one (so that nothing is imported again), and
killed with SIGKILL after a random time, again and again, until one was killed KILLS times; then it
is left to end. Half of the kills come by the clock and half at a random operation on files, so
that they also hit the moments between writing, renaming and listing. With PARTS the store is made
by so many processes, each of which is killed, the last of them also as it merges.
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


def go_on(folder, slow=0.0, part=None):
    """Both texts, as a user would harvest them who starts over with the same commands.

    The first alone, where it is harvested in parts.
    """
    if slow:
        HOST.module.embed.register_forward_pre_hook(lambda *_: time.sleep(slow))
    for text in TEXTS[: None if part is None else 1]:
        harvest(
            HOST, text, AT, folder, dtype="float32", batch=4, shard=37, part=part, progress=False
        )


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


def in_a_process(folder, draw, part=None):
    """Whether it was killed; with no ``draw`` it is left to end."""
    by_operation = draw is not None and draw.random() < 0.5
    operation = draw.randint(1, 60) if by_operation else None
    child = os.fork()
    if child == 0:
        try:
            if by_operation:
                killed_at(operation)
            go_on(folder, 0.0 if draw is None or by_operation else 0.002, part)
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


def main(folder, kills, seed, parts=0):
    torch.set_num_threads(1)
    if parts:
        harvest(HOST, TEXTS[0], AT, folder / "whole", dtype="float32", batch=4, shard=37,
                progress=False)  # fmt: skip
    else:
        go_on(folder / "whole")
    expected = files(folder / "whole")
    draw = random.Random(seed)
    landed, same, runs, partly = 0, True, 0, 0
    while landed < kills:
        runs += 1
        place = folder / f"run-{runs}"
        numbers = draw.sample(range(1, parts + 1), parts)
        for part in [f"{n}/{parts}" for n in numbers] or [None]:
            for _ in range(2 if parts else 6):
                if not in_a_process(place, draw, part):
                    break
                landed += 1
                partly += bool(list(place.rglob("provenance.json")))
            in_a_process(place, None, part)
        same &= files(place) == expected
    print(json.dumps({"kills": landed, "partly": partly, "runs": runs, "same": same}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
