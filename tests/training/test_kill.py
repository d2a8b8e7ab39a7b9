"""A run killed with SIGKILL at any moment, several times over, ends with the same bits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill.py")
NAMES = ["plain", "beta-vae", "topk", "bigan", "mvae", "text-vae", "byol", "two-stage-vae"]
"""One array, with validation, sparse, two players, a collection, texts, a teacher, two stages."""


def outcome(folder, kills, seed):
    """The outcomes of all recipes, from one process: importing takes longer than a run."""
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, str(kills), str(seed), *NAMES],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return outcome(tmp_path_factory.mktemp("killed"), 3, seed=1)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    return outcome(tmp_path_factory.mktemp("killed"), 20, seed=2)


@pytest.mark.parametrize("name", NAMES)
def test_killed_three_times(three, name):
    assert three[name]["landed"] == 3
    assert three[name]["same"], three[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_killed_twenty_times(twenty, name):
    assert twenty[name]["landed"] == 20
    assert twenty[name]["same"], twenty[name]


@pytest.mark.slow
def test_some_kills_fall_into_a_commit(twenty):
    assert sum(found["mid_commit"] for found in twenty.values()) > 0
