"""The cases that peers wrote (``make fixtures``), and how far a reader is from them."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

import isthmus

FIXTURES = Path(__file__).parent / "formats" / "fixtures"


def cases(*peers):
    """``peer/name`` of every case, or of those of some peers."""
    found = []
    for manifest in sorted(FIXTURES.glob("*/manifest.json")):
        about = json.loads(manifest.read_text())
        if not peers or about["peer"] in peers:
            found += [f"{about['peer']}/{name}" for name in sorted(about["cases"])]
    return found


def about(case):
    peer, _, name = case.partition("/")
    return json.loads((FIXTURES / peer / "manifest.json").read_text())["cases"][name]


def place(case):
    """What is read: the folder, or the one file that the case names."""
    return FIXTURES / case / about(case).get("file", "")


def recorded(case):
    return load_file(FIXTURES / case / "recorded.safetensors")


def differences(model, found):
    """Largest difference of codes and of outputs, each over the largest value there is."""
    x = found["x"]
    if model.signal.kind == "collection":
        x = {"in": x, "out": found["output"]}
    codes, output = model.encode(x), model.reconstruct(x)
    shares = []
    for own, peer in ((codes, found["codes"]), (output, found["output"])):
        shares.append(float((own - peer).abs().max() / peer.abs().max()))
    return shares


LAYER_SETS = sorted(path.name for path in (FIXTURES / "cross-layer").iterdir())
"""Cross-layer transcoders that peers wrote, rows ``(layers, n, d)``."""
CROSSCODERS = sorted(path.name for path in (FIXTURES / "crosscoders").iterdir())
"""Crosscoders that peers wrote."""


TEXTS = sorted(path.name for path in (FIXTURES / "temporal").iterdir())
"""Temporal dictionaries that SAELens wrote, one in the authors' layout."""


def temporal(name):
    """A temporal dictionary, texts for it, and what SAELens made of them."""
    folder = FIXTURES / "temporal" / name
    found = load_file(folder / "recorded.safetensors")
    return isthmus.from_pretrained(folder), found["x"], found


def text_differences(model, x, found):
    """As :func:`differences`, of what is new, of what was predicted and of the outputs."""
    code = model.encode(x, code=True)
    pairs = ((code.z, "codes"), (code.predicted, "predicted"), (model.reconstruct(x), "output"))
    return [float((own - found[n]).abs().max() / found[n].abs().max()) for own, n in pairs]


def layer_set(name):
    """A cross-layer set that a peer wrote, rows for it by name, and what that made of them."""
    folder = FIXTURES / "cross-layer" / name
    found, rows = load_file(folder / "recorded.safetensors"), {}
    for layer, (x, output) in enumerate(zip(found["x"], found["output"], strict=True)):
        rows[f"{layer}:in"], rows[f"{layer}:out"] = x, output
    found["codes"] = torch.cat(list(found["codes"]), 1)
    return isthmus.from_pretrained(folder), rows, found


def crosscoder(name):
    """A crosscoder that a peer wrote, rows for it by name, and what that made of them."""
    folder = FIXTURES / "crosscoders" / name
    found = load_file(folder / "recorded.safetensors")
    model = isthmus.from_pretrained(folder)
    rows = dict(zip(model.signal.parts, found["x"], strict=True))
    return model, rows, found


def several_differences(model, rows, found):
    """As :func:`differences`, of a dictionary of several places."""
    codes, rebuilt = model.encode(rows), model.reconstruct(rows)
    names = [name for name in model.signal.parts if name in rebuilt]
    output = torch.stack([rebuilt[name] for name in names])
    pairs = ((codes, found["codes"]), (output, found["output"]))
    return [float((own - peer).abs().max() / peer.abs().max()) for own, peer in pairs]


def read(case):
    asked = dict(about(case).get("asked", {}))
    if "calibrate" in asked:  # by the rows of which the peer chose over the whole batch
        asked["calibrate"] = recorded(case)[asked["calibrate"]]
    with torch.no_grad():
        return isthmus.from_pretrained(place(case), **asked)
