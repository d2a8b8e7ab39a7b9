"""What is written of a run says which model and point it was fitted to."""

import json

import numpy as np
import pytest

import isthmus
from isthmus.activations import harvest
from isthmus.formats import card, write
from isthmus.formats.read_from import _lens, host_of
from isthmus.language import documents, open_model, pack

TINY = {"steps": 2, "latent_dim": 32, "progress": False}
TOKENS = "tokens=600&text=samples"


def settings(model, folder):
    write(model, folder)
    return json.loads((folder / "cfg.json").read_text())["metadata"]


def test_of_a_language_model(tmp_path):
    model = isthmus.fit("topk", f"lm:resident@layers.1?{TOKENS}", k=4, **TINY)
    about = settings(model, tmp_path / "out")
    assert (about["model_name"], about["hf_hook_name"]) == ("resident", "layers.1")
    again = isthmus.from_pretrained(tmp_path / "out")
    assert again.cfg.model_name == "resident"
    assert again.cfg.metadata["module"] == "layers.1"


def test_of_a_store_and_of_a_transcoder(tmp_path):
    points = ("layers.1.mlp:in", "layers.1.mlp")
    host = open_model("resident")
    tokens = pack(documents("samples"), host.tokenizer, 64, 400)
    harvest(host, tokens, points, tmp_path / "store", progress=False)
    store = f"store:{tmp_path / 'store'}@"
    model = isthmus.fit("topk", store + points[0], k=4, **TINY)
    isthmus.save(model, tmp_path / "run")
    about = settings(isthmus.load(tmp_path / "run"), tmp_path / "out")
    assert about["model_name"] == "resident"
    assert "hf_hook_name" not in about  # the path of a module says its output
    record = write(model, tmp_path / "other", "sparsify")
    assert (record.module, record.side) == ("layers.1.mlp", "in")
    both = isthmus.fit("transcoder", store + ",".join(points), k=4, **TINY)
    record = write(both, tmp_path / "both", "sparsify")
    assert (record.module, record.side) == ("layers.1.mlp", "in")
    assert (record.module_out, record.side_out) == ("layers.1.mlp", "out")


def test_of_rows_nothing_is_said(tmp_path):
    rows = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    about = settings(isthmus.fit("topk", rows, k=4, **TINY), tmp_path / "out")
    assert about["model_name"] is None
    assert "hf_hook_name" not in about


@pytest.mark.parametrize(
    ("spec", "host"),
    [
        ("lm:google/gemma-2-2b@model.layers.3?tokens=9", "google/gemma-2-2b"),
        ("lm:/home/me/models/tuned@layers.*", "tuned"),
        ("store:/nowhere@layers.1", None),
        ("digits", None),
        (None, None),
    ],
)
def test_a_host_is_told_and_no_place_of_a_machine(spec, host):
    assert host_of({"data": {"spec": spec}}) == host


def test_a_card_names_a_host_of_the_hub():
    rows = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    model = isthmus.fit("topk", rows, k=4, **TINY)
    assert "base_model" not in card(model)
    model.config["data"] = {"spec": "lm:google/gemma-2-2b@model.layers.3"}
    assert 'base_model: "google/gemma-2-2b"' in card(model)


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ("transformer.h.3", "blocks.3.hook_resid_post"),
        ("model.layers.12", "blocks.12.hook_resid_post"),
        ("model.layers.12.mlp", None),  # Gemma 2 has a norm behind it
        ("layers.1", None),
    ],
)
def test_a_name_is_given_where_all_families_agree(point, name):
    assert _lens(point) == name
