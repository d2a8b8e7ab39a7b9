"""Published dictionaries, copied and damaged."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file

from peers import FIXTURES


def copied(case, tmp_path):
    folder = tmp_path / "case"
    shutil.copytree(FIXTURES / case, folder)
    (folder / "recorded.safetensors").unlink()
    return folder


def edited(folder, change, name="sae_weights.safetensors"):
    """The tensors of a file, changed and written again."""
    path = folder / name
    tensors = load_file(path) if name.endswith("safetensors") else torch.load(path)
    tensors = change(dict(tensors)) or tensors
    if name.endswith("safetensors"):
        save_file({n: t.contiguous() for n, t in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return folder


def configured(folder, name="cfg.json", **change):
    path = folder / name
    cfg = json.loads(path.read_text())
    for key, value in change.items():
        cfg.pop(key, None) if value is None else cfg.__setitem__(key, value)
    path.write_text(json.dumps(cfg))
    return folder


def without(*names):
    return lambda tensors: {n: t for n, t in tensors.items() if n not in names}


def square(tmp_path, change, d=64):
    """A trained-looking square dictionary, changed."""
    draw = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(d, d, generator=draw), dim=1)
    reads = atoms + 0.3 / d**0.5 * torch.randn(d, d, generator=draw)
    found = {"W_enc": reads.T, "W_dec": atoms, "b_enc": torch.zeros(d), "b_dec": torch.zeros(d)}
    folder = tmp_path / "square"
    folder.mkdir()
    save_file(
        {n: t.contiguous() for n, t in change(found).items()}, folder / "sae_weights.safetensors"
    )
    cfg = {"architecture": "standard", "d_in": d, "d_sae": d, "dtype": "float32", "metadata": {}}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder
