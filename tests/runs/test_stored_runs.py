"""Runs in object storage: saved, interrupted, gone on with, loaded, and refused."""

import numpy as np
import pytest
import torch

pytest.importorskip("fsspec")

import fsspec

import isthmus
from isthmus.errors import IsthmusError
from isthmus.storage import Remote
from isthmus.storage.committed import INDEX
from isthmus.training import Callback

X = np.random.default_rng(0).normal(size=(64, 6)).astype("f4")
HOW = {"latent_dim": 12, "k": 3, "steps": 8, "batch_size": 16, "save_every": 2, "validation": 0.0,
       "progress": False}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    return "memory://bucket/run" if request.param == "memory" else f"file://{tmp_path}/run"


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


class Stops(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, run, step):
        if step == self.step:
            raise RuntimeError("power cut")


def test_a_run_is_saved_there_and_loaded(place, tmp_path):
    local = isthmus.fit("topk", X, out=tmp_path / "local", **HOW)
    model = isthmus.fit("topk", X, out=place, **HOW)
    assert same(model, local)
    assert same(isthmus.load(place), local)
    assert INDEX in Remote(place).names()
    with pytest.raises(IsthmusError, match="already holds a run"):
        isthmus.fit("topk", X, out=place, **HOW)
    isthmus.fit("topk", X, out=place, overwrite=True, seed=1, **HOW)
    assert not same(isthmus.load(place), local)


def test_an_interrupted_run_goes_on_to_the_same_bits(place, tmp_path):
    whole = isthmus.fit("topk", X, out=tmp_path / "local", **HOW)
    with pytest.raises(RuntimeError):
        isthmus.fit("topk", X, out=place, callbacks=[Stops(5)], **HOW)
    # This machine is gone with all that was on its disk.
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert same(isthmus.resume(place, X, progress=False), whole)
    assert same(isthmus.load(place), whole)


def test_a_save_that_was_cut_leaves_the_one_before(place, monkeypatch):
    first = isthmus.fit("topk", X, out=place, **HOW)
    upload, count = Remote.upload, 0

    def cut(self, path, name):
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "No space left on device")
        upload(self, path, name)

    monkeypatch.setattr(Remote, "upload", cut)
    with pytest.raises((IsthmusError, OSError), match="No space left"):
        isthmus.fit("topk", X, out=place, overwrite=True, seed=1, **HOW)
    monkeypatch.setattr(Remote, "upload", upload)
    assert same(isthmus.load(place), first)


def test_what_is_wrong_is_one_sentence(place):
    with pytest.raises(IsthmusError, match="holds no run"):
        isthmus.load(place)
    isthmus.fit("topk", X, out=place, **HOW)
    remote = Remote(place)
    name = next(n for n in remote.names() if n.endswith("model.safetensors"))
    content = remote.read(name)
    remote.write(name, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IsthmusError, match="does not match its checksum"):
        isthmus.load(place)
    remote.remove(name)
    with pytest.raises(IsthmusError, match=r"lacks model\.safetensors"):
        isthmus.load(place)
    remote.write(INDEX, b'{"format": 1, "files": {"../x": "0"}}')
    with pytest.raises(IsthmusError, match="outside of its folder"):
        isthmus.load(place)
    remote.write(INDEX, b"{")
    with pytest.raises(IsthmusError, match="is damaged"):
        isthmus.resume(place)
