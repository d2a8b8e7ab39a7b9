"""What a bar shows on terminals of every width, in logs and in notebooks; and what is left."""

import io
import re
import sys
import types

import numpy as np
import pytest

import isthmus
from isthmus.training import progress
from isthmus.training.progress import ProgressBar, clock

X = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def time(monkeypatch):
    """A clock that the test moves."""
    now = types.SimpleNamespace(t=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.t)
    return now


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    streams(monkeypatch, stderr=stream)
    return stream


def streams(monkeypatch, stdout=None, stderr=None):
    """What the bar takes for the process's streams: those of pytest change from phase to phase."""
    own = types.SimpleNamespace(stdout=stdout, stderr=stderr, modules=sys.modules)
    monkeypatch.setattr(progress, "sys", own)


def shown(stream):
    return [part.rstrip() for part in re.split(r"[\r\n]", stream.getvalue()) if part.strip()]


@pytest.mark.parametrize("width", [40, 80, 120, 160])
def test_steps_and_time_left_are_there_at_every_width(width, terminal, time, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with ProgressBar("jumprelu", 100_000, "rows", "auto") as bar:
        for i in range(1, 20):
            time.t += 1.0
            bar.draw(100 * i, 409_600 * i, "loss 0.1234 epoch 3 mse 0.1 l0 12 " + "x" * 90)
    for line in shown(terminal):
        assert len(line) < width, "it would wrap"
        assert re.match(r"jumprelu  [\d,]+/100,000  [\d:]+ left", line)
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1
    if width >= 80:
        assert "409,600 rows/s  loss 0.1234" in shown(terminal)[-1]


def test_time_left_forgets_a_slow_start(terminal, time):
    """The first step takes nine seconds, and each that follows a hundredth."""
    with ProgressBar("fit", 1000, "rows", True) as bar:
        time.t += 9.0
        bar.draw(1, 32, "")
        for step in range(26, 801, 25):
            time.t += 0.25
            bar.draw(step, 32 * step, "")
    assert "2 left" in shown(terminal)[-1]
    found = re.search(r"(\d+):(\d+) left", shown(terminal)[8])
    assert int(found[1]) * 60 + int(found[2]) <= 9


def test_time_left_follows_a_rate_that_changes(terminal, time):
    with ProgressBar("fit", 20_000, "rows", True) as bar:
        for step in range(100, 10_001, 100):  # a hundred steps a second, for 100 seconds
            time.t += 1.0
            bar.draw(step, step, "")
        assert "1:40 left" in shown(terminal)[-1]
        for step in range(10_010, 10_601, 10):  # then ten a second
            time.t += 1.0
            bar.draw(step, step, "")
    assert "15:40 left" in shown(terminal)[-1]


def test_a_resumed_run_counts_only_what_it_does(terminal, time):
    with ProgressBar("fit", 1000, "rows", True, done=900) as bar:
        for step in range(901, 951):
            time.t += 1.0
            bar.draw(step, step - 900, "")
    assert "950/1,000  0:50 left" in shown(terminal)[-1]


def test_a_log_has_lines_now_and_then_and_auto_has_none(monkeypatch, time):
    stream = io.StringIO()
    streams(monkeypatch, stderr=stream)
    for show in ("auto", True):
        with ProgressBar("fit", 100, "rows", show) as bar:
            for step in range(1, 101):
                time.t += 1.0
                if bar.due or step == 100:
                    bar.draw(step, step, "loss 1")
    assert len(shown(stream)) == 7
    assert "\r" not in stream.getvalue()
    assert shown(stream)[-1].startswith("fit  100/100  in 1:40")


def test_a_notebook_has_a_line_in_place(monkeypatch, time):
    shell = types.SimpleNamespace(kernel=object())
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    out, err = io.StringIO(), io.StringIO()
    streams(monkeypatch, out, err)
    with ProgressBar("fit", 10, "rows", "auto") as bar:
        for step in range(1, 11):
            time.t += 1.0
            assert bar.due
            bar.draw(step, step, "loss 1")
    assert out.getvalue().count("\r") == 10
    assert "\x1b" not in out.getvalue()
    assert err.getvalue() == ""
    shell.__dict__.clear()  # IPython in a terminal is no notebook
    assert not progress.in_notebook()


@pytest.mark.parametrize("show", [False])
def test_nothing_is_shown_where_nothing_was_asked_for(terminal, show):
    isthmus.fit("plain", X, latent_dim=2, steps=3, batch_size=32, progress=show)
    assert terminal.getvalue() == ""


def test_a_fit_shows_the_held_out_loss_before_the_terms(terminal, monkeypatch):
    monkeypatch.setattr(progress, "_PERIOD", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    options = {"validation": 0.2, "validate_every": 2, "steps": 9, "batch_size": 32}
    isthmus.fit("vae", X, latent_dim=2, hidden=(8,), progress="auto", **options)
    last = shown(terminal)[-1]
    assert re.match(r"vae  9/9  in \d+:\d\d  .* rows/s  held-out [\d.]+ loss [\d.]+", last)
    assert len(last) < 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.4, "0:09"), (272, "4:32"), (3723, "1:02:03"), (180_000, "2 d 2 h")],
)
def test_times(seconds, text):
    assert clock(seconds) == text
