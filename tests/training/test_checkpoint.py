"""Folders of runs: verified when read, never quietly wrong."""

import hashlib
import json

import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file, save_file

import isthmus
import zoo
from isthmus.errors import IsthmusError
from isthmus.training import Checkpoint, read_checkpoint, write_checkpoint
from isthmus.training.checkpoint import FORMAT

FILES = ["config.json", "model.safetensors", "reference.safetensors", "training/state.safetensors"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "run"
    model = isthmus.fit(
        "topk", toys.X, latent_dim=12, k=3, k_aux=4, steps=4, batch_size=16, out=folder,
        progress=False,
    )  # fmt: skip
    return folder, model


@pytest.fixture
def folder(written, tmp_path):
    import shutil

    shutil.copytree(written[0], tmp_path / "run")
    return tmp_path / "run"


def loaded_whole(folder):
    read_checkpoint(folder, state=True)
    return isthmus.load(folder)


def refused(folder):
    """The error with which reading (state included) ends; one sentence it must be."""
    with pytest.raises(IsthmusError) as problem:
        loaded_whole(folder)
    text = str(problem.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def rewrite(folder, change=lambda config: None):
    """Change config.json and make every checksum right again: a forger's checkpoint."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["self"]
    change(config)
    config["sha256"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in config["sha256"]
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**config, "self": digest}))


def test_round_trip(written):
    folder, model = written
    loaded = isthmus.load(folder)
    assert zoo.sha(loaded) == zoo.sha(model)
    np.testing.assert_array_equal(loaded.encode(toys.X), model.encode(toys.X))
    assert not loaded.training
    assert loaded.signal == model.signal
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == sorted(
        [*FILES, "metrics.jsonl"]
    )


def test_no_file_is_a_pickle(written):
    for name in FILES[1:]:
        content = (written[0] / name).read_bytes()
        size = int.from_bytes(content[:8], "little")
        json.loads(content[8 : 8 + size])  # the header of safetensors


def test_a_copy_is_readable_after_rewriting(folder):
    rewrite(folder)
    isthmus.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.999])
def test_truncated(folder, name, keep):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(keep * len(content))])
    assert name in refused(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_bit_flipped_anywhere(folder, name):
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    places = {0, 1, 8, 9, len(content) - 2, *rng.integers(0, len(content) - 1, 25).tolist()}
    for place in sorted(places):
        for bit in rng.choice(8, 2, replace=False).tolist():
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            (folder / name).write_bytes(damaged)
            if name == "config.json" and same_json(content, bytes(damaged)):
                continue  # 1e-05 as 1E-05
            assert "damaged" in refused(folder), f"bit {bit} of byte {place}"


def same_json(a, b):
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


@pytest.mark.parametrize("name", FILES)
def test_missing(folder, name):
    (folder / name).unlink()
    text = refused(folder)
    assert "no config.json" in text if name == "config.json" else f"{name} is missing" in text


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '"text"', "{}", '{"self": 1}', "\x00"])
def test_another_json(folder, content):
    (folder / "config.json").write_text(content)
    assert "damaged or was edited" in refused(folder)


def test_an_edited_option(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"k": 3', '"k": 2'))
    assert "edited" in refused(folder)


@pytest.mark.parametrize("name", ["model.pt", "ae.pkl", "pytorch_model.bin"])
def test_a_pickle_of_another_library(tmp_path, name):
    torch.save({"w": torch.zeros(2)}, tmp_path / name)
    text = refused(tmp_path)
    assert name in text
    assert "pickle" in text


def test_not_a_checkpoint_at_all(tmp_path):
    assert "is no checkpoint" in refused(tmp_path)
    assert "there is no run" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file")


def test_a_newer_format(folder):
    rewrite(folder, lambda config: config.update(format=FORMAT + 1))
    assert "newer version" in refused(folder)


def test_a_recipe_that_does_not_exist_here(folder):
    rewrite(folder, lambda config: config.update(recipe="topkk"))
    assert "unknown recipe 'topkk'" in refused(folder)


def test_saved_by_itself_there_is_nothing_to_resume_from(written, tmp_path):
    isthmus.save(written[1], tmp_path / "alone")
    with pytest.raises(IsthmusError, match="cannot be resumed"):
        read_checkpoint(tmp_path / "alone", state=True)
    loaded = isthmus.load(tmp_path / "alone")
    assert zoo.sha(loaded) == zoo.sha(written[1])
    assert zoo.sha(isthmus.resume(tmp_path / "alone")) == zoo.sha(written[1])


# --- loading wrongly is an error --------------------------------------------------------------


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors")
    rewrite(folder)


def transposed(weights):
    square = weights["encoder.weight"][:6].T.clone()
    weights["encoder.weight"][:6] = square


def shifted(weights):
    weights["encoder.bias"] += 0.05


def rescaled(weights):
    weights["scaler.scale"] *= 1.01


@pytest.mark.parametrize("change", [transposed, shifted, rescaled])
def test_weights_that_do_not_reproduce_the_reference(folder, change):
    change_weights(folder, change)
    text = refused(folder)
    assert "does not reproduce its stored" in text


def test_weights_that_do_not_fit_the_model(folder):
    change_weights(folder, lambda weights: weights.pop("encoder.bias"))
    assert "do not fit the model" in refused(folder)


def test_nan_in_the_weights(folder):
    change_weights(folder, lambda weights: weights["decoder.bias"].fill_(float("nan")))
    assert "does not reproduce" in refused(folder)


def test_rounding_like_another_processors_is_tolerated(folder):
    def jitter(weights):
        weights["decoder.weight"] *= 1 + 1e-6 * torch.randn_like(weights["decoder.weight"])

    change_weights(folder, jitter)
    isthmus.load(folder)


def test_the_order_of_a_sparse_code_does_not_matter(folder):
    """The k largest come in another order on another processor: the code is the same."""
    stored = load_file(folder / "reference.safetensors")
    for name in ("code.values", "code.indices"):
        stored[name] = stored[name].flip(1).contiguous()
    save_file(stored, folder / "reference.safetensors")
    rewrite(folder)
    isthmus.load(folder)


def test_reference_rows_are_the_users_own(written):
    stored = load_file(written[0] / "reference.safetensors")
    np.testing.assert_array_equal(stored["input"].numpy(), toys.X[:8])
    code = written[1].encode(toys.X[:8], code=True)
    assert torch.equal(stored["code.values"], code.values)
    np.testing.assert_array_equal(stored["recon"].numpy(), written[1].reconstruct(toys.X[:8]))


# --- writing ----------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_last_checkpoint(folder, monkeypatch):
    import errno
    import os

    from isthmus.training import checkpoint as module

    before = {name: (folder / name).read_bytes() for name in FILES}
    real = module.save_file
    for n in range(3):
        calls = [0]

        def full(tensors, path, n=n, calls=calls):
            calls[0] += 1
            if calls[0] == n + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(tensors, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "save_file", full)
            with pytest.raises(IsthmusError, match="No space left"):
                write_checkpoint(folder, read_checkpoint(folder, state=True))
        assert {name: (folder / name).read_bytes() for name in FILES} == before
        assert not (folder / ".staging").exists()


def test_any_layout_of_tensors_is_stored_by_value(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {"t": base.T, "same": base, "part": base[1:, ::2], "scalar": torch.tensor(3.0)}
    write_checkpoint(tmp_path, Checkpoint({"a": [1, None, 0.1]}, {}, {}, state, {"step": 3}))
    back = read_checkpoint(tmp_path, state=True)
    assert back.config["a"] == [1, None, 0.1]
    assert back.progress == {"step": 3}
    assert set(back.state) == set(state)
    for name, tensor in state.items():
        assert torch.equal(back.state[name], tensor)
