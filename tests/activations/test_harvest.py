import json
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isthmus.activations import Store, harvest
from isthmus.activations.harvest import batches
from isthmus.data import ArraySource, as_source
from isthmus.errors import IsthmusError

from .tiny import BOS, by_hand, kept, language, tokens

AT = ["layers.0", "layers.2", "layers.1.mlp:in"]


@pytest.fixture(scope="module")
def host():
    return language()


def harvested(host, folder, text=None, at=AT, **options):
    options = {"dtype": "float32", "batch": 4, "shard": 37, "progress": False, **options}
    return harvest(host, tokens() if text is None else text, at, folder, **options)


def everything(store, point):
    return store.rows(point, torch.arange(len(store)))


def test_all_tokens_of_text_and_nothing_else(host, tmp_path):
    text = tokens()
    store = harvested(host, tmp_path / "s")
    where = kept(text)
    assert len(store) == int(where.sum())
    for layer in (0, 2):
        true = by_hand(host, text, layer)[where]
        torch.testing.assert_close(everything(store, f"layers.{layer}"), true, rtol=1e-5, atol=1e-6)
    place = store.where(torch.arange(len(store)))
    row, at = where.nonzero(as_tuple=True)
    assert torch.equal(place["row"], row)
    assert torch.equal(place["place"], at)
    assert torch.equal(place["document"], text.document[row])
    assert torch.equal(place["token"], text.ids[row, at])
    assert BOS not in place["token"]


def test_what_was_left_out_is_said(host, tmp_path):
    text = tokens()
    store = harvested(host, tmp_path / "s")
    padding = int((~text.mask).sum())
    run = store.provenance.runs[0]
    assert run.left_out == {"special": 20, "padding": padding}
    assert f"left out: 20 special tokens (such as BOS), {padding} places of padding" in repr(store)


def test_special_tokens_may_be_kept(host, tmp_path):
    text = tokens()
    store = harvested(host, tmp_path / "s", skip_special=False)
    assert len(store) == int(text.mask.sum())
    assert int((store.where(torch.arange(len(store)))["token"] == BOS).sum()) == 20


def test_the_model_sees_padding_only_where_there_is_some(host, tmp_path):
    host.module.masks.clear()
    text = tokens(rows=8)
    full = text.rows(torch.tensor([0, 1, 2, 4, 5, 6]))
    harvested(host, tmp_path / "full", full, batch=6)
    assert host.module.masks == [None, None]  # the first pass is for the shapes
    host.module.masks.clear()
    harvested(host, tmp_path / "some", text.rows(torch.tensor([3, 7])), batch=2)
    mask = host.module.masks[1]
    longest = int(text.mask[[3, 7]].sum(1).max())
    assert torch.equal(mask, text.mask[[3, 7], :longest])  # what no row has is not computed


def test_shards_are_plain_files_of_a_fixed_size(host, tmp_path):
    store = harvested(host, tmp_path / "s")
    shards = sorted((tmp_path / "s").glob("shard-*"))
    held = [np.load(shard / "layers.0.npy", mmap_mode="r") for shard in shards]
    assert [len(array) for array in held[:-1]] == [37] * (len(held) - 1)
    assert 0 < len(held[-1]) <= 37
    np.testing.assert_array_equal(np.concatenate(held), everything(store, "layers.0").numpy())
    names = {"layers.0.npy", "layers.2.npy", "layers.1.mlp-in.npy", "where.npy"}
    assert {path.name for path in shards[0].iterdir()} == names
    facts = json.loads((tmp_path / "s" / "provenance.json").read_text())
    for shard, noted in zip(shards, facts["shards"], strict=True):
        for path in shard.iterdir():
            assert f"{zlib.crc32(path.read_bytes()):08x}" == noted["checksums"][path.name]


def test_provenance(host, tmp_path):
    store = harvested(host, tmp_path / "s", text=tokens(), dtype="bfloat16")
    facts = json.loads((tmp_path / "s" / "provenance.json").read_text())
    assert facts["model"]["name"] == "tiny"
    assert facts["model"]["revision"] == "seed-0"
    assert facts["model"]["tokenizer"]["bos"] == BOS
    assert facts["tokens"] == len(store)
    assert facts["runs"][0]["text"] == "one and 1 more documents"
    assert "uint16" in facts["notes"]["bfloat16"]
    true = by_hand(host, tokens(), 2)[kept(tokens())]
    np.testing.assert_allclose(facts["points"]["layers.2"]["mean"], true.mean(0), atol=1e-6)
    np.testing.assert_allclose(store.mean("layers.2"), true.mean(0), atol=1e-6)
    norms = torch.linalg.vector_norm(true, dim=1)
    assert store.mean_norm("layers.2") == pytest.approx(float(norms.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "step"), [("float16", 2**-11), ("bfloat16", 2**-8), ("int8", None)]
)
def test_every_format_comes_back_as_float32(host, tmp_path, dtype, step):
    exact = everything(harvested(host, tmp_path / "exact"), "layers.2")
    store = harvested(host, tmp_path / dtype, dtype=dtype)
    found = everything(store, "layers.2")
    assert found.dtype == torch.float32
    bound = exact.abs().amax(1, keepdim=True) / 254 * 1.01 if step is None else exact.abs() * step
    assert ((found - exact).abs() <= bound + 1e-7).all()
    assert not torch.equal(found, exact)


def test_more_text_comes_behind_and_the_same_text_is_not_doubled(host, tmp_path):
    first, second = tokens(rows=7, seed=1), tokens(rows=9, places=10, seed=2, names=["three"])
    harvested(host, tmp_path / "s", first)
    store = harvested(host, tmp_path / "s", second)
    assert len(harvested(host, tmp_path / "s", first)) == len(store)
    parts = [by_hand(host, text, 0)[kept(text)] for text in (first, second)]
    torch.testing.assert_close(
        everything(store, "layers.0"), torch.cat(parts), atol=1e-6, rtol=1e-5
    )
    place = store.where(torch.arange(len(parts[0]), len(store)))
    assert place["row"].min() == 7
    assert set(place["document"].tolist()) == {2}
    assert store.tokens.names == ["one", "two", "three"]
    assert torch.equal(store.tokens.ids[:7], first.ids)
    assert torch.equal(store.tokens.ids[7:, :10], second.ids)
    assert not store.tokens.mask[7:, 10:].any()
    assert torch.equal(store.tokens.ids[place["row"], place["place"]], place["token"])
    whole = torch.cat(parts)
    np.testing.assert_allclose(store.mean("layers.0"), whole.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"at": "layers.0"}, "other points"),
        ({"dtype": "float16"}, "other dtype"),
        ({"skip_special": False}, "other skip_special"),
    ],
)
def test_a_store_takes_no_other_kind(host, tmp_path, change, what):
    store = harvested(host, tmp_path / "s")
    with pytest.raises(IsthmusError, match=f"holds a store with {what}.*choose another folder"):
        harvested(host, tmp_path / "s", **change)
    assert len(Store(tmp_path / "s")) == len(store)


def test_other_weights_are_refused(host, tmp_path):
    harvested(host, tmp_path / "s")
    with pytest.raises(IsthmusError, match="other weights"):
        harvested(language(seed=1), tmp_path / "s")


def test_a_folder_with_other_files_is_left_alone(host, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(IsthmusError, match="holds other files and is no store"):
        harvested(host, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_one_harvest_at_a_time(host, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    harvested(host, tmp_path / "s")
    with (tmp_path / "s" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(IsthmusError, match="another harvest is writing"):
            harvested(host, tmp_path / "s", tokens(seed=5))


def test_too_large_for_float16_is_an_error_that_names_the_point(tmp_path):
    host = language()
    with torch.no_grad():
        host.module.layers[1].mlp[2].bias.fill_(1e5)
    with pytest.raises(IsthmusError, match=r"'layers.2' are not finite in float16: use bfloat16"):
        harvested(host, tmp_path / "s", at="layers.2", dtype="float16")
    assert len(harvested(host, tmp_path / "b", at="layers.2", dtype="bfloat16")) > 0


def test_a_full_disk_keeps_full_shards(host, tmp_path, monkeypatch):
    from isthmus.activations import shards

    whole = harvested(host, tmp_path / "whole")
    write, calls = shards.ArrayWriter.write, []

    def fails(self, arrays):
        calls.append(len(arrays["where.npy"]) if "where.npy" in arrays else 0)
        if len(calls) == 7:
            raise OSError(28, "No space left on device")
        write(self, arrays)

    monkeypatch.setattr(shards.ArrayWriter, "write", fails)
    with pytest.raises(IsthmusError, match="No space left on device; free some space"):
        harvested(host, tmp_path / "s")
    monkeypatch.undo()
    held = Store(tmp_path / "s")
    assert 0 < len(held) < len(whole)
    assert len(held) % 37 == 0
    store = harvested(host, tmp_path / "s")
    assert torch.equal(everything(store, "layers.2"), everything(whole, "layers.2"))
    assert store.provenance.points == whole.provenance.points


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 6), st.data())
def test_batches_go_on_at_any_token(counts, batch, data):
    counts = torch.tensor(counts)
    total = int(counts.sum())
    numbers = torch.arange(len(counts)).repeat_interleave(counts)
    done = data.draw(st.integers(0, total))
    seen, whole = [], [rows.tolist() for rows, _ in batches(counts, batch)]
    for rows, skip in batches(counts, batch, done):
        assert rows.tolist() in whole  # always in the same company
        seen += numbers[torch.isin(numbers, rows)].tolist()[skip:]
    assert seen == numbers[done:].tolist()


# --- other modules than language models --------------------------------------------------------


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(5)
        self.tokens = nn.Linear(5, 4)
        self.pool = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.drop(self.conv(x)))
        x = self.tokens(x.flatten(2).transpose(1, 2))
        return self.pool(x.mean(1))


@pytest.fixture
def vision():
    torch.manual_seed(0)
    return Vision()


IMAGES = torch.rand(11, 1, 6, 5, generator=torch.Generator().manual_seed(0))


def test_maps_of_features_are_a_token_for_each_pixel(vision, tmp_path):
    source = ArraySource(IMAGES)
    store = harvest(
        vision, source, ["conv", "tokens"], tmp_path / "s", dtype="float32", batch=4, shard=50,
        progress=False,
    )  # fmt: skip
    assert vision.training
    vision.eval()
    maps = vision.conv(IMAGES).detach()
    assert len(store) == 11 * 4 * 3
    assert store.width("conv") == 5
    where = store.where(torch.arange(len(store)))
    assert torch.equal(where["document"], where["row"])
    assert set(where["token"].tolist()) == {-1}
    found = everything(store, "conv")
    for i in (0, 17, 131):
        row, place = int(where["row"][i]), int(where["place"][i])
        torch.testing.assert_close(found[i], maps[row, :, place // 3, place % 3])
    assert store.tokens is None


def test_vectors_are_one_token_a_row(vision, tmp_path):
    store = harvest(vision, ArraySource(IMAGES), "pool", tmp_path / "s", batch=3, progress=False)
    assert len(store) == 11
    torch.testing.assert_close(
        everything(store, "pool"), vision.eval()(IMAGES).detach(), atol=1e-3, rtol=1e-3
    )
    assert store.provenance.runs[0].text == "ArraySource"
    assert store.provenance.model["name"].endswith("Vision")


def test_the_model_itself_is_a_point_like_others(vision, tmp_path):
    store = harvest(vision, ArraySource(IMAGES), ".", tmp_path / "s", progress=False)
    source = as_source(store.source(".").spec)
    assert source.rows(torch.arange(11)).shape == (11, 3)
    assert (tmp_path / "s" / "shard-00000" / "model.npy").exists()


def test_points_with_different_places_do_not_stand_side_by_side(vision, tmp_path):
    with pytest.raises(IsthmusError, match="'conv' has 12 tokens a row and 'pool' has 1"):
        harvest(vision, ArraySource(IMAGES), ["conv", "pool"], tmp_path / "s", progress=False)


def test_shapes_that_are_no_activations_of_tokens(host, vision, tmp_path):
    vision.sum = nn.Flatten(0)
    vision.forward = lambda x: vision.sum(x.sum((1, 2, 3)))
    with pytest.raises(IsthmusError, match=r"'sum' gives the shape \(2,\)"):
        harvest(vision, ArraySource(IMAGES), "sum", tmp_path / "s", progress=False)
    other = language()
    other.module.head.register_forward_hook(lambda *_: torch.zeros(3, 5))
    with pytest.raises(IsthmusError, match=r"'head' gives the shape \(3, 5\) for 2 rows of 3"):
        harvested(other, tmp_path / "t", at="head")


def test_a_model_and_data_that_do_not_go_together(host, vision, tmp_path):
    with pytest.raises(IsthmusError, match="a language model reads tokens"):
        harvested(host, tmp_path / "s", text=ArraySource(IMAGES))
    with pytest.raises(IsthmusError, match="a plain module reads rows"):
        harvested(vision, tmp_path / "s", text=tokens())


@pytest.mark.parametrize("options", [{"batch": 0}, {"shard": 0}, {"dtype": "float64"}])
def test_sizes_and_formats_that_are_none(host, tmp_path, options):
    with pytest.raises(IsthmusError):
        harvested(host, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_a_text_without_text(host, tmp_path):
    text = tokens(rows=4)
    with pytest.raises(IsthmusError, match="the text has no tokens"):
        harvested(host, tmp_path / "s", type(text)(
            torch.full_like(text.ids, BOS), text.mask, text.document, text.start, text.names,
        ))  # fmt: skip
