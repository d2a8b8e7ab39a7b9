"""A dictionary fitted here, through SAELens into SAEBench: the same figures as by ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluated import EVERY, NAMES, WITHOUT, ours, saebench, theirs

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-saebench" / "bin" / "python"
OF_TOKENS = ("l0", "squared_error", "explained_variance", "explained_variance_legacy")
OF_LOSS = ("ce_loss_without_sae", "ce_loss_with_sae", "ce_loss_with_ablation", "ce_loss_score")


def same(own, peer, names):
    for name in names:
        assert own[name] == pytest.approx(peer[name], rel=1e-5), name


@pytest.mark.parametrize("name", NAMES)
def test_saebench_measures_what_ours_does(name):
    own, peer = ours(name, EVERY), theirs(name, EVERY)
    same(own, peer, OF_TOKENS + OF_LOSS)
    # What is compared is no dictionary that does nothing, nor one that does all.
    assert 10 < own["l0"] < 20
    assert 0.05 < own["fvu"] < 0.5
    assert 0.5 < own["ce_loss_score"] < 0.99


def test_without_first_tokens_losses_are_of_other_places():
    own, peer = ours("topk", WITHOUT), theirs("topk", WITHOUT)
    same(own, peer, OF_TOKENS)
    for name in OF_LOSS:  # what follows a first token counts here, which is not ablated either
        assert own[name] == pytest.approx(peer[name], rel=0.1)
        assert own[name] != pytest.approx(peer[name], rel=1e-5)


def test_the_formula_of_explained_variance_is_not_fvu():
    own = ours("topk", EVERY)
    assert own["explained_variance"] != pytest.approx(1 - own["fvu"], abs=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make saebench builds SAEBench's environment")
def test_a_dictionary_that_is_fitted_now_is_measured_alike(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for python, name in ((sys.executable, "trained"), (str(PEER), "evaluated")):
        words = [python, "-W", "ignore", "-m", f"tools.fixtures.{name}", str(tmp_path)]
        subprocess.run(words, cwd=ROOT, check=True, env=environment)
    assert {*saebench(tmp_path)} == {*NAMES}
    for name in NAMES:
        same(ours(name, EVERY, tmp_path), theirs(name, EVERY, tmp_path), OF_TOKENS + OF_LOSS)
