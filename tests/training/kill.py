"""Kills runs: ``kill.py FOLDER KILLS SEED RECIPE...`` prints a JSON object, recipe by recipe.

Every run is a process of its own, forked from this one (so that nothing is imported again) and
killed with SIGKILL after a random time, again and again: the same run is resumed, and killed,
until it was killed KILLS times; then it is left to end. Its weights are compared, bit for bit,
with those of a run that was never killed. A run that ends before its kill starts over with
another one, so each of the KILLS is real.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

import isthmus
from isthmus.training import journal

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(512, 4)) @ RNG.normal(size=(4, 16))).astype(np.float32)
SEEN = RNG.random(512) < 0.7
TEXTS = [f"{a} {b} {c}" for a in ("a", "the", "one") for b in "abcdefgh" for c in ("is", "was")] * 8
STEPS = 60
COMMON = {"steps": STEPS, "batch_size": 32, "save_every": 2, "log_every": 5, "progress": False}
OPTIONS = {
    "plain": {"latent_dim": 4, "hidden": (32,), "lr_schedule": "cosine", "warmup": 20},
    "beta-vae": {"latent_dim": 4, "hidden": (32,), "validation": 0.1, "patience": 1000},
    "bigan": {"latent_dim": 4, "hidden": (32, 32), "clip": 1.0},
    "mvae": {"latent_dim": 4, "hidden": (16,)},
    "text-vae": {"latent_dim": 4},
    "byol": {"latent_dim": 8, "hidden": (16,), "projector": 16, "embedding": 8},
    "two-stage-vae": {"latent_dim": 3, "hidden": (16,), "average": 0.9},
    "topk": {"latent_dim": 64, "k": 4, "k_aux": 8, "dead_after": 100, "accumulate": 2},
}
DATA = {
    "mvae": ({"left": X[:, :10], "right": X[:, 10:]}, {"mask": {"right": SEEN}}),
    "text-vae": (TEXTS, {}),
}
"""What is no table: a collection of which rows lack a part, and rows of different lengths."""


def sha(model: isthmus.Autoencoder) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def go_on(folder: Path, recipe: str) -> None:
    """What a user does: resume where there is a checkpoint, else begin (again)."""
    if (folder / "config.json").exists() or (folder / ".staging" / "COMMIT").exists():
        rows, about = DATA.get(recipe, (X, {}))
        isthmus.resume(folder, rows, progress=False, **about)
    else:
        fitted(recipe, out=folder, overwrite=True)


def fitted(recipe: str, **more: object) -> isthmus.Autoencoder:
    rows, about = DATA.get(recipe, (X, {}))
    return isthmus.fit(recipe, rows, **about, **COMMON, **OPTIONS[recipe], **more)


def in_a_process(folder: Path, recipe: str, after: float | None) -> bool:
    """Go on in a process, killed after so many seconds; whether it was killed alive."""
    child = os.fork()
    if child == 0:
        try:
            go_on(folder, recipe)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("a resumed run failed")
    return False


def killed(folder: Path, recipe: str, kills: int, seed: int) -> dict[str, object]:
    whole = sha(fitted(recipe))
    began = time.monotonic()
    in_a_process(folder / "timed", recipe, None)
    length = time.monotonic() - began
    draw = random.Random(seed)
    landed, mid_commit, runs, same = 0, 0, 0, True
    while landed < kills:
        run = folder / f"run{runs}"
        runs += 1
        left = min(kills - landed, 8)  # deaths in this run's life
        while left:
            # Short lives early on: the first checkpoint, its commits, the resume itself.
            alive = in_a_process(run, recipe, draw.uniform(0.0, 1.5 * length / (left + 1)))
            if not alive:
                break
            landed, left = landed + 1, left - 1
            mid_commit += (run / ".staging").exists()
        in_a_process(run, recipe, None)
        same = same and sha(isthmus.load(run)) == whole
    return {"same": same, "landed": landed, "mid_commit": mid_commit, "runs": runs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    journal.synced = lambda path: None  # no power is cut: what was written outlives the process
    place, number, start = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    names = sys.argv[4:]
    print(json.dumps({name: killed(place / name, name, number, start) for name in names}))
