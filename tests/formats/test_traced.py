"""Direct effects here are those of circuit-tracer, on transcoders that were exported to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from traced import SETS, difference, host, own

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-circuits" / "bin" / "python"


@pytest.mark.parametrize("name", SETS)
def test_the_graph_is_circuit_tracers(name):
    graph, found = own(name)
    assert torch.equal(graph.latents, found["latents"])
    assert len(graph.latents) > 50
    torch.testing.assert_close(graph.values.float(), found["values"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(graph.probabilities.float(), found["probabilities"],
                               rtol=1e-4, atol=1e-7)  # fmt: skip
    peer, ours = found["adjacency"].double(), graph.adjacency()
    assert ours.shape == peer.shape
    n, places = len(graph.latents), graph.places
    end = n + graph.layers * places
    parts = {"latents": slice(n), "misses": slice(n, end), "embeddings": slice(end, end + places)}
    for target, rows in (("latents", slice(n)), ("logits", slice(-3, None))):
        for source, columns in parts.items():
            block = peer[rows, columns]
            far = (ours[rows, columns] - block).abs().max() / block.abs().max()
            assert block.any(), (target, source)
            assert float(far) < 1e-5, (target, source, float(far))


def test_both_run_the_same_model():
    model, tokens = host()
    _, found = own(SETS[0])
    with torch.no_grad():
        torch.testing.assert_close(model.module(tokens[None])[0], found["logits"],
                                   rtol=1e-4, atol=1e-4)  # fmt: skip


def test_without_leaving_out_the_first_place_the_graphs_differ():
    """So that what is compared depends on it."""
    from isthmus.formats import read_layers
    from isthmus.interpretation import Trace, direct_effects
    from traced import TRACED

    model, tokens = host()
    trace = Trace(model, tokens, read_layers(TRACED / "each"))
    whole = direct_effects(trace, logits=[3])
    part = direct_effects(trace, logits=[3], omit=1)
    assert int((whole.latents[:, 1] == 0).sum()) > 0
    assert len(part.latents) < len(whole.latents)
    torch.testing.assert_close(part.targets[-1], whole.targets[-1])
    assert not torch.allclose(part.rest[-1], whole.rest[-1])


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make graphs builds circuit-tracer's environment")
def test_circuit_tracer_traces_what_is_exported_now(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for python, name in ((sys.executable, "traced_sets"), (str(PEER), "graphs")):
        words = [python, "-W", "ignore", "-m", f"tools.fixtures.{name}", str(tmp_path)]
        subprocess.run(words, cwd=ROOT, check=True, env=environment)
    for name in SETS:
        assert difference(name, tmp_path) < 1e-5
