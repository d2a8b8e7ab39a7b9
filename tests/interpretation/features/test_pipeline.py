"""Features of a text and of other rows, from the model to the folder and back."""

import json

import numpy as np
import pytest
import torch

import isthmus
from isthmus.activations import Streamed, harvest
from isthmus.anatomy import Source
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.interpretation import Settings, read_features, source_features, text_features
from isthmus.interpretation.features import pipeline
from isthmus.interpretation.features.collection import encoded
from isthmus.interpretation.features.stream import Block, source_blocks
from isthmus.interpretation.labels.evidence import silent_windows
from isthmus.interpretation.labels.windows import explained_latents, read_windows

from ..made import BOS, POINT, WIDTH, dictionary, language, ordinary, residual, tokens

HOST, TEXT = language(), tokens(rows=90, places=20, documents=9)
INSIDE = ordinary(TEXT)
X = residual(HOST, TEXT)[INSIDE]
ROW, PLACE = (a.numpy() for a in INSIDE.nonzero(as_tuple=True))
SMALL = Settings(top=4, each=3, before=4, after=2, listed=5, windows=40)


@pytest.fixture(scope="module")
def model():
    return dictionary(x=X, scaling="columns")


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return text_features(
        HOST, POINT, model, TEXT, out, text="letters", settings=SMALL, progress=False
    )


def test_the_folder_holds_what_it_should(found, model):
    assert found.about["model"] == "made"
    assert found.about["point"] == POINT
    assert found.about["text"] == "letters"
    assert found.about["tokens"] == len(X)
    assert found.about["latents"] == len(found) == 48
    assert sorted(p.name for p in found.folder.iterdir()) == [
        "about.json", "examples.parquet", "latents.parquet", "windows.parquet",
    ]  # fmt: skip
    assert [p.name for p in found.folder.parent.iterdir()] == ["features"]
    assert found.folder.stat().st_mode & 0o055 == 0o055


def test_the_columns_are_those_of_the_dense_code(found, model):
    z = model.encode(X).numpy()
    np.testing.assert_allclose(found.column("rate"), (z > 0).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.column("top"), z.max(0), rtol=1e-5)
    rows = model.decoder.weight.detach() * model.scaler.scale
    np.testing.assert_allclose(found.column("norm"), rows.norm(dim=1), rtol=1e-5)
    j = int((z > 0).sum(0).argmax())
    latent = found.latent(j)
    assert latent["latent"] == j
    effects = rows @ HOST.unembedding.T
    assert latent["up"] == HOST.tokenizer.pieces(effects[j].topk(5).indices.tolist())
    np.testing.assert_allclose(latent["down_values"], -(-effects[j]).topk(5).values, rtol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(rows[j], rows, dim=1)
    cosine[j] = -1
    assert latent["near"] == cosine.topk(5).indices.tolist()
    np.testing.assert_allclose(latent["near_cosine"], cosine.topk(5).values, rtol=1e-4)
    mass = np.bincount(TEXT.ids[INSIDE].numpy(), z[:, j], 40) / z[:, j].sum()
    order = np.argsort(-mass, kind="stable")[:5]
    order = order[mass[order] > 0]
    assert latent["tokens"] == HOST.tokenizer.pieces(order.tolist())
    np.testing.assert_allclose(latent["token_shares"], mass[order], rtol=1e-4)
    assert sum(latent["histogram"]) == (z[:, j] > 0).sum()
    phi = np.corrcoef((z > 0).T)[j][latent["joint"]] if (z > 0).any(0).all() else None
    if phi is not None:
        np.testing.assert_allclose(latent["joint_value"], phi, rtol=1e-3)


def test_examples_show_the_text_and_the_latent(found, model):
    z = np.zeros((*TEXT.ids.shape, 48), np.float32)
    z[ROW, PLACE] = model.encode(X).numpy()
    seen = 0
    for j in range(48):
        for example in found.examples(j):
            lengths = int(TEXT.mask[example.row].sum())
            assert example.begin == max(0, example.place - 4)
            end = min(lengths, example.place + 3)
            pieces = HOST.tokenizer.pieces(TEXT.ids[example.row, example.begin : end].tolist())
            assert example.tokens == pieces
            expected = z[example.row, example.begin : end, j]
            np.testing.assert_allclose(example.values, expected, rtol=1e-2)
            assert example.value == pytest.approx(z[example.row, example.place, j], rel=1e-5)
            assert example.values[example.place - example.begin] == example.value
            assert example.document == int(TEXT.document[example.row])
            seen += 1
    assert seen > 500


def test_windows_name_what_fires_and_share_no_row_with_the_other_split(found, model):
    z = np.zeros((*TEXT.ids.shape, 48), np.float32)
    z[ROW, PLACE] = model.encode(X).numpy()
    windows, examples = found.table("windows").to_pylist(), found.table("examples").to_pylist()
    assert len(windows) == 40
    for window in windows:
        part = slice(window["begin"], window["begin"] + len(window["tokens"]))
        assert window["tokens"] == HOST.tokenizer.pieces(TEXT.ids[window["row"], part].tolist())
        assert window["latents"] == np.flatnonzero(z[window["row"], part].any(0)).tolist()
    rows = [{e["row"] for e in [*windows, *examples] if e["split"] == s} for s in (0, 1)]
    assert rows[0]
    assert rows[1]
    assert not rows[0] & rows[1]


@pytest.mark.parametrize("batch", [1, 17])
def test_the_batches_change_nothing(found, model, tmp_path, batch):
    other = text_features(
        HOST, POINT, model, TEXT, tmp_path, text="letters", settings=SMALL, batch=batch,
        progress=False,
    )  # fmt: skip
    one, two = (f.table("windows").to_pylist() for f in (found, other))
    assert one == two
    # Rows that begin with the same tokens have one value there, in numbers; in float32 they differ
    # by the last bit, which way depends on the batch. Only such a row may stand in for another.
    one, two = (f.table("examples").to_pylist() for f in (found, other))
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a["value"] == pytest.approx(b["value"], rel=1e-5)
        assert all(a[k] == b[k] for k in ("latent", "group", "split", "place", "begin"))
        start, end = a["begin"], a["place"] + 1
        assert a["tokens"][: end - start] == b["tokens"][: end - start]
        assert TEXT.ids[a["row"], :end].tolist() == TEXT.ids[b["row"], :end].tolist()
    np.testing.assert_allclose(found.column("mean"), other.column("mean"), rtol=1e-4)


def test_special_tokens_count_only_if_asked(found, model, tmp_path):
    every = text_features(
        HOST, POINT, model, TEXT, tmp_path, settings=SMALL, skip_special=False, progress=False
    )
    assert every.about["tokens"] == int(TEXT.mask.sum())
    pieces = {t for j in range(48) for t in found.latent(j)["tokens"]}
    assert HOST.tokenizer.pieces([BOS])[0] not in pieces


def test_a_source_that_knows_its_text_gives_the_same(found, model, tmp_path):
    streamed = Streamed(HOST, TEXT, [POINT], text="letters", batch=7)
    stored = harvest(HOST, TEXT, [POINT], tmp_path / "store", dtype="float32", progress=False)
    for number, source in enumerate((streamed, stored.source(POINT))):
        if number:
            source = Opened(source)
        out = tmp_path / str(number)
        other = source_features(source, model, out, settings=SMALL, progress=False)
        assert other.about["tokens"] == found.about["tokens"]
        np.testing.assert_allclose(other.column("mean"), found.column("mean"), rtol=1e-4)
        for j in range(0, 48, 7):
            ones, twos = found.examples(j), other.examples(j)
            assert [(e.row, e.place, e.group) for e in ones] == [
                (e.row, e.place, e.group) for e in twos
            ]
            assert [e.tokens for e in ones] == [e.tokens for e in twos]
            assert found.latent(j)["up"] == other.latent(j)["up"]


class Opened:
    """A stored source whose language model is at hand (a name of the tests cannot be opened)."""

    def __init__(self, source):
        self.source, self.signal, self.where = source, source.signal, source.where

    def __len__(self):
        return len(self.source)

    def rows(self, index):
        return self.source.rows(index)

    @property
    def origin(self):
        plain = self.source.origin
        return type(plain)(
            plain.model, plain.revision, plain.points, plain.text, plain.tokens, HOST
        )


def test_rows_without_a_text(model, tmp_path):
    source = as_source(X.numpy())
    found = source_features(source, model, tmp_path, settings=SMALL, progress=False)
    z = model.encode(X).numpy()
    np.testing.assert_allclose(found.column("rate"), (z > 0).mean(0), rtol=1e-5)
    j = int((z > 0).sum(0).argmax())
    latent = found.latent(j)
    assert latent["tokens"] == latent["up"] == []
    assert len(latent["near"]) == 5
    strongest = [e for e in found.examples(j) if e.group == 0]
    assert [e.row for e in strongest] == np.argsort(-z[:, j])[:4].tolist()
    assert all(e.tokens == [] and e.values == [e.value] and e.place == 0 for e in strongest)
    with pytest.raises(IsthmusError, match=r"windows\.parquet"):
        found.table("windows")


def test_rows_with_nan_are_an_error(model, tmp_path):
    class Broken(Source):
        signal = model.signal

        def __len__(self):
            return 5

        def rows(self, index):
            return torch.full((len(index), WIDTH), torch.nan)

    with pytest.raises(IsthmusError, match="NaN"):
        source_features(Broken(), model, tmp_path, settings=SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_text_are_kept_whole():
    source = Streamed(HOST, TEXT, [POINT], batch=7)
    found = list(source_blocks(source, batch=97))
    rows = [set(block.row) for block in found]
    assert sum(map(len, rows)) == len(set().union(*rows)) == len(TEXT)
    for block in found:
        keys = block.row * 1000 + block.place
        assert (np.diff(keys) > 0).all()
    at = np.concatenate([b.row * 1000 + b.place for b in found])
    x = torch.cat([b.activations for b in found])
    assert sorted(at.tolist()) == (ROW * 1000 + PLACE).tolist()
    torch.testing.assert_close(x[torch.from_numpy(np.argsort(at))], X)


@pytest.mark.parametrize("recipe", ["relu-l1", "abstopk", "plain", "qlae"])
def test_codes_of_all_kinds(recipe, tmp_path):
    """Dense codes fire where positive, signed ones where not zero, codebooks by their entries."""
    from isthmus.anatomy import DiscreteCode, Signal, SparseCode
    from isthmus.recipes import get_recipe

    page = get_recipe(recipe)
    wanted = {"latent_dim": 8, "k": 3, "entries": 4, "hidden": (8,)}
    options = {k: v for k, v in wanted.items() if k in page.model_options.model_fields}
    torch.manual_seed(0)
    built = page.build(Signal("vector", (WIDTH,)), page.parse(options)[0])
    with torch.no_grad():
        built.prepare(X)
    found = source_features(as_source(X.numpy()), built, tmp_path, settings=SMALL, progress=False)
    code = built.encode(X, code=True)
    if isinstance(code, DiscreteCode):
        size, positions = code.codebook_size, code.indices.shape[1]
        on = torch.nn.functional.one_hot(code.indices, size).float()
        on = on.flatten(1) if code.per_position else on.amax(1)
        assert on.shape[1] in (size, size * positions)
    else:
        z = code.z
        on = (z != 0 if isinstance(code, SparseCode) else z > 0).float()
    np.testing.assert_allclose(found.column("rate"), on.mean(0), rtol=1e-5)
    if recipe == "abstopk":
        assert min(found.column("mean")) < 0
        j = int(found.column("rate").argmax())
        assert found.latent(j)["histogram_low"] < 0 < found.latent(j)["histogram_high"]


@pytest.mark.parametrize("recipe", ["transcoder", "crosscoder"])
def test_what_reads_points_by_name_is_given_those_that_it_reads(recipe):
    """A transcoder the first alone, with or without the others at hand; a crosscoder all."""
    rows = {"a": X, "b": torch.randn_like(X)}
    model = isthmus.fit(
        recipe, rows, latent_dim=48, k=4, steps=3, batch_size=len(X), progress=False
    )
    z, row = model.encode(rows), np.arange(len(X))
    for activations in (rows, X):
        block = Block(activations, row, 0 * row, row)
        if recipe == "crosscoder" and activations is X:
            with pytest.raises(IsthmusError, match="reads 'a', 'b' together"):
                encoded(model, block)
            continue
        with torch.no_grad():
            entries, latents = encoded(model, block)
        dense = torch.zeros(len(X), latents)
        dense[entries.token, entries.latent] = torch.from_numpy(entries.value)
        torch.testing.assert_close(dense, z)
    with pytest.raises(IsthmusError, match="a part for 'a'"):
        encoded(model, Block({"c": X}, row, 0 * row, row))


def test_labels_find_where_a_latent_is_silent(found, model):
    """The windows are read as evidence, and what is said to be silent is silent."""
    z = np.zeros((*TEXT.ids.shape, 48), np.float32)
    z[ROW, PLACE] = model.encode(X).numpy()
    some = explained_latents(found.folder.parent, None)
    assert some == np.flatnonzero(z.any((0, 1))).tolist()
    ((latents, windows),) = read_windows(found.folder.parent, some)
    assert windows.exact
    rng = np.random.default_rng(0)
    for j in latents:
        for split in (0, 1):
            for w in silent_windows(windows, j, split, 10, rng):
                begin = windows.begin[w]
                assert not z[windows.row[w], begin : begin + windows.length[w], j].any()


def test_nothing_is_left_of_an_attempt_that_fails(model, tmp_path, monkeypatch):
    def broken(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr(pipeline, "example_table", broken)
    with pytest.raises(RuntimeError, match="broken"):
        text_features(HOST, POINT, model, TEXT, tmp_path, settings=SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_features_are_replaced_only_if_asked(model, tmp_path):
    text = TEXT.rows(torch.arange(20))
    first = text_features(HOST, POINT, model, text, tmp_path, settings=SMALL, progress=False)
    (first.folder / "labels.parquet").write_bytes(b"labels")
    with pytest.raises(IsthmusError, match="overwrite=True"):
        text_features(HOST, POINT, model, TEXT, tmp_path, settings=SMALL, progress=False)
    assert read_features(tmp_path).about == first.about
    second = text_features(
        HOST, POINT, model, TEXT, tmp_path, settings=SMALL, overwrite=True, progress=False
    )
    assert second.about["tokens"] > first.about["tokens"]
    assert not (second.folder / "labels.parquet").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["features"]


def test_what_cannot_be_read_is_said(found, tmp_path):
    with pytest.raises(IsthmusError, match="holds no features"):
        read_features(tmp_path)
    with pytest.raises(IsthmusError, match="no latent 48"):
        found.latent(48)
    with pytest.raises(IsthmusError, match="latents"):
        found.table("latent")
    with pytest.raises(IsthmusError, match="rate"):
        found.column("rates")
    assert read_features(found.folder).about == read_features(found.folder.parent).about
    (tmp_path / "about.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(IsthmusError, match="format 99"):
        read_features(tmp_path)
    (tmp_path / "about.json").write_text("{")
    with pytest.raises(IsthmusError, match="damaged"):
        read_features(tmp_path)


@pytest.mark.parametrize("wrong", [{"top": 0}, {"each": 0}, {"before": -1}, {"windows": 0}])
def test_settings_that_keep_nothing_are_an_error(wrong):
    with pytest.raises(IsthmusError):
        Settings(**wrong)
