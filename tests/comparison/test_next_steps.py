"""Commands of a comparison: what they fit is what was fitted."""

import re
import shlex

import numpy as np
import pytest

import isthmus
from commands import command
from isthmus.comparison import compare
from isthmus.comparison.comparison_page import page
from isthmus.comparison.next_steps import fit_command, said, steps
from isthmus.testing.small import sha

QUICK = {"seeds": 1, "steps": 4, "batch_size": 16, "latents": 2, "width": 8}


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{b:.3f},{c:.3f},{k % 2}" for k, (a, b, c) in enumerate(rng.normal(size=(60, 3)))
    ]
    path = tmp_path / "my rows.csv"
    path.write_text("a,b,c,kind\n" + "\n".join(rows) + "\n")
    return path


def test_the_command_fits_the_saved_winner_to_the_same_weights(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = {"plain": {"hidden": (4,), "lr": 0.01}}
    found = compare(
        str(table), ["plain"], "probe", labels="kind", options=own, out=tmp_path / "c", **QUICK
    )
    line = fit_command(found, "plain")
    words = shlex.split(line)
    assert words[:3] == ["isthmus", "fit", "plain"]
    assert f"{table}:-kind" in words
    command(*words[1:], "-q")
    fitted, saved = (isthmus.load(tmp_path / name) for name in ("my-run", "c/winner"))
    assert sha(fitted) == sha(saved)
    commands = [words for _, words in steps(found, tmp_path / "c")]
    shown = page(found, tmp_path / "c")
    assert len(re.findall('class="command"', shown)) == len(commands) == 2
    command(*shlex.split(commands[0])[1:])
    assert (tmp_path / "codes.csv").exists()


def test_arrays_are_fitted_in_python(monkeypatch):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    found = compare({"left": x, "right": x[:, :2]}, ["plain"], "reconstruct", **QUICK)
    assert fit_command(found, "plain").startswith('isthmus.fit("plain", X, steps=4')
    assert fit_command(found, "pca") is None
    assert steps(found, None) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), ((4,), "4,"), ((4, 8), "4,8"), ((), "()"), (0.1, "0.1")],
)
def test_values_are_read_as_they_were_written(value, text):
    from isthmus.cli.common import parse_value

    assert said(value) == text
    read = parse_value(text)
    assert (tuple(read) if isinstance(read, list) else read) == value
