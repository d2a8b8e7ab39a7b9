"""Stores in object storage: read through a bounded cache, written index last, gone on with."""

import os

import pytest
import torch

pytest.importorskip("fsspec")

import fsspec

from isthmus.activations import Store, harvest
from isthmus.activations import mirror as mirrored
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.storage import Remote, is_remote
from isthmus.storage import cache as module

from .tiny import language, tokens

AT = ["layers.0", "layers.2"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    return "memory://bucket/acts" if request.param == "memory" else f"file://{tmp_path}/acts"


@pytest.fixture(scope="module")
def host():
    return language()


def harvested(host, out, text=None, **options):
    text = tokens(60, seed=1) if text is None else text
    options = {"dtype": "int8", "batch": 4, "shard": 37, "progress": False, **options}
    return harvest(host, text, AT, out, **options)


def files(place):
    remote = Remote(str(place) if is_remote(str(place)) else f"file://{place}")
    return {name: remote.read(name) for name in remote.names() if name != ".lock"}


def rows(store, point="layers.2"):
    return store.rows(point, torch.arange(len(store)).flip(0))


def test_the_store_is_that_of_a_disk(host, place, tmp_path):
    local = harvested(host, tmp_path / "local")
    store = harvested(host, place)
    assert files(place) == files(tmp_path / "local")
    assert torch.equal(rows(store), rows(local))
    index = torch.tensor([5, 0, 77])
    mine, theirs = store.where(index), local.where(index)
    assert all(torch.equal(mine[what], theirs[what]) for what in theirs)
    store.verify()
    source = as_source(f"store:{place}@layers.0")
    assert source.spec == f"store:{place}@layers.0?order=blocks"
    assert torch.equal(source.rows(index), local.rows("layers.0", index))
    assert source.fingerprint() == local.source("layers.0").fingerprint()


def test_a_harvest_that_was_stopped_goes_on(host, place, tmp_path, monkeypatch):
    harvested(host, tmp_path / "local")
    harvested(host, tmp_path / "local", tokens(37, seed=2))
    whole = Remote.upload
    for stop in (3, 9, 20, 41):
        count = 0

        def cut(self, path, name, stop=stop):
            nonlocal count
            count += 1
            if count == stop:
                raise OSError(28, "No space left on device")
            whole(self, path, name)

        monkeypatch.setattr(Remote, "upload", cut)
        with pytest.raises(IsthmusError, match="No space left"):
            harvested(host, place)
        monkeypatch.setattr(Remote, "upload", whole)
    harvested(host, place)
    harvested(host, place, tokens(37, seed=2))  # more text comes behind
    assert files(place) == files(tmp_path / "local")
    assert not list((tmp_path / "cache" / "staging").rglob("*.npy")) or all(
        "text-" in str(path) for path in (tmp_path / "cache" / "staging").rglob("*.npy")
    )


def test_what_is_not_listed_does_not_exist(host, place):
    """A kill after a shard was brought there, and before the index."""
    harvested(host, place)
    before = files(place)
    Remote(place).write("shard-99999/layers.0.npy", b"left over")
    assert len(harvested(host, place)) == len(Store(place))
    Remote(place).remove("shard-99999/layers.0.npy")
    assert files(place) == before


def test_the_cache_is_bounded_and_files_are_copied_once(host, place, tmp_path, monkeypatch):
    store = harvested(host, place, dtype="float32")
    whole = Remote.download
    copied = []
    monkeypatch.setattr(Remote, "download", lambda *a: copied.append(a[1]) or whole(*a))
    first = rows(store)
    once = len(copied)
    assert torch.equal(rows(Store(place)), first)
    assert len(copied) == once
    monkeypatch.setenv(module.LIMIT, "0.000005")
    kept = Store(place)
    assert torch.equal(rows(kept, "layers.0"), rows(store, "layers.0"))
    cache = tmp_path / "cache" / "objects"
    sizes = [path.stat().st_size for path in cache.iterdir()]
    assert sum(sizes) <= 5000 or len(sizes) == 1
    monkeypatch.setenv(module.LIMIT, "many")
    with pytest.raises(IsthmusError, match="no number of gigabytes"):
        rows(Store(place), "layers.2")


def test_a_cache_that_cannot_be_written_is_one_sentence(host, place, tmp_path, monkeypatch):
    harvested(host, place)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file"))
    with pytest.raises(IsthmusError, match=r"cannot keep .*; free some space, or let ISTHMUS_CAC"):
        rows(Store(place))
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    for number in ("many", "nan", "-3"):
        monkeypatch.setenv(module.LIMIT, number)
        with pytest.raises(IsthmusError, match=f"='{number}' is no number of gigabytes"):
            module.limit_bytes()


def test_what_is_wrong_is_one_sentence(host, place, tmp_path):
    with pytest.raises(IsthmusError, match="is no store of activations"):
        Store(place)
    harvested(host, place)
    remote = Remote(place)
    name = next(n for n in remote.names() if n.startswith("shard-") and "layers.2.npy" in n)
    content = remote.read(name)
    remote.write(name, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IsthmusError, match="is damaged"):
        rows(Store(place))
    remote.remove(name)
    with pytest.raises(IsthmusError, match="is missing"):
        rows(Store(place))
    with pytest.raises(IsthmusError, match="other weights"):
        harvested(language(seed=1), place)
    with pytest.raises(IsthmusError, match="parts are put together on a disk"):
        harvested(host, place, part="1/2")
    with pytest.raises(IsthmusError, match="nothere"):
        Store("nothere://bucket/acts")


def test_a_place_with_other_files_is_no_store(host, place):
    Remote(place).write("notes.txt", b"mine")
    with pytest.raises(IsthmusError, match="holds other files"):
        harvested(host, place)


@pytest.mark.slow
def test_a_local_s3_server(host, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in {
            "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        test_the_store_is_that_of_a_disk(host, "s3://bucket/acts", tmp_path)
        test_a_harvest_that_was_stopped_goes_on(host, "s3://bucket/more", tmp_path / "b",
                                                monkeypatch)  # fmt: skip
    finally:
        server.stop()
    assert mirrored.STAGING in os.listdir(tmp_path / "cache")
