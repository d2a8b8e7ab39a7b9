"""A model becomes an object of SAELens where that is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import isthmus
from isthmus.formats import to_saelens
from peers import read

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-formats" / "bin" / "python"


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(isthmus.IsthmusError, match="pip install sae-lens"):
        to_saelens(read("saelens/standard"))


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make fixtures builds the peers' environment")
def test_objects_of_saelens_compute_what_the_models_do():
    words = [str(PEER), "-m", "tools.fixtures.objects"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 25, done.stdout
