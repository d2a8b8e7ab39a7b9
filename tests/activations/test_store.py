import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus
from isthmus.activations import Store, harvest, shards
from isthmus.anatomy import Source
from isthmus.errors import IsthmusError
from isthmus.training import Batches

from .tiny import language, tokens

AT = ["layers.0", "layers.2", "layers.1.mlp:in"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "held"
    harvest(language(), tokens(40), AT, path, dtype="float32", shard=50, batch=8, progress=False)
    return path


@pytest.fixture(scope="module")
def held(folder):
    """Everything at every point, straight from the files."""
    return {
        point: np.concatenate([np.load(p / name) for p in sorted(folder.glob("shard-*"))])
        for point, name in zip(
            AT, ["layers.0.npy", "layers.2.npy", "layers.1.mlp-in.npy"], strict=True
        )
    }


@settings(max_examples=40)
@given(data=st.data(), size=st.integers(0, 60), ascending=st.booleans())
def test_rows_in_any_order(folder, held, data, size, ascending):
    index = data.draw(st.lists(st.integers(0, len(held[AT[0]]) - 1), min_size=size, max_size=size))
    index = torch.tensor(sorted(index) if ascending else index, dtype=torch.int64)
    store = Store(folder)
    for point in AT:
        np.testing.assert_array_equal(store.rows(point, index).numpy(), held[point][index.numpy()])
    beside = store.source(AT).rows(index)
    assert list(beside) == AT
    for point in AT:
        np.testing.assert_array_equal(beside[point].numpy(), held[point][index.numpy()])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8"])
def test_rows_as_they_are_stored(tmp_path, dtype):
    """In half precision, and widened they are the rows, over several shards and in any order."""
    harvest(language(), tokens(12), AT[:2], tmp_path / "s", dtype=dtype, shard=20, batch=4,
            progress=False)  # fmt: skip
    source = Store(tmp_path / "s").source(AT[:2])
    assert source.by_thread
    for index in (torch.arange(30), torch.tensor([29, 3, 3, 21, 0]), torch.zeros(0).long()):
        narrow = source.stored(index)
        if dtype in ("float32", "int8"):
            assert narrow is None
            continue
        for point, rows in source.rows(index).items():
            assert narrow[point].dtype == getattr(torch, dtype)
            assert torch.equal(narrow[point].float(), rows)


def test_rows_are_memory_of_their_own(folder, held):
    store = Store(folder)
    store.rows("layers.0", torch.arange(5)).zero_()
    np.testing.assert_array_equal(store.rows("layers.0", torch.arange(5)), held["layers.0"][:5])
    store.verify()


def test_a_source_for_training(folder, held):
    source = Store(folder).source("layers.2")
    assert isinstance(source, Source)
    assert (source.signal.kind, source.signal.shape) == ("vector", (6,))
    assert len(source) == len(held["layers.2"])
    batches = Batches(source, 16)
    batch = batches[3]
    assert batch.x.shape == (16, 6)
    assert torch.equal(batch.rows, batches.index(3))
    np.testing.assert_array_equal(batch.x, held["layers.2"][batch.rows.numpy()])


def test_a_pair_says_where_input_and_target_are(folder, held):
    pair = Store(folder).pair("layers.1.mlp:in", "layers.2")
    index = torch.tensor([3, 1, 77])
    rows = pair.rows(index)
    assert list(rows) == list(pair.signal.parts) == ["layers.1.mlp:in", "layers.2"]
    for point, part in pair.signal.parts.items():
        assert rows[point].shape == (3, *part.shape)
        np.testing.assert_array_equal(rows[point], held[point][index.numpy()])
    assert pair.signal.numel == sum(part.shape[1] for part in rows.values())
    assert type(pair.signal).from_dict(pair.signal.to_dict()) == pair.signal


def test_an_order_of_blocks_reads_a_region_at_a_time(tmp_path, monkeypatch):
    from isthmus.activations import store as module

    monkeypatch.setattr(module, "BLOCK", 16)
    monkeypatch.setattr(module, "BLOCKS", 3)
    path = tmp_path / "s"
    held = harvest(language(), tokens(60), "layers.0", path, shard=100, progress=False)
    source = held.source("layers.0", order="blocks")
    order = source.order(5)
    assert sorted(order.tolist()) == list(range(len(held)))
    assert len((order[: 3 * 16] // 16).unique()) <= 4  # a last block may be shorter
    assert source.spec.endswith("?order=blocks")
    free = held.source("layers.0").order(5)
    assert sorted(free.tolist()) == list(range(len(held)))
    assert len((free[: 3 * 16] // 16).unique()) > 10


def test_fingerprints_tell_content_and_points_apart_without_reading(folder, tmp_path):
    store = Store(folder)
    print_of = store.source("layers.0").fingerprint()
    assert print_of != store.source("layers.2").fingerprint()
    assert print_of != store.source(["layers.0", "layers.2"]).fingerprint()
    assert not store._mapped
    again = harvest(
        language(), tokens(40), ["layers.0"], tmp_path / "a", dtype="float32", shard=50, batch=8,
        progress=False,
    )  # fmt: skip
    assert again.source("layers.0").fingerprint() == print_of
    other = harvest(language(seed=3), tokens(40), AT, tmp_path / "b", shard=50, progress=False)
    assert other.source("layers.0").fingerprint() != print_of


def test_origin_leads_back_to_the_text(folder):
    origin = Store(folder).source("layers.2").origin
    assert (origin.model, origin.revision, origin.point) == ("tiny", "seed-0", "layers.2")
    assert torch.equal(origin.tokens.ids, tokens(40).ids)
    with pytest.raises(IsthmusError, match="those of 3 points: choose one"):
        _ = Store(folder).source(AT).origin.point


def test_fitted_and_resumed_from_a_store_by_name(folder, tmp_path, monkeypatch):
    options = {"latent_dim": 16, "k": 2, "batch_size": 32, "progress": False, "seed": 3}
    spec = f"store:{folder}@layers.2"
    whole = isthmus.fit("topk", spec, steps=24, **options)

    class Enough(Exception):
        pass

    class Stop(isthmus.training.Callback):
        def on_save(self, trainer, path):
            if trainer.step == 12:
                raise Enough

    with pytest.raises(Enough):
        isthmus.fit(
            "topk", spec, out=tmp_path / "run", steps=24, save_every=12, callbacks=[Stop()],
            **options,
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    resumed = isthmus.resume(tmp_path / "run", progress=False)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name])


# --- damage ------------------------------------------------------------------------------------


def read_all(path):
    store = Store(path)
    index = torch.arange(len(store))
    for point in AT:
        store.rows(point, index)
    store.where(index)


@settings(max_examples=30)
@given(data=st.data())
def test_a_flipped_bit_in_any_file_is_found(folder, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("copies") / "s"
    shutil.copytree(folder, path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".lock")
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(IsthmusError, match=f"delete {path} and harvest again"):
        read_all(path)
    with pytest.raises(IsthmusError, match="delete"):
        Store(path).verify()


def test_a_flipped_bit_is_found_when_its_shard_is_first_read(folder, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(folder, path)
    file = path / "shard-00002" / "layers.2.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    store = Store(path)
    store.rows("layers.2", torch.arange(100))  # the shards before
    store.rows("layers.0", torch.arange(150))  # another point
    with pytest.raises(IsthmusError, match=r"shard-00002/layers.2.npy is damaged.*delete"):
        store.rows("layers.2", torch.tensor([101]))


def test_a_shard_is_checked_once(folder, monkeypatch):
    calls = []
    verify = shards.verify
    monkeypatch.setattr(shards, "verify", lambda *a: (calls.append(a[0]), verify(*a)))
    store = Store(folder)
    for _ in range(3):
        store.rows("layers.2", torch.tensor([5, 60, 7]))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["layers.2.npy", "where.npy"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty", "foreign"])
def test_missing_short_and_foreign_files(folder, tmp_path, name, damage):
    path = tmp_path / "s"
    shutil.copytree(folder, path)
    file = path / "shard-00001" / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"short": content[:-1], "empty": b"", "foreign": b"text" * 99}[damage])
    with pytest.raises(IsthmusError, match=f"shard-00001/{name} is .* delete {path} and harvest"):
        read_all(path)


def test_a_file_of_the_right_checksum_that_is_no_array(tmp_path):
    import zlib

    file = tmp_path / "a.npy"
    file.write_bytes(b"other" * 20)
    with pytest.raises(IsthmusError, match=r"a\.npy is damaged"):
        shards.mapped(file, f"{zlib.crc32(b'other' * 20):08x}", torch.float32, "mend it")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no store of activations"),
        ("{}", "is damaged, was edited or is no store's"),
        ("[1, 2]", "is damaged"),
        ("not json", "is damaged"),
    ],
)
def test_folders_that_are_no_stores(tmp_path, content, message):
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(IsthmusError, match=message):
        Store(tmp_path)


def test_an_edited_provenance(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "s")
    file = tmp_path / "s" / "provenance.json"
    plain = json.loads(file.read_text())
    plain["model"]["name"] = "another"
    file.write_text(json.dumps(plain))
    with pytest.raises(IsthmusError, match="was edited"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("bad", [-1, 10_000])
def test_rows_that_are_not_there(folder, bad):
    with pytest.raises(IsthmusError, match="has rows from 0 to"):
        Store(folder).rows("layers.0", torch.tensor([0, bad]))


def test_misspelt_points_and_orders(folder):
    store = Store(folder)
    with pytest.raises(IsthmusError, match=r"did you mean 'layers\.2'"):
        store.source("layer.2")
    with pytest.raises(IsthmusError, match="unknown order 'block': did you mean 'blocks'"):
        store.source("layers.2", order="block")
    with pytest.raises(IsthmusError, match="name each once"):
        store.pair("layers.2", "layers.2")


def test_activations_by_texts_are_those_of_each_row_in_order(tmp_path):
    from isthmus.language import documents, open_model, pack

    host = open_model("resident")
    tokens = pack(documents("samples"), host.tokenizer, 24, 200)
    store = harvest(host, tokens, "layers.1", tmp_path / "store", progress=False)
    texts = store.texts("layers.1")
    where = store.where(torch.arange(len(store)))
    assert sum(map(len, texts)) == len(store)
    for number in range(len(texts)):
        index = torch.nonzero(where["row"] == number)[:, 0]
        assert (where["place"][index].diff() > 0).all()
        np.testing.assert_array_equal(texts[number], store.rows("layers.1", index).numpy())
