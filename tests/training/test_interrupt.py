"""Ctrl-C: saved, told how to go on, and gone on with to the same bits."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import toys

import isthmus
import zoo
from isthmus.training import Callback, Interrupted, read_checkpoint


class CtrlC(Callback):
    """Presses Ctrl-C during a step."""

    def __init__(self, at, times=1):
        self.at, self.times, self.ended = at, times, False

    def on_step(self, trainer, step):
        if step == self.at:
            for _ in range(self.times):
                # To this very thread: two signals to the process may arrive as one.
                signal.raise_signal(signal.SIGINT)

    def on_end(self, trainer):
        self.ended = True


@pytest.fixture(autouse=True)
def heeded():
    """A process that a shell started in the background would ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_step_is_ended_and_saved(tmp_path):
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as told:
        toys.trainer(toys.fresh(), folder, callbacks=[CtrlC(4)]).run()
    assert signal.getsignal(signal.SIGINT) is before
    assert str(told.value) == (
        f"stopped at step 4 of 9 and saved; go on with: isthmus resume {folder}"
    )
    assert read_checkpoint(folder).progress["step"] == 4
    again = toys.trainer(toys.fresh(), folder)
    again.restore(read_checkpoint(folder, state=True))
    assert zoo.sha(again.run()) == zoo.sha(toys.trainer(toys.fresh()).run())


def test_without_a_folder_it_says_that_nothing_was_saved():
    with pytest.raises(Interrupted, match="nothing was saved"):
        toys.trainer(toys.fresh(), callbacks=[CtrlC(4)]).run()


def test_a_second_one_stops_at_once(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as told:
        toys.trainer(toys.fresh(), folder, callbacks=[CtrlC(4, times=2)], save_every=3).run()
    assert not isinstance(told.value, Interrupted)
    assert read_checkpoint(folder).progress["step"] == 3  # and the last checkpoint is whole


def test_the_model_and_the_generator_are_left_usable():
    model = toys.fresh("adversarial")
    state = torch.get_rng_state()
    with pytest.raises(Interrupted):
        toys.trainer(model, callbacks=[CtrlC(4)]).run()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.requires_grad for p in model.parameters())


def test_in_another_thread_signals_are_left_alone():
    import threading

    done = []
    thread = threading.Thread(target=lambda: done.append(toys.trainer(toys.fresh()).run()))
    thread.start()
    thread.join()
    assert len(done) == 1


def isthmus_command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "isthmus.cli", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def test_on_the_command_line(tmp_path):
    """Interrupted in the middle it exits with 130 and one line; resumed it ends the same."""
    np.save(tmp_path / "x.npy", toys.X)
    folder = tmp_path / "run"
    options = {"latent_dim": 3, "batch_size": 16, "steps": 600, "log_every": 5}
    given = [f"{name}={value}" for name, value in options.items()]
    run = isthmus_command("fit", "plain", tmp_path / "x.npy", *given, "-o", folder, "-q")
    log, deadline = folder / "metrics.jsonl", time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    said = re.search(r"isthmus: stopped at step (\d+) of 600 and saved; go on with: (.*)", told)
    assert said, told
    assert said[2] == f"isthmus resume {folder}"
    assert "Traceback" not in told

    assert int(said[1]) < 600

    whole = isthmus.fit("plain", toys.X, **options, device="cpu", progress=False)
    assert zoo.sha(isthmus.resume(folder, progress=False)) == zoo.sha(whole)
