"""Damaged and contradictory files: refused in one sentence, or read with a note; none silently."""

import json
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch

import isthmus
from damaged import configured, copied, edited, square, without
from isthmus.formats import inspect
from peers import FIXTURES, recorded

SAE, DL = "saelens/jumprelu", "dictionary_learning/batchtopk"


def refused(where, match, **options):
    with pytest.raises(isthmus.IsthmusError, match=match) as problem:
        isthmus.from_pretrained(where, **options)
    said = str(problem.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


def test_a_missing_bias_is_not_filled_in(tmp_path):
    refused(edited(copied(SAE, tmp_path), without("b_enc")), "lacks b_enc")


def test_a_missing_threshold(tmp_path):
    refused(edited(copied(SAE, tmp_path), without("threshold")), "lacks threshold")


def test_an_unknown_tensor_is_named_and_may_be_ignored(tmp_path):
    folder = edited(copied(SAE, tmp_path), lambda t: {**t, "b_extra": torch.zeros(3)})
    refused(folder, r"b_extra.*ignore=\['b_extra'\]")
    assert isthmus.from_pretrained(folder, ignore=["b_extra"]).d_sae == 32


def test_an_unknown_setting_is_named_and_may_be_ignored(tmp_path):
    folder = configured(copied(SAE, tmp_path), clamp_above=3.0)
    refused(folder, "clamp_above")
    assert isthmus.from_pretrained(folder, ignore=["clamp_above"]).d_sae == 32


def test_an_unknown_normalisation(tmp_path):
    refused(configured(copied(SAE, tmp_path), normalize_activations="zca"), "'zca'.*not known")


def test_an_unknown_architecture(tmp_path):
    refused(configured(copied(SAE, tmp_path), architecture="jumpreelu"), "did you mean 'jumprelu'")


def test_swapped_encoder_and_decoder(tmp_path):
    def swap(tensors):
        return {**tensors, "W_enc": tensors["W_dec"], "W_dec": tensors["W_enc"]}

    refused(edited(copied(SAE, tmp_path), swap), "swapped or transposed")


def test_a_transposed_decoder(tmp_path):
    def turn(tensors):
        return {**tensors, "W_dec": tensors["W_dec"].T}

    refused(edited(copied(SAE, tmp_path), turn), "swapped or transposed")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {**t, "W_enc": t["W_enc"].T},
        lambda t: {**t, "W_dec": t["W_dec"].T},
        lambda t: {**t, "W_enc": t["W_dec"], "W_dec": t["W_enc"]},
        lambda t: {**t, "W_enc": t["W_enc"].T, "W_dec": t["W_dec"].T},
        lambda t: {**t, "W_enc": t["W_enc"].T / 3, "W_dec": 3 * t["W_dec"].T},
    ],
    ids=["encoder", "decoder", "swapped", "both", "both, in other units"],
)
def test_square_weights_the_wrong_way_round(change, tmp_path):
    refused(square(tmp_path, change), "square weights")


def test_square_weights_the_right_way_are_read(tmp_path):
    model = isthmus.from_pretrained(square(tmp_path, lambda t: t))
    assert not model.cfg.metadata["notes"]


def test_square_weights_that_nothing_tells_are_noted(tmp_path):
    def unlike(tensors):
        return {**tensors, "W_enc": torch.randn(64, 64, generator=torch.Generator().manual_seed(7))}

    model = isthmus.from_pretrained(square(tmp_path, unlike))
    assert "neither shape nor agreement" in model.cfg.metadata["notes"][0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["W_enc", "b_dec", "threshold"])
def test_what_is_no_number(name, value, tmp_path):
    def spoil(tensors):
        tensors[name].view(-1)[3] = value

    refused(edited(copied(SAE, tmp_path), spoil), "NaN or infinite|no numbers")


def test_thresholds_in_bfloat16_are_noted(tmp_path):
    folder = edited(copied(SAE, tmp_path), lambda t: {**t, "threshold": t["threshold"].bfloat16()})
    notes = isthmus.from_pretrained(folder).cfg.metadata["notes"]
    assert any("thresholds are stored in bfloat16" in note for note in notes)


def test_negative_thresholds_are_noted(tmp_path):
    def lower(tensors):
        tensors["threshold"][:3] = -0.5

    model = isthmus.from_pretrained(edited(copied(SAE, tmp_path), lower))
    assert any("3 thresholds are negative" in note for note in model.cfg.metadata["notes"])
    assert float(model.encode(recorded(SAE)["x"]).min()) >= 0


def test_a_scaling_factor_of_old_finetuning(tmp_path):
    folder = copied("saelens/standard", tmp_path)
    ones = edited(folder, lambda t: {**t, "scaling_factor": torch.ones(32)})
    assert "left out" in isthmus.from_pretrained(ones).cfg.metadata["notes"][0]
    refused(
        edited(folder, lambda t: {**t, "scaling_factor": torch.full((32,), 1.5)}), "scaling_factor"
    )


def test_a_scale_that_the_file_lacks_is_calibrated(tmp_path):
    folder = configured(copied(SAE, tmp_path), normalize_activations="expected_average_only_in")
    refused(folder, "pass calibrate=X")
    x = recorded(SAE)["x"]
    model = isthmus.from_pretrained(folder, calibrate=x)
    factor = 8**0.5 / x.norm(dim=1).mean()
    plain = isthmus.from_pretrained(FIXTURES / SAE)
    torch.testing.assert_close(model.encode(x), plain.encode(x * factor), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.reconstruct(x) * factor, plain.reconstruct(x * factor),
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    assert any("calibrate" in note for note in model.cfg.metadata["notes"])


def test_a_threshold_never_set_is_refused_or_calibrated(tmp_path):
    folder = copied(DL, tmp_path)
    edited(folder, lambda t: {**t, "threshold": torch.tensor(-1.0)}, "ae.pt")
    refused(folder, "no threshold is stored.*calibrate=X")
    x = recorded(DL)["x"]
    model = isthmus.from_pretrained(folder, calibrate=x.reshape(2, -1, 8))
    on = float((model.encode(x) != 0).float().sum(1).mean())
    assert abs(on - 5) < 0.1


def test_k_and_sizes_that_contradict_each_other(tmp_path):
    folder = copied(DL, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    for name, value in (("k", 7), ("dict_size", 64), ("activation_dim", 9)):
        trainer = {**settings["trainer"], name: value}
        (folder / "config.json").write_text(json.dumps({**settings, "trainer": trainer}))
        refused(folder, f"{name}={value}.*two dictionaries")


def test_half_a_latent_cannot_be_on(tmp_path):
    folder = copied("saelens/topk", tmp_path)
    settings = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**settings, "k": 2.5}))
    refused(folder, "k=2.5, which is no number of latents")


def test_a_class_that_does_not_fit_its_tensors(tmp_path):
    folder = copied(DL, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    settings["trainer"]["dict_class"] = "AutoEncoder"
    (folder / "config.json").write_text(json.dumps(settings))
    refused(folder, "tensors of a AutoEncoder that are not known here")


def test_a_file_that_was_cut_off(tmp_path):
    folder = copied(SAE, tmp_path)
    path = folder / "sae_weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    refused(folder, "damaged .*ends before")
    path.write_bytes(whole[:40])
    refused(folder, "damaged .*header")
    path.write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
    refused(folder, "damaged .*header")


def test_an_archive_that_was_cut_off(tmp_path):
    path = tmp_path / "params.npz"
    np.savez(path, W_enc=np.ones((4, 8), np.float32))
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "damaged .*archive")


def test_arrays_that_need_a_pickle(tmp_path):
    np.savez(tmp_path / "params.npz", W_enc=np.array([{}], dtype=object))
    refused(tmp_path / "params.npz", "may need a pickle and is not read")


def test_a_pickle_that_runs_code_is_not_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (shutil.rmtree, (str(tmp_path / "kept"),))

    (tmp_path / "kept").mkdir()
    path = tmp_path / "ae.pt"
    torch.save({"encoder.weight": Trap()}, path)
    refused(path, "can run code")
    path.write_bytes(pickle.dumps({"encoder.weight": Trap()}))
    refused(path, "can run code|damaged")
    assert (tmp_path / "kept").is_dir()


def test_another_revision_than_was_asked_for():
    refused(FIXTURES / SAE, "another revision or damaged", sha256="0" * 64)
    own = isthmus.from_pretrained(FIXTURES / SAE).cfg.metadata["sha256"]["sae_weights.safetensors"]
    assert isthmus.from_pretrained(FIXTURES / SAE, sha256=own).d_sae == 32


def test_a_scale_folded_twice_is_noted(tmp_path):
    def fold(tensors):
        unit = torch.nn.functional.normalize(tensors["W_dec"], dim=1)
        return {**tensors, "W_dec": unit / 4.0, "W_enc": tensors["W_enc"] * 4.0}

    folder = configured(
        edited(copied(SAE, tmp_path), fold), normalize_activations="expected_average_only_in"
    )
    model = isthmus.from_pretrained(folder, calibrate=recorded(SAE)["x"])
    assert any("folded already" in note for note in model.cfg.metadata["notes"])


def test_what_is_no_dictionary(tmp_path):
    refused(tmp_path, "no layout that is known")
    refused(tmp_path / "nowhere", "does not exist")
    refused("some/where", "or hf:some/where")
    (tmp_path / "several" / "layer_1").mkdir(parents=True)
    (tmp_path / "several" / "layer_2").mkdir()
    refused(tmp_path / "several", "2 folders.*layer_1, layer_2")


def test_inspecting_refuses_what_reading_does(tmp_path):
    folder = edited(copied(SAE, tmp_path), without("b_enc"))
    with pytest.raises(isthmus.IsthmusError, match="lacks b_enc"):
        inspect(folder)


def test_a_run_is_told_from_a_dictionary_of_others(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    run = tmp_path / "run"
    isthmus.fit("plain", X, latent_dim=2, steps=1, batch_size=20, progress=False, out=run)
    for where in (run, run / "model.safetensors"):
        with pytest.raises(isthmus.IsthmusError, match="is a run of this library"):
            inspect(where)
