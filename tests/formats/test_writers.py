"""What is written for others reads back with the same numbers, here and in the peer itself."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.formats import WRITERS, write
from isthmus.formats.sayable import WORDS
from isthmus.notices import collected
from peers import read

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv" / "peers-formats" / "bin" / "python"
SPARSE = {
    "topk": {"k": 4},
    "topk-threshold": {"k": 4, "threshold": True},
    "topk-grouped": {"k": 4, "grouped": True},
    "llama-scope": {"k": 4},
    "abstopk": {"k": 4},
    "batchtopk": {"k": 4},
    "relu-l1": {},
    "gated": {},
    "jumprelu": {"unit": False, "subtract_bias": False},
    "mp-sae": {"k": 5, "tolerance": 0.6, "until_repeat": True},
    "mp-sae-orthogonal": {"k": 3, "orthogonal": True},
}
RESCALED = "rescale_acts_by_decoder_norm"
CANNOT = {
    "saelens": {"topk-grouped", "mp-sae-orthogonal"},
    "sparsify": {*SPARSE} - {"topk", "topk-grouped", "llama-scope"},
    "dictionary_learning": {"topk-grouped", "abstopk", "mp-sae", "mp-sae-orthogonal"},
}


def rows(n=128, d=6):
    return 3.0 * torch.randn(n, d, generator=torch.Generator().manual_seed(0)) + 1.0


def fitted(name, scaling="global"):
    recipe = re.sub("-(threshold|grouped|orthogonal)$", "", name)
    return isthmus.fit(recipe, rows(), latent_dim=24, steps=6, batch_size=64, lr=3e-2, seed=1,
                       progress=False, scaling=scaling, **SPARSE[name])  # fmt: skip


def refused(model, layout, others, tmp_path):
    """That a layout has no word for a model is said with those that have one, and no other."""
    with pytest.raises(isthmus.IsthmusError, match=WORDS[layout].title) as problem:
        write(model, tmp_path / "out", layout)
    remedy = str(problem.value).partition(": ")[2]
    assert {one for one in WRITERS if WORDS[one].title in remedy} == {*others}
    assert "isthmus.save" in remedy
    assert not (tmp_path / "out").exists()


PAIRS = [(name, layout) for layout in WRITERS for name in SPARSE]


def test_every_layout_that_is_written_has_its_words():
    assert [*WORDS] == [*WRITERS]


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_what_is_written_reads_back(name, layout, tmp_path):
    model, x = fitted(name), rows()
    if name in CANNOT[layout]:
        refused(model, layout, [one for one in WRITERS if name not in CANNOT[one]], tmp_path)
        return
    with collected(quiet=True) as said:
        record = write(model, tmp_path / "out", layout)
    assert all(any(note in sentence for sentence in said) for note in record.notes)
    again = isthmus.from_pretrained(tmp_path / "out")
    codes = model.encode(x)
    if name == "llama-scope":
        assert any("length 1" in note for note in record.notes)
        codes = codes * model.decoder.weight.norm(dim=1) * model.scaler.scale
    if name == "mp-sae":
        assert any("were kept at their length" in note for note in record.notes)
        codes = codes * model.scaler.scale
    torch.testing.assert_close(again.encode(x), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.reconstruct(x), model.reconstruct(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["layer-norm", "layer-norm-topk", "constant-norm"])
def test_rows_normalised_each_by_itself_are_written_for_saelens(case, tmp_path):
    model, x = read(f"saelens/{case}"), rows(d=8)
    write(model, tmp_path / "out")
    again = isthmus.from_pretrained(tmp_path / "out")
    assert again.cfg.normalize_activations == model.cfg.normalize_activations != "none"
    assert torch.equal(again.encode(x), model.encode(x))
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    for layout in ("sparsify", "dictionary_learning"):
        refused(model, layout, ["saelens"], tmp_path / layout)


def test_a_topk_of_unit_atoms_says_that_their_lengths_may_be_folded(tmp_path):
    """What Neuronpedia and SAEDashboard do to every dictionary, and SAELens refuses of others."""
    model, x = fitted("topk"), rows()
    write(model, tmp_path / "scaled")
    assert not json.loads((tmp_path / "scaled" / "cfg.json").read_text())[RESCALED]
    model.fold_scale()
    model.fold_decoder_norm()
    write(model, tmp_path / "unit")
    assert json.loads((tmp_path / "unit" / "cfg.json").read_text())[RESCALED]
    again = isthmus.from_pretrained(tmp_path / "unit")
    torch.testing.assert_close(again.encode(x), model.encode(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_latents_weighed_in_units_of_each_column_are_chosen_alike(layout, tmp_path):
    """One element is much larger, so that atoms have other lengths in the data's own units."""
    x = rows() * torch.tensor([100.0, 1.0, 1.0, 1.0, 1.0, 0.01])
    model = isthmus.fit("llama-scope", x, latent_dim=24, k=4, steps=6, batch_size=64, lr=3e-2,
                        seed=1, progress=False, scaling="columns")  # fmt: skip
    record = write(model, tmp_path / "out", layout)
    assert any("units of the scaled columns" in note for note in record.notes)
    again, codes = isthmus.from_pretrained(tmp_path / "out"), model.encode(x)
    expected = codes * model.decoder.weight.norm(dim=1)
    torch.testing.assert_close(again.encode(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.reconstruct(x), model.reconstruct(x), rtol=1e-4, atol=1e-3)


def test_codes_that_dictionary_learning_changes_as_it_loads_are_said(tmp_path):
    """Its load_dictionary gives the atoms of an AutoEncoder length 1."""
    model = fitted("relu-l1")
    record = write(model, tmp_path / "free", "dictionary_learning")
    assert any("fold_decoder_norm() before writing" in note for note in record.notes)
    model.fold_scale()
    model.fold_decoder_norm()
    assert not write(model, tmp_path / "unit", "dictionary_learning").notes


def test_pursuit_that_saelens_does_not_do_is_not_written(tmp_path):
    model = fitted("mp-sae", scaling="columns")
    with pytest.raises(isthmus.IsthmusError, match="each by itself"):
        write(model, tmp_path / "out")


def test_a_formula_that_no_file_has_is_not_written(tmp_path):
    with pytest.raises(isthmus.IsthmusError, match="n - 1"):
        write(fitted("topk", scaling="rows"), tmp_path / "out")


TRANSCODERS = {
    "relu": ({}, {"saelens"}),
    "relu-skip": ({"skip": True}, {"saelens"}),
    "jumprelu": ({"activation": "jumprelu"}, {"saelens"}),
    "jumprelu-skip": ({"activation": "jumprelu", "skip": True}, {"saelens"}),
    "batchtopk": ({"k": 4, "select": "batch"}, {"saelens"}),
    "topk": ({"k": 4}, {"sparsify"}),
    "topk-skip": ({"k": 4, "skip": True}, {"sparsify"}),
}


def transcoder(name):
    x = rows()
    pair = {"in": x, "out": torch.tanh(x @ rows(6, 5)) + 0.5}
    options = TRANSCODERS[name][0]
    model = isthmus.fit("transcoder", pair, latent_dim=24, steps=6, batch_size=64, lr=3e-2, seed=1,
                        progress=False, **options)  # fmt: skip
    return model, pair


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("name", TRANSCODERS)
def test_transcoders_are_written_where_the_library_has_such(name, layout, tmp_path):
    model, pair = transcoder(name)
    if layout not in TRANSCODERS[name][1]:
        refused(model, layout, TRANSCODERS[name][1], tmp_path)
        return
    write(model, tmp_path / "out", layout)
    again = isthmus.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(again.encode(pair), model.encode(pair), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.reconstruct(pair), model.reconstruct(pair),
                               rtol=1e-4, atol=1e-4)  # fmt: skip
    before = model.reconstruct(pair)
    model.fold_scale()
    torch.testing.assert_close(model.reconstruct(pair), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["topk", "jumprelu-skip"])
def test_transcoders_read_positions(name):
    model, pair = transcoder(name)
    spread = {part: x.reshape(4, 32, -1) for part, x in pair.items()}
    z = model.encode(spread)
    assert torch.equal(z, model.encode(pair).reshape(4, 32, 24))
    assert torch.equal(model.reconstruct(spread), model.reconstruct(pair).reshape(4, 32, 5))
    assert torch.equal(model.score(spread), model.score(pair).reshape(4, 32))
    if name == "topk":
        assert model.decode(z).shape == (4, 32, 5)


def test_a_folder_that_has_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(isthmus.IsthmusError, match="there already"):
        write(fitted("topk"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_no_dictionary_is_not_written(tmp_path):
    model = isthmus.fit("vae", rows(), latent_dim=2, steps=2, progress=False)
    with pytest.raises(
        isthmus.IsthmusError, match=r"no linear dictionary, and other .* keep it as a run"
    ):
        write(model, tmp_path / "out")
    with pytest.raises(isthmus.IsthmusError, match="did you mean 'saelens'"):
        write(fitted("topk"), tmp_path / "out", "saelense")


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="make fixtures builds the peers' environment")
def test_the_peers_read_what_is_written_with_the_same_numbers(tmp_path):
    x = rows()
    save_file({"x": x}, tmp_path / "x.safetensors")
    made = {}
    for name, layout in PAIRS:
        if name not in CANNOT[layout]:
            made[f"{layout}/{name}"] = model = fitted(name)
            write(model, tmp_path / layout / name, layout)
    words = [str(PEER), "-m", "tools.fixtures.readers", str(tmp_path)]
    subprocess.run(words, check=True, cwd=ROOT)
    for case, model in made.items():
        found = load_file(tmp_path / case / "read.safetensors")
        torch.testing.assert_close(found["output"], model.reconstruct(x), rtol=1e-4, atol=1e-4)
        if "llama-scope" not in case:
            codes = model.encode(x)
            codes = codes * model.scaler.scale if "mp-sae" in case else codes
            torch.testing.assert_close(found["codes"], codes, rtol=1e-4, atol=1e-4)
