"""A folder with the files of two dictionaries is read as neither, and one with more files is."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

import isthmus
from damaged import copied
from isthmus.formats import inspect
from peers import FIXTURES


def both(readers, folder, *names):
    for read in readers:
        with pytest.raises(isthmus.IsthmusError, match="holds two dictionaries") as problem:
            read(folder)
        for name in names:
            assert name in str(problem.value)
        assert "\n" not in str(problem.value)


READERS = (isthmus.from_pretrained, inspect)


def test_of_saelens_and_of_sparsify(tmp_path):
    folder = copied("saelens/topk", tmp_path)
    shutil.copy(FIXTURES / "sparsify" / "topk" / "sae.safetensors", folder)
    both(READERS, folder, "SAELens (sae_weights.safetensors)", "sparsify (sae.safetensors)")
    assert isthmus.from_pretrained(folder, format="saelens").cfg.metadata["format"] == "saelens"


def test_of_saelens_and_of_dictionary_learning(tmp_path):
    folder = copied("saelens/jumprelu", tmp_path)
    for name in ("ae.pt", "config.json"):
        shutil.copy(FIXTURES / "dictionary_learning" / "batchtopk" / name, folder)
    both(READERS, folder, "SAELens", "dictionary_learning", "(ae.pt)")
    one = isthmus.from_pretrained(folder, format="dictionary_learning")
    assert one.cfg.metadata["format"] == "dictionary_learning"


def saved(folder):
    """A run of this library."""
    rows = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    model = isthmus.fit("topk", rows, latent_dim=12, k=2, steps=2, progress=False)
    isthmus.save(model, folder)


def test_what_a_run_says_itself_is_not_passed(tmp_path):
    saved(tmp_path / "run")
    for option in ({"k": 3}, {"threshold": True}, {"calibrate": torch.zeros(4, 6)}):
        with pytest.raises(isthmus.IsthmusError, match="leave out k="):
            isthmus.from_pretrained(tmp_path / "run", **option)
    with pytest.raises(isthmus.IsthmusError, match="another checksum"):
        isthmus.from_pretrained(tmp_path / "run", sha256="0" * 64)


def test_a_run_and_one_of_saelens(tmp_path):
    saved(tmp_path / "run")
    assert isthmus.from_pretrained(tmp_path / "run").d_sae == 12
    for name in ("cfg.json", "sae_weights.safetensors"):
        shutil.copy(FIXTURES / "saelens" / "jumprelu" / name, tmp_path / "run")
    both(READERS[:1], tmp_path / "run", "Isthmus (model.safetensors)", "SAELens")
    one = isthmus.from_pretrained(tmp_path / "run", format="saelens")
    assert one.d_sae == 32


def test_what_training_leaves_beside_a_dictionary_is_none(tmp_path):
    folder = copied("saelens/topk", tmp_path)
    save_file({"sparsity": torch.zeros(32)}, folder / "sparsity.safetensors")
    torch.save({"step": 3, "lr": 1e-3}, folder / "trainer_state.pt")
    (folder / "optimizer.pt").write_bytes(b"no tensors")
    (folder / "runner_cfg.json").write_text(json.dumps({"seed": 0}))
    assert isthmus.from_pretrained(folder).cfg.metadata["format"] == "saelens"
    assert inspect(folder).record.format == "saelens"


def test_a_file_that_was_named_is_read(tmp_path):
    folder = copied("dictionary_learning/auto-encoder", tmp_path)
    for name in ("cfg.json", "sae_weights.safetensors"):
        shutil.copy(FIXTURES / "saelens" / "topk" / name, folder)
    assert isthmus.from_pretrained(folder / "ae.pt").cfg.metadata["format"] == "dictionary_learning"
