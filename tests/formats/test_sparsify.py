"""Files of clt-training, which grew out of sparsify: a layer alone is read, more is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from peers import FIXTURES, read

PLAIN = {
    "n_targets": 0, "n_sources": 0, "normalize_io": False, "post_encoder_scale": False,
    "coalesce_topk": "none", "topk_coalesced": False, "divide_cross_layer": False,
    "per_source_tied": False, "secondary_target_tied": False, "dtype": "none", "tp_output": True,
    "train_post_encoder": True, "use_fp8": False,
}  # fmt: skip


def written(tmp_path, post=0.0, **settings):
    """A transcoder of one layer as clt-training writes it, with settings changed."""
    folder = tmp_path / "layer"
    shutil.copytree(FIXTURES / "sparsify" / "skip-transcoder", folder)
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg.pop("multi_topk")
    (folder / "cfg.json").write_text(json.dumps({**cfg, **PLAIN, **settings}))
    content = load_file(folder / "sae.safetensors")
    content["post_enc"] = torch.full((len(content["encoder.bias"]),), post)
    save_file(content, folder / "sae.safetensors")
    return folder


def test_a_transcoder_of_one_layer_is_what_sparsify_would_compute(tmp_path):
    model, plain = isthmus.from_pretrained(written(tmp_path)), read("sparsify/skip-transcoder")
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "W_skip"):
        assert torch.equal(getattr(model, name), getattr(plain, name))
    assert model.cfg.k == plain.cfg.k


REFUSED = {
    "targets": ({"n_targets": 6}, "n_targets=6"),
    "scaled": ({"normalize_io": True}, "normalize_io=True"),
    "added": ({"post": 0.1}, "post_enc"),
    "unknown": ({"gates": 2}, "gates"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_no_recipe_computes_is_refused(how, tmp_path):
    settings, said = REFUSED[how]
    with pytest.raises(isthmus.IsthmusError, match=said):
        isthmus.from_pretrained(written(tmp_path, **settings))
