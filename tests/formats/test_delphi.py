"""The cache that is written is, file by file, the one that delphi writes."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as arrays
from safetensors.torch import load_file

import isthmus
from isthmus.formats import delphi
from peers import FIXTURES

FOLDER = FIXTURES / "delphi"
ABOUT = {"module": "layers.3.mlp", "model_name": "made/model"}


def given():
    found = load_file(FOLDER / "given.safetensors")
    return found["tokens"], found["codes"]


def batches(size=2):
    tokens, codes = given()
    return zip(tokens.split(size), codes.split(size), strict=True)


@pytest.mark.parametrize("size", [2, 4])
def test_files_are_those_that_delphi_writes(tmp_path, size):
    delphi.write_cache(batches(size), tmp_path, splits=3, **ABOUT)
    own, peer = tmp_path / "layers.3.mlp", FOLDER / "layers.3.mlp"
    names = sorted(path.name for path in peer.glob("*.safetensors"))
    assert names == sorted(path.name for path in own.glob("*.safetensors"))
    assert len(names) == 3
    for name in names:
        ours, theirs = arrays(own / name), arrays(peer / name)
        assert {*ours} == {*theirs}
        for key, array in theirs.items():
            assert ours[key].dtype == array.dtype
            assert np.array_equal(ours[key], array)


def test_settings_say_of_what(tmp_path):
    path = delphi.write_cache(batches(), tmp_path, dataset="made/text", **ABOUT)
    about = json.loads((path / "config.json").read_text())
    assert about["model_name"] == "made/model"
    assert (about["n_tokens"], about["cache_ctx_len"], about["n_splits"]) == (96, 16, 5)
    assert about["dataset_repo"] == "made/text"


def test_latents_that_never_fire_have_an_empty_file(tmp_path):
    tokens, codes = given()
    codes[:, :, :8] = 0.0
    path = delphi.write_cache([(tokens, codes)], tmp_path, splits=3, **ABOUT)
    assert arrays(path / "0_7.safetensors")["locations"].shape == (0, 3)


def test_wide_numbers_are_stored_where_latents_are_many(tmp_path):
    tokens, _ = given()
    codes = torch.zeros(6, 16, 70_000)
    codes[2, 3, 69_999] = 1.5
    path = delphi.write_cache([(tokens, codes)], tmp_path, splits=1, **ABOUT)
    found = arrays(path / "0_69999.safetensors")
    assert found["locations"].dtype == np.uint32
    assert found["locations"].tolist() == [[2, 3, 69_999]]


def changed(how):
    tokens, codes = given()
    if how == "shape":
        return [(tokens[:, :5], codes)]
    if how == "lengths":
        return [(tokens, codes), (tokens[:, :5], codes[:, :5])]
    if how == "large":
        return [(tokens, codes * 1e6)]
    if how == "half a token":
        return [(tokens + 0.5, codes)]
    if how == "below":
        return [(tokens - 10_000, codes)]
    if how == "no row":
        return [(tokens[:0], codes[:0])]
    if how == "nan":
        codes[0, 1, 2] = torch.nan
        return [(tokens, codes)]
    return []


REFUSED = {"shape": "do not fit", "lengths": "one length", "large": "half precision",
           "nan": "not finite", "nothing": "no text", "half a token": "whole and from 0",
           "below": "whole and from 0", "no row": "no text"}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_delphi_could_not_read_is_refused(how, tmp_path):
    with pytest.raises(isthmus.IsthmusError, match=REFUSED[how]):
        delphi.write_cache(changed(how), tmp_path, **ABOUT)
    assert not (tmp_path / "layers.3.mlp").exists()


def test_a_cache_that_is_there_and_too_many_files_are_refused(tmp_path):
    with pytest.raises(isthmus.IsthmusError, match="divided into 25"):
        delphi.write_cache(batches(), tmp_path, splits=25, **ABOUT)
    delphi.write_cache(batches(), tmp_path, **ABOUT)
    with pytest.raises(isthmus.IsthmusError, match="there already"):
        delphi.write_cache(batches(), tmp_path, **ABOUT)


@pytest.mark.parametrize("module", ["../out", "/out", "..", ""])
def test_a_module_is_a_name_and_no_other_place(module, tmp_path):
    with pytest.raises(isthmus.IsthmusError, match="is no name of a module"):
        delphi.write_cache(batches(), tmp_path / "in", **{**ABOUT, "module": module})
    assert not (tmp_path / "out").exists()
