"""A file is read in little more memory than the model takes, and looked at in almost none."""

import json
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from isthmus.formats.tensor_file import open_tensors

STATUS = Path("/proc/self/clear_refs")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the peak anew")
FIRST = """
import json, re, sys
import torch, isthmus
from isthmus.formats import inspect
isthmus.from_pretrained({small!r})
def bytes_of(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
def begun():
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here on
    return bytes_of("VmRSS")
before = begun()
inspect({large!r})
looked = bytes_of("VmHWM") - before
before = begun()
model = isthmus.from_pretrained({large!r})
read = bytes_of("VmHWM") - before
whole = bytes_of("VmHWM")
print(json.dumps([looked, read, whole, float(model.W_dec[-1, -1]), float(model.W_enc[-1, -1])]))
"""

SET = (
    ("float(model.W_dec[-1, -1])", "float(model.decoder[model.decoder.names[-1]].weight[-1, -1])"),
    ("float(model.W_enc[-1, -1])", "float(model.encoder[model.encoder.names[-1]].weight[-1, -1])"),
)
"""Where the last entries of a cross-layer set are."""


def made(folder, d, f):
    """A SAELens folder of zeros but for the last entries, written a piece at a time."""
    folder.mkdir()
    shapes = {"W_enc": (d, f), "W_dec": (f, d), "b_enc": (f,), "b_dec": (d,)}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "sae_weights.safetensors").open("wb") as handle:
        handle.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            row = bytearray(4 * shape[-1])
            for _ in range(shape[0] - 1 if len(shape) > 1 else 0):
                handle.write(row)
            if name.startswith("W"):
                row[-4:] = struct.pack("<f", 2.0 if name == "W_dec" else 3.0)
            handle.write(row)
    cfg = {"architecture": "standard", "d_in": d, "d_sae": f, "dtype": "float32", "metadata": {}}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return at


def archived(folder, d, f):
    """A dictionary_learning folder, a pickle of tensors, of zeros but for the last entries."""
    folder.mkdir()
    weights = {"encoder.weight": torch.zeros(f, d), "encoder.bias": torch.zeros(f),
               "decoder.weight": torch.zeros(d, f), "bias": torch.zeros(d)}  # fmt: skip
    weights["encoder.weight"][-1, -1], weights["decoder.weight"][-1, -1] = 3.0, 2.0
    torch.save(weights, folder / "ae.pt")
    trainer = {"dict_class": "AutoEncoder", "activation_dim": d, "dict_size": f}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
    return sum(4 * tensor.numel() for tensor in weights.values())


def across(folder, d, f, layers):
    """A cross-layer set of circuit-tracer, of zeros but for the last entries."""
    folder.mkdir()
    size = 0
    for i in range(layers):
        encoder = {f"W_enc_{i}": torch.zeros(f, d), f"b_enc_{i}": torch.zeros(f),
                   f"b_dec_{i}": torch.zeros(d)}  # fmt: skip
        decoder = {f"W_dec_{i}": torch.zeros(f, layers - i, d)}
        encoder[f"W_enc_{i}"][-1, -1], decoder[f"W_dec_{i}"][-1, -1, -1] = 3.0, 2.0
        save_file(encoder, folder / f"W_enc_{i}.safetensors")
        save_file(decoder, folder / f"W_dec_{i}.safetensors")
        tensors = [*encoder.values(), *decoder.values()]
        size += sum(4 * tensor.numel() for tensor in tensors)
    return size


def measured(tmp_path, d, f, layers=None, make=made):
    """Shares of the files' size: looking, reading, and all the process held at most."""
    if layers is None:
        last = FIRST
    else:
        make, last = partial(across, layers=layers), FIRST.replace(*SET[0]).replace(*SET[1])
    make(tmp_path / "small", 8, 32)
    size = make(tmp_path / "large", d, f)
    code = last.format(small=str(tmp_path / "small"), large=str(tmp_path / "large"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    looked, read, whole, *last = json.loads(done.stdout.splitlines()[-1])
    assert last == [2.0, 3.0]
    return looked / size, read / size, whole / size


@pytest.mark.parametrize("make", [made, archived], ids=["saelens", "dictionary_learning"])
def test_reading_takes_little_more_than_the_file(make, tmp_path):
    looked, read, _ = measured(tmp_path, 1024, 48 * 1024, make=make)  # 400 MB
    assert looked < 0.05
    assert read < 1.2


def test_a_mapped_file_is_read_again_after_its_pages_were_given_back(tmp_path):
    value = torch.randn(3000, 257, generator=torch.Generator().manual_seed(0))
    torch.save({"a": value, "b": value[1]}, tmp_path / "ae.pt")
    file = open_tensors(tmp_path / "ae.pt")
    for _ in range(2):
        assert torch.equal(file.read("a"), value)
        assert torch.equal(file.read("a", transposed=True), value.T)
        assert torch.equal(file.read("b"), value[1])


@pytest.mark.slow
@pytest.mark.parametrize("make", [made, archived], ids=["saelens", "dictionary_learning"])
def test_four_gigabytes(make, tmp_path):
    """The whole process counts, and what it holds for itself is a tenth of such a file."""
    looked, read, whole = measured(tmp_path, 4096, 128 * 1024, make=make)
    print(f"looked {looked:.4f}, read {read:.3f}, whole process {whole:.3f}")
    assert looked < 0.01
    assert read < 1.2
    assert whole < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 6])
def test_a_cross_layer_set_takes_little_more_than_its_files(tmp_path, layers):
    f = {2: 12_800, 6: 2048}[layers]  # 260 MB, 250 MB
    looked, read, _ = measured(tmp_path, 1024, f, layers)
    assert looked < 0.05
    assert read < 1.2
