"""Stores that grow: no row twice, sinks left out, large dimensions beside small, moved folders."""

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus import notices
from isthmus.activations import Store, Streamed, formats, harvest
from isthmus.activations.feed_factory import TextFeed
from isthmus.activations.norms import checked_norm
from isthmus.activations.relocation import found_again
from isthmus.activations.spec import norm_named
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.language import Document, LanguageModel, pack
from isthmus.pages.run_page import written

from .tiny import Letters, Model, language, tokens


@pytest.fixture
def said():
    notices.forget()
    with notices.collected() as lines:
        yield lines


def stored(host, text, folder, **options):
    options = {"dtype": "float32", "batch": 4, "shard": 50, "progress": False, **options}
    return harvest(host, text, "layers.1", folder, **options)


def contents(store):
    """Every token with its row's beginning: what must be there once."""
    at = store.where(torch.arange(len(store)))
    ids, mask = store.tokens.ids, store.tokens.mask
    return sorted(
        tuple(ids[row][: place + 1][mask[row][: place + 1]].tolist())
        for row, place in zip(at["row"].tolist(), at["place"].tolist(), strict=True)
    )


def text_of(*parts, limit=None):
    documents = [Document(f"d{i}", part) for i, part in enumerate(parts)]
    return pack(documents, Letters(), 8, limit)


LONG = "abcdefghijklmnopqrstuvwxyz" * 3
OTHER = "the quick brown fox jumps over"


def test_the_same_text_twice_is_said_and_adds_nothing(tmp_path, said):
    host, text = language(), tokens()
    first = stored(host, text, tmp_path / "s")
    again = stored(host, text, tmp_path / "s")
    assert len(again) == len(first)
    assert any("nothing was added" in line for line in said)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"limit": 20}, {"limit": None}),  # some rows, the last cut short; then all
        ({"limit": None}, {"limit": 20}),
        ({"limit": 33}, {"limit": 60}),
    ],
)
def test_more_of_a_text_doubles_nothing(first, second, tmp_path, said):
    host = language()
    stored(host, text_of(LONG, OTHER, **first), tmp_path / "s")
    store = stored(host, text_of(LONG, OTHER, **second), tmp_path / "s")
    found = contents(store)
    assert len(found) == len(set(found)) or _doubled(LONG, OTHER) >= len(found) - len(set(found))
    assert any("already" in line for line in said)
    whole = contents(stored(host, text_of(LONG, OTHER), tmp_path / "whole"))
    if None in (first["limit"], second["limit"]):
        assert found == whole


def _doubled(*parts):
    """Tokens that the text itself has twice behind the same beginning."""
    text = text_of(*parts)
    seen = [tuple(row[: n + 1].tolist()) for row, m in zip(text.ids, text.mask, strict=True)
            for n in range(1, int(m.sum()))]  # fmt: skip
    return len(seen) - len(set(seen))


def test_other_texts_are_added_and_a_part_that_both_have_once(tmp_path, said):
    host = language()
    stored(host, text_of(LONG), tmp_path / "s")
    before = len(Store(tmp_path / "s"))
    store = stored(host, text_of(OTHER, LONG), tmp_path / "s")
    alone = stored(host, text_of(OTHER), tmp_path / "other")
    assert len(store) == before + len(alone)
    one = store.rows("layers.1", torch.arange(before, len(store)))
    torch.testing.assert_close(one, alone.rows("layers.1", torch.arange(len(alone))))
    assert Store(tmp_path / "s").provenance.runs[1].left_out["stored"] == before


def test_rows_of_a_source_come_once(tmp_path):
    net, x = nn.Sequential(nn.Linear(3, 2)), torch.randn(10, 3)
    for rows in (x[:6], x, x[2:4]):
        store = harvest(net, as_source(rows), "0", tmp_path / "s", dtype="float32", progress=False)
    with torch.no_grad():
        assert torch.equal(store.rows("0", torch.arange(len(store))), net(x))


# --- norms ---------------------------------------------------------------------------------------


class Sinks(Model):
    """A model that puts something large on the first letter of each row, and on the letter 9."""

    def forward(self, tokens, attention_mask=None):
        x = self.embed(tokens)
        large = torch.zeros(tokens.shape)
        large[:, 1] = 1.0
        large[tokens == 9] = 1.0
        x = x + 300.0 * large[..., None]
        return self.layers[0].mlp(self.layers[1].mlp(x)) + self.seen(x)

    def __init__(self):
        super().__init__()
        self.seen = nn.Identity()


def sinking():
    torch.manual_seed(0)
    return LanguageModel("sinks", "0", Sinks().eval().requires_grad_(False), Letters(), 64)


def large_of(text):
    keep = text.mask & (text.ids > 1)
    large = torch.zeros_like(keep)
    large[:, 1] = True
    return keep, keep & (large | (text.ids == 9))


@pytest.mark.parametrize("shard", [7, 50, 1000])
def test_tokens_of_large_norm_are_left_out_and_counted(shard, tmp_path, said):
    text = tokens(rows=20)
    keep, large = large_of(text)
    store = harvest(sinking(), text, "seen", tmp_path / "s", dtype="float32", batch=4,
                    shard=shard, progress=False)  # fmt: skip
    assert len(store) == int((keep & ~large).sum())
    assert store.provenance.runs[0].left_out["norm"] == int(large.sum())
    assert store.provenance.max_norm == 10.0
    at = store.where(torch.arange(len(store)))
    assert torch.equal(at["token"], text.ids[keep & ~large])
    rows = store.rows("seen", torch.arange(len(store)))
    torch.testing.assert_close(store.mean("seen"), rows.mean(0), rtol=1e-4, atol=1e-5)
    assert float(rows.norm(dim=1).max()) < 100
    assert any(f"{int(large.sum())} of {int(keep.sum())} tokens" in line for line in said)
    store.verify()


def test_all_are_kept_where_that_is_asked_for(tmp_path, said):
    text = tokens(rows=20)
    keep, _ = large_of(text)
    store = harvest(sinking(), text, "seen", tmp_path / "s", max_norm=None, progress=False)
    assert len(store) == int(keep.sum())
    assert not said
    with pytest.raises(IsthmusError, match="other max_norm"):
        harvest(sinking(), text, "seen", tmp_path / "s", max_norm=5, progress=False)


def test_a_killed_harvest_that_leaves_rows_out_goes_on(tmp_path, monkeypatch):
    text = tokens(rows=20)
    whole = harvest(sinking(), text, "seen", tmp_path / "whole", batch=4, shard=20, progress=False)
    run, calls = TextFeed.run, []

    def failing(self, rows):
        calls.append(rows)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(self, rows)

    monkeypatch.setattr(TextFeed, "run", failing)
    with pytest.raises(KeyboardInterrupt):
        harvest(sinking(), text, "seen", tmp_path / "s", batch=4, shard=20, progress=False)
    monkeypatch.setattr(TextFeed, "run", run)
    store = harvest(sinking(), text, "seen", tmp_path / "s", batch=4, shard=20, progress=False)
    index = torch.arange(len(whole))
    assert torch.equal(store.rows("seen", index), whole.rows("seen", index))
    assert store.provenance.runs == whole.provenance.runs


def test_streamed_rows_leave_out_places_and_tokens(said):
    text = tokens(rows=20)
    keep, large = large_of(text)
    source = Streamed(sinking(), text, "seen", batch=10)
    assert len(source) == int((keep & ~large).sum())
    assert any("place 1 of every row" in line for line in said)
    assert len(Streamed(sinking(), text, "seen", batch=10, max_norm=None)) == int(keep.sum())


@pytest.mark.parametrize("wrong", [0, 1, -3, float("nan"), True, "ten"])
def test_factors_that_are_none(wrong):
    with pytest.raises(IsthmusError, match="times the median norm"):
        checked_norm(wrong)


def test_factors_as_they_are_written():
    assert norm_named(None) == "auto"
    assert norm_named("None") is None
    assert norm_named("25") == 25.0
    with pytest.raises(IsthmusError, match="times the median norm"):
        norm_named("many")


# --- 8 bits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 64, 2048])
def test_large_dimensions_take_nothing_from_the_others(width):
    torch.manual_seed(0)
    x = torch.randn(200, width)
    wide = x.clone()
    wide[:, : min(2, width - 1)] *= 300
    rest = slice(min(2, width - 1), None)

    def error(outliers):
        held = formats.encode(wide, "int8", outliers)
        column = formats.Column.of({k: torch.from_numpy(v) for k, v in held.items()}, "int8")
        out = torch.empty_like(wide)
        column.take(np.arange(200), out)
        return out, float((out - wide)[:, rest].norm() / wide[:, rest].norm())

    apart = formats.outliers_of("int8", width)
    (_, before), (found, after) = error(0), error(apart)
    assert before > 0.2
    assert after < 0.02
    bound = wide.abs().sort(1).values[:, -apart - 1] / 254 if apart < width else torch.zeros(200)
    assert bool(((found - wide).abs().amax(1) <= bound * 1.0001 + 1e-9).all())


def test_a_store_of_8_bits_keeps_both(tmp_path):
    text = tokens(rows=20)
    exact = stored(language(width=8), text, tmp_path / "exact")
    store = stored(language(width=8), text, tmp_path / "s", dtype="int8")
    index = torch.arange(len(store)).flip(0)
    a, b = exact.rows("layers.1", index), store.rows("layers.1", index)
    assert float((a - b).norm() / a.norm()) < 0.01
    assert store.provenance.points["layers.1"].outliers == 4
    store.verify()


# --- moved ---------------------------------------------------------------------------------------


def test_paths_are_found_again_beside_the_run(tmp_path, said):
    (tmp_path / "new" / "texts").mkdir(parents=True)
    (tmp_path / "new" / "texts" / "a.txt").write_text("a")
    old = str(tmp_path / "old" / "texts" / "a.txt")
    assert found_again(old, tmp_path / "new" / "runs" / "r") == str(
        tmp_path / "new" / "texts" / "a.txt"
    )
    assert any("is not there any more" in line for line in said)
    assert found_again("resident", tmp_path) == "resident"
    assert found_again(old, tmp_path / "elsewhere") == old


@pytest.mark.slow
def test_a_project_that_was_moved_goes_on(tmp_path, monkeypatch):
    old = tmp_path / "old"
    old.mkdir()
    monkeypatch.chdir(old)
    (old / "notes.txt").write_text("The whale came up, and the sea was calm. " * 30)
    spec = "lm:resident@layers.0?text=notes.txt&tokens=300&context=32"

    options = {"latent_dim": 32, "k": 4, "steps": 4, "batch_size": 32, "progress": False}
    isthmus.fit("topk", spec, out="runs/whole", **options)
    old.rename(tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    place, missing = written(tmp_path / "new" / "runs" / "whole", progress=False)
    assert not missing
    assert place.exists()
    (tmp_path / "new" / "notes.txt").unlink()
    _, missing = written(tmp_path / "new" / "runs" / "whole", progress=False)
    assert "Nothing was measured" in missing[0]
