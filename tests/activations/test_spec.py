import sys

import pytest
import torch

import isthmus
from isthmus.activations import Store, Streamed, harvest, spec, text_tokens
from isthmus.cli.harvest import run
from isthmus.data import as_source, schemes
from isthmus.errors import IsthmusError
from isthmus.language import Document, open_model

from .tiny import language, tokens

TEXT = "The quick brown fox jumps over the lazy dog, and then it is gone. " * 40


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book & co.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def small(monkeypatch):
    """``resident`` is a tiny model for a while."""
    host = language()
    monkeypatch.setattr(spec, "open_model", lambda name: host)
    return host


def test_a_language_model_and_its_text_by_name(book, small):
    name = str(book).replace("&", "%26")
    source = as_source(f"lm:resident@layers.1,layers.2?text={name}&tokens=500&context=20")
    assert isinstance(source, Streamed)
    assert source.points == ("layers.1", "layers.2")
    assert 400 < len(source) <= 500
    assert source.tokens.ids.shape[1] == 20
    assert source.left_out["special"] == len(source.tokens)
    assert source.origin.text == str(book)
    assert torch.equal(source.tokens.ids, text_tokens(small, str(book), 500, 20).ids)


def test_all_options(book, small, monkeypatch):
    monkeypatch.chdir(book.parent)
    source = as_source(
        "lm:resident@layers.1:in?text=book %26 co.txt&tokens=all&skip-special=0&batch=3&memory=1"
        "&seed=5"
    )
    assert len(source) == int(source.tokens.mask.sum())
    assert source._batch == 3
    again = as_source(source.spec)
    assert again.fingerprint() == source.fingerprint()
    monkeypatch.chdir("/")
    assert as_source(source.spec).fingerprint() == source.fingerprint()


def test_where_nothing_is_said(small, monkeypatch, book):
    monkeypatch.setattr(spec, "default_text", lambda: str(book))
    source = as_source("lm:resident@layers.0")
    assert source.tokens.ids.shape[1] == small.context  # fewer than 256
    assert "tokens=200000" in source.spec


def test_a_store_by_name(tmp_path, monkeypatch):
    store = harvest(language(), tokens(), ["layers.0", "layers.1"], tmp_path / "s", progress=False)
    monkeypatch.chdir(tmp_path)
    source = as_source("store:s@layers.1,layers.0?order=blocks")
    assert source.points == ("layers.1", "layers.0")
    assert len(source) == len(store)
    monkeypatch.chdir("/")
    assert as_source(source.spec).fingerprint() == source.fingerprint()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lm:resident", "does not say where and what: write it as in lm:resident@layers.1"),
        ("lm:@layers.1", "does not say"),
        ("lm:resident@", "does not say"),
        ("store:folder", "write it as in store:activations@layers.1"),
        ("lm:resident@layers.1?token=5", "unknown option of lm: 'token': did you mean 'tokens'"),
        ("lm:resident@layers.1?tokens=many", "tokens='many' is no whole number from 1 on"),
        ("lm:resident@layers.1?skip_special=maybe", "neither 0 nor 1"),
        ("lm:resident@layers.1?context=9999", "takes 64 tokens at a time"),
        ("lm:resident@layer.1?text=samples", "did you mean"),
        ("store:nowhere@layers.1", "nowhere is no store of activations"),
    ],
)
def test_specs_that_mean_nothing(small, name, message, monkeypatch):
    harvesting = sys.modules["isthmus.activations.harvest"]  # not the function of that name
    monkeypatch.setattr(harvesting, "documents", lambda text: [Document("a", TEXT)])
    with pytest.raises(IsthmusError, match=message):
        as_source(name)


def test_a_scheme_of_ones_own():
    schemes.register("ones", lambda rest: as_source(torch.ones(int(rest), 2)))
    try:
        assert len(as_source("ones:7")) == 7
    finally:
        del schemes._OPENERS["ones"]


# --- with the resident model -------------------------------------------------------------------


@pytest.fixture(scope="module")
def resident():
    return open_model("resident")


def test_a_dictionary_on_the_resident_model(book, tmp_path, resident):
    name = str(book).replace("&", "%26")
    data = f"lm:resident@layers.1?text={name}&tokens=600&context=64"
    model = isthmus.fit(
        "topk", data, latent_dim=64, k=4, steps=3, batch_size=128, out=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    assert model.signal.shape == (192,)
    again = as_source(model.config["data"]["spec"])
    assert again.origin.open().revision == resident.revision
    held = text_tokens(resident, str(book), 600, 64)
    assert torch.equal(again.tokens.ids, held.ids)
    with torch.no_grad():
        x = resident.module.embed(held.ids)
        seen = {}
        handle = resident.module.layers[1].register_forward_hook(
            lambda _, args, out: seen.setdefault("x", out)
        )
        resident.module(held.ids)
        handle.remove()
    assert x.shape == seen["x"].shape
    at = again.where(torch.arange(len(again)))
    torch.testing.assert_close(
        again.rows(torch.arange(len(again))), seen["x"][at["row"], at["place"]],
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_the_command_line(book, tmp_path, resident):
    table = run(
        "resident", ["layers.0,layers.3", "layers.1.mlp:in"], tmp_path / "s", text=str(book),
        tokens=300, context=64, progress=False,
    )  # fmt: skip
    store = Store(tmp_path / "s")
    assert store.points == ("layers.0", "layers.3", "layers.1.mlp:in")
    assert store.provenance.runs[0].text == str(book)
    assert f"{len(store):,} tokens of resident" in str(table.title)
    assert "special tokens (such as BOS)" in str(table.title)
    with pytest.raises(IsthmusError, match="choose one of --text and --data"):
        run("resident", ["layers.0"], tmp_path / "s", text="a", data="digits")


def test_the_command_line_for_any_module(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(
        "from torch.nn import Flatten, Linear, Sequential\n"
        "def make():\n    return Sequential(Flatten(), Linear(64, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    run("nets:make", ["1"], tmp_path / "s", data="digits", progress=False)
    store = Store(tmp_path / "s")
    assert store.width("1") == 5
    assert store.provenance.model["name"] == "nets:make"
    assert store.provenance.runs[0].text == "digits"
