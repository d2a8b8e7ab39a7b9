"""Runs in object storage: saved, interrupted, gone on with, loaded, and refused."""

import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("fsspec")

import fsspec

import isthmus
from commands import run
from isthmus.errors import IsthmusError
from isthmus.storage import Remote
from isthmus.storage.committed import INDEX, Committed
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


class Looks(Callback):
    """Calls ``what`` after a step, while the run is being written."""

    def __init__(self, what):
        self.what = what

    def on_step(self, run, step):
        if step == 5:
            self.what()


def test_who_reads_a_run_does_not_disturb_the_one_who_writes_it(place, tmp_path):
    seen = []
    local = isthmus.fit("topk", X, out=tmp_path / "local", **HOW)
    looks = Looks(lambda: seen.append(isthmus.load(place)))
    model = isthmus.fit("topk", X, out=place, callbacks=[looks], **HOW)
    assert len(seen) == 1
    assert same(model, local)
    assert same(isthmus.load(place), local)
    assert len(list((tmp_path / "cache" / "runs").iterdir())) == 1  # copies are gone


def test_two_do_not_write_one_run(place):
    def again():
        with pytest.raises(IsthmusError, match=f"another run is being written to {place} "):
            isthmus.resume(place, X, progress=False)
        with pytest.raises(IsthmusError, match=f"another run is being written to {place} "):
            isthmus.fit("topk", X, out=place, overwrite=True, **HOW)

    with ThreadPoolExecutor(1) as other:
        looks = Looks(lambda: other.submit(again).result())
        model = isthmus.fit("topk", X, out=place, callbacks=[looks], **HOW)
    assert same(isthmus.load(place), model)


def test_who_stops_is_told_where_to_go_on(place):
    def press():
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"go on with: isthmus resume {place}$"):
        isthmus.fit("topk", X, out=place, callbacks=[Looks(press)], **HOW)
    assert isthmus.resume(place, X, progress=False).history[-1]["step"] == HOW["steps"]


def test_a_commit_that_is_replaced_while_it_is_read_is_read_again(place, tmp_path, monkeypatch):
    isthmus.fit("topk", X, out=place, **HOW)
    download, other = Remote.download, {}

    def replaced(self, name, path):
        if not other:
            other["model"] = None
            other["model"] = isthmus.fit("topk", X, out=place, overwrite=True, seed=1, **HOW)
        return download(self, name, path)

    monkeypatch.setattr(Remote, "download", replaced)
    assert same(isthmus.load(place), other["model"])


def test_a_full_disk_of_this_machine_is_said(place, tmp_path, monkeypatch):
    isthmus.fit("topk", X, out=place, **HOW)

    def full(self, name, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Remote, "download", full)
    with pytest.raises(IsthmusError, match=r"No space left on device; free some space, or let"):
        Committed(Remote(place), tmp_path / "copy").fetch()


def test_what_is_not_done_in_object_storage(place):
    model = isthmus.fit("topk", X, **HOW)
    sentence = "is in object storage, where this is not done"
    with pytest.raises(IsthmusError, match=sentence):
        isthmus.save(model, place)
    with pytest.raises(IsthmusError, match=sentence):
        isthmus.fit_many({"a": {"recipe": "topk"}}, X, out=place, **HOW)
    with pytest.raises(IsthmusError, match=sentence):
        isthmus.resume_many(place)
    with pytest.raises(IsthmusError, match="ranks save to a disk"):
        isthmus.fit("topk", X, out=place, ranks=2, **HOW)


@pytest.mark.parametrize("place", ["memory://", "file:///", "s3://"])
def test_a_storage_without_a_name_is_no_place(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsthmusError, match=f"'{place}' names a storage and nothing in it: write"):
        isthmus.fit("topk", X, out=place, **HOW)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_fits_there_and_goes_on(tmp_path):
    np.save(tmp_path / "x.npy", X)
    place = f"file://{tmp_path}/stored"
    words = ("latent_dim=12", "k=3", "steps=4", "batch_size=16", "-q")
    text = run("fit", "topk", "x.npy", "-o", place, *words, cwd=tmp_path)
    # Lines are wrapped wherever the place is too long for them.
    assert f"saved in {place}; next: isthmus.load".replace(" ", "") in "".join(text.split())
    assert not (tmp_path / "file:").exists()
    assert "finished" in run("resume", place, "steps=6", "-q", cwd=tmp_path)
    assert isthmus.load(place).history == []
    refused = run("evaluate", "s3://bucket/run", cwd=tmp_path, code=2)
    assert refused.startswith("isthmus: s3://bucket/run is in object storage, where runs are")
    for words in (("compare", "x.npy", "-o"), ("work",)):
        assert "is in object storage" in run(*words, "s3://bucket/a", cwd=tmp_path, code=2)
