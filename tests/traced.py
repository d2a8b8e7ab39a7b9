"""The graphs that circuit-tracer made of transcoders that were exported to it (`make graphs`)."""

from pathlib import Path

import torch
from safetensors.torch import load_file

import isthmus
from isthmus.formats import read_layers
from isthmus.interpretation import AttributionGraph, Trace, direct_effects
from isthmus.language import Decoder, LanguageModel, Shape
from peers import FIXTURES

TRACED = FIXTURES / "traced"
SHAPE = Shape(vocabulary=40, width=16, heads=2, layers=3, context=16, hidden=32)
SETS = sorted(path.parent.name for path in TRACED.glob("*/graph.safetensors"))


def host(folder: Path = TRACED) -> tuple[LanguageModel, torch.Tensor]:
    """The small model, and the text."""
    tensors = load_file(folder / "host.safetensors")
    tokens = tensors.pop("tokens")
    module = Decoder(SHAPE)
    module.load_state_dict(tensors)
    module = module.eval().requires_grad_(False)
    weight = module.embed.weight * module.norm.weight
    return LanguageModel("made", "made", module, None, 16, True, weight), tokens


def own(name: str, folder: Path = TRACED) -> tuple[AttributionGraph, dict[str, torch.Tensor]]:
    """The graph of a set by ours, at the places and for the logits of circuit-tracer's."""
    model, tokens = host(folder)
    found = load_file(folder / name / "graph.safetensors")
    if name.startswith("across"):
        transcoders = isthmus.from_pretrained(folder / name)
    else:
        transcoders = read_layers(folder / name)
    trace = Trace(model, tokens, transcoders)
    return direct_effects(trace, logits=found["targets"].tolist(), omit=1), found


def difference(name: str, folder: Path = TRACED) -> float:
    """The largest difference of an effect, over the largest effect."""
    graph, found = own(name, folder)
    peer = found["adjacency"].double()
    return float((graph.adjacency() - peer).abs().max() / peer.abs().max())
