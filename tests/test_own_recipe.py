"""The example package, installed into a scratch folder and used by the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "own_recipe"
LIBRARY = str(ROOT / "src")

SWEEP = """
data = "rows.npy"
output = "runs"
steps = 5
batch_size = 32
hidden = [8]

[variants.own]
recipe = "fsq"
levels = [4, 3]

[variants.by_name]
recipe = "isthmus_fsq.page:fsq"
levels = [5, 5]

[variants.ours]
recipe = "plain"
latent_dim = 2
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a process that finds the package, and the folder it works in."""
    place = tmp_path_factory.mktemp("own")
    copy, scratch = place / "package", place / "site"
    shutil.copytree(EXAMPLE, copy)  # building leaves files beside the sources
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-build-isolation", "--target", str(scratch), str(copy),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = place / "work"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "rows.npy", (rng.normal(size=(120, 2)) @ rng.normal(size=(2, 6))) * 4)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(scratch), LIBRARY])}, folder


def run(installed, *words, code=None):
    environment, folder = installed
    command = [sys.executable, "-m", "isthmus.cli", *words] if code is None else [
        sys.executable, "-c", code
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_fit_to_report(installed):
    _, folder = installed
    shown = run(installed, "show", "fsq")
    assert "Mentzer" in shown
    assert "isthmus_fsq.page:fsq (isthmus-fsq 0.1.0)" in shown.replace("\n", " ")

    options = ("levels=4,3", "hidden=8", "steps=5", "batch_size=32")
    run(installed, "fit", "fsq", "rows.npy", *options, "-o", "run", "-q")
    assert "fsq on" in run(installed, "evaluate", "run")
    read = (
        "import isthmus, numpy as np\n"
        "model = isthmus.load('run')\n"
        "assert 'fsq' in isthmus.list_recipes('Mentzer')\n"
        "assert model.config['recipe'] == 'isthmus_fsq.page:fsq'\n"
        "assert model.config['origin']['distribution'] == ['isthmus-fsq', '0.1.0']\n"
        "assert model.scaler.mode == 'columns'\n"
        "z = model.encode(np.load('rows.npy').astype('float32'))\n"
        "assert z.shape == (120, 2)\n"
        "assert set(np.unique(z[:, 0])) <= {-1.0, -0.5, 0.0, 0.5}\n"
        "assert set(np.unique(z[:, 1])) <= {-1.0, 0.0, 1.0}\n"
        "print('loaded')"
    )
    assert run(installed, code=read).strip() == "loaded"

    (folder / "sweep.toml").write_text(SWEEP)
    run(installed, "fit-many", "sweep.toml", "-q")
    assert {p.name for p in (folder / "runs").iterdir() if p.is_dir()} == {"own", "by_name", "ours"}

    table = run(
        installed, "compare", "rows.npy", "steps=5", "latents=2", "fsq.levels=4,3", "fsq.hidden=8",
        "--recipes", "fsq,plain", "--seeds", "1", "-q",
    )  # fmt: skip
    assert {line.split()[0] for line in table.splitlines() if line.strip()} >= {"fsq", "plain"}

    run(installed, "report", "run")
    page = (folder / "run" / "report.html").read_text()
    assert "isthmus_fsq.page:fsq" in page


def test_it_keeps_the_contracts(installed):
    checks = (
        "import torch; torch.set_num_threads(1)\n"
        "from isthmus.testing import check_bottleneck, check_recipe\n"
        "from isthmus_fsq.bottleneck import FiniteScalar\n"
        "check_bottleneck(FiniteScalar((8, 5, 5)), width_in=3)\n"
        "check_recipe('fsq', options={'levels': (8, 5, 5)})\n"
        "print('kept')"
    )
    assert run(installed, code=checks).strip() == "kept"
    readme = (EXAMPLE / "README.md").read_text()
    assert "check_bottleneck(FiniteScalar((8, 5, 5)), width_in=3)" in readme


def test_without_the_package_the_run_says_what_is_missing(installed):
    environment, folder = installed
    options = ("levels=4,3", "hidden=8", "steps=2", "batch_size=32")
    run(installed, "fit", "isthmus_fsq.page:fsq", "rows.npy", *options, "-o", "left", "-q")
    without = {**environment, "PYTHONPATH": LIBRARY}
    done = subprocess.run(
        [sys.executable, "-m", "isthmus.cli", "evaluate", "left"], cwd=folder, env=without,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "left was fitted by the recipe isthmus_fsq.page:fsq" in done.stderr
    assert "install isthmus-fsq 0.1.0" in done.stderr
