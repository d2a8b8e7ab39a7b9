"""What the page on other tools shows can be run: here, and where its tools are installed."""

import os
import subprocess

import pytest
import torch
from tools.tools_page import BLOCK, PAGE, run

from docs.blocks import ROOT

PLACES = {
    "peers-formats": {"sae_lens", "circuit_tracer", "transformer_lens"},
    "peers-saebench": {"sae_bench", "sae_lens", "transformer_lens"},
    "peers-dashboard": {"sae_dashboard", "sae_lens", "transformer_lens"},
    "peers-nnsight": {"nnsight"},
}
"""Environments of peers, and the tools that the page shows of them."""


def test_blocks_that_need_no_tool_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values, _ = run()
    assert len(BLOCK.findall(PAGE.read_text("utf-8"))) == 15
    for name in ("for-saelens/cfg.json", "for-tracer/config.yaml", "steer.gguf",
                 "latents/layers.3/config.json"):  # fmt: skip
        assert (tmp_path / name).exists()
    rebuilt = values["wrapped"](values["activations"])
    torch.testing.assert_close(rebuilt, values["model"].reconstruct(values["activations"]),
                               rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_blocks_run_where_their_tools_are_installed(place, tmp_path):
    python = ROOT / ".venv" / place / "bin" / "python"
    if not python.exists():
        pytest.skip("make fixtures, saebench, dashboard and nnsight build peers' environments")
    words = [str(python), "-W", "ignore", "-m", "tools.tools_page"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {*done.stdout.splitlines()[-1].split()} >= PLACES[place]


CHECKS = {"peers-dashboard": "dashboard_latents", "peers-nnsight": "nnsight_points"}
"""What is held against other tools, by the environment that has the tool."""


@pytest.mark.slow
@pytest.mark.parametrize("place", CHECKS)
def test_other_tools_find_what_this_library_has(place):
    python = ROOT / ".venv" / place / "bin" / "python"
    if not python.exists():
        pytest.skip("make dashboard and make nnsight build peers' environments")
    words = [str(python), "-W", "ignore", "-m", f"tools.{CHECKS[place]}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) >= 5
