"""fit, load, save, resume, evaluate, and every kind of bad input: one sentence each."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus import data, runs
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
QUICK = {"epochs": 2, "batch_size": 16, "hidden": (4,), "latent_dim": 2, "progress": False}


def one_sentence(problem):
    text = str(problem.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.fixture
def folder(tmp_path):
    isthmus.fit("plain", X, out=tmp_path / "run", **QUICK)
    return tmp_path / "run"


def test_save_load_round_trip(folder):
    model = isthmus.load(folder)
    fitted = isthmus.fit("plain", X, **QUICK)
    assert np.array_equal(model.encode(X), fitted.encode(X))
    assert isinstance(model.encode(X), np.ndarray)
    assert isinstance(model.encode(torch.tensor(X)), torch.Tensor)
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "model.safetensors", "reference.safetensors", "training", "metrics.jsonl",
    }  # fmt: skip


def test_save_without_a_run(tmp_path):
    model = isthmus.fit("plain", X, **QUICK)
    isthmus.save(model, tmp_path / "m")
    assert np.array_equal(isthmus.load(tmp_path / "m").encode(X), model.encode(X))


def test_resume_of_a_finished_run_is_that_run(folder):
    assert np.array_equal(isthmus.resume(folder).encode(X), isthmus.load(folder).encode(X))


def test_own_modules_are_used_as_they_are(tmp_path):
    encoder, decoder = nn.Linear(5, 2), nn.Linear(2, 5)
    model = isthmus.fit(
        "plain", X, out=tmp_path / "m", encoder=encoder, decoder=decoder, latent_dim=2,
        steps=3, batch_size=16, progress=False,
    )  # fmt: skip
    assert model.encoder is encoder
    with pytest.raises(IsthmusError, match="encoder of your own"):
        isthmus.load(tmp_path / "m")
    again = isthmus.load(tmp_path / "m", encoder=nn.Linear(5, 2), decoder=nn.Linear(2, 5))
    assert np.array_equal(again.encode(X), model.encode(X))


def test_an_autoencoder_of_your_own_parts(tmp_path):
    def make():
        return Autoencoder(
            Signal.infer(X), encoder=nn.Linear(5, 2), bottleneck=Identity(),
            decoder=nn.Linear(2, 5), objective=MSE(),
        )  # fmt: skip

    model = isthmus.fit(make(), X, out=tmp_path / "m", steps=20, batch_size=16, progress=False)
    assert model.history[-1]["step"] == 20
    assert np.array_equal(isthmus.load(tmp_path / "m", make()).encode(X), model.encode(X))


def test_evaluate_takes_the_test_part_of_a_named_set():
    digits = data.load("digits")
    model = isthmus.fit("plain", "digits", network="mlp", **QUICK)
    by_name, by_array = isthmus.evaluate(model, "digits"), isthmus.evaluate(model, digits.test)
    assert by_name["fvu"].value == by_array["fvu"].value
    assert by_name["fvu"].n == len(digits.test)


def test_scaling_is_kept_with_the_model(tmp_path):
    wide = X * np.array([1, 10, 100, 1000, 1e4], dtype=np.float32) + 5
    model = isthmus.fit("plain", wide, out=tmp_path / "m", **QUICK)
    assert model.scaler.mode == "columns"
    recon = isthmus.load(tmp_path / "m").reconstruct(wide)
    assert np.allclose(recon, model.reconstruct(wide))
    assert abs(recon[:, 4].mean() - wide[:, 4].mean()) < wide[:, 4].std()


def test_a_constant_column_is_kept():
    constant = X.copy()
    constant[:, 2] = 7.0
    model = isthmus.fit("plain", constant, **{**QUICK, "epochs": 100})
    assert np.isfinite(model.encode(constant)).all()
    assert np.abs(np.asarray(model.reconstruct(constant))[:, 2] - 7.0).mean() < 0.5


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.where(np.arange(300).reshape(60, 5) == 7, np.nan, X), "NaN or infinity"),
        (np.where(np.arange(300).reshape(60, 5) == 7, np.inf, X), "NaN or infinity"),
        (np.zeros((0, 5), np.float32), "empty"),
        (X[0], "Reshape"),
        (np.array([["a", "b"]] * 20), "numeric"),
        (X.astype(complex), "numeric"),
        (np.full((60, 5), 3.0, np.float32), "constant"),
    ],
    ids=["nan", "inf", "empty", "one axis", "text", "complex", "all constant"],
)
def test_bad_data_to_fit(bad, words, tmp_path):
    with pytest.raises(IsthmusError, match=words) as problem:
        isthmus.fit("plain", bad, out=tmp_path / "run", **QUICK)
    one_sentence(problem)
    assert not (tmp_path / "run").exists()


def test_one_row_and_fewer_rows_than_a_batch():
    with pytest.raises(IsthmusError, match="fewer than one batch of 16"):
        isthmus.fit("plain", X[:10], **QUICK)
    with pytest.raises(IsthmusError, match="1 row"):
        isthmus.fit("plain", X[:1], latent_dim=2, epochs=1, progress=False)
    without = {k: v for k, v in QUICK.items() if k != "batch_size"}
    assert isthmus.fit("plain", X[:10], **without).encode(X[:3]).shape == (3, 2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (X[:, :4], "4 features"),
        (X[0], "Reshape"),
        (X[:0], "empty"),
        (np.where(X > 2, np.nan, X), "NaN"),
        (np.array([["a"] * 5] * 3), "numeric"),
    ],
    ids=["shape", "one axis", "empty", "nan", "text"],
)
def test_bad_data_to_encode(bad, words):
    model = isthmus.fit("plain", X, **QUICK)
    with pytest.raises(IsthmusError, match=words) as problem:
        model.encode(bad)
    one_sentence(problem)


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("betavae", {}, "did you mean 'beta-vae'"),
        ("topk", {"latent_dims": 4}, "did you mean 'latent_dim'"),
        ("topk", {"batchsize": 4}, "did you mean 'batch_size'"),
        ("topk", {"k": 0}, "k=0 is not allowed"),
        ("topk", {"k": 9, "latent_dim": 8}, "k=9 is more than latent_dim=8"),
        ("plain", {"lr": -1.0}, "lr=-1.0 is not allowed"),
        ("plain", {"network": "conv"}, "image"),
        ("plain", {"optimiser": "rmspropp"}, "did you mean 'rmsprop'"),
        ("plain", {"device": "cuda:9"}, "device=auto"),
        ("plain", {"patience": 3}, "validation"),
        ("plain", {"accumulate": 3, "batch_size": 16}, "divide"),
        ("beta-vae", {"likelihood": "bernoulli"}, "between 0 and 1"),
    ],
)
def test_bad_options(recipe, options, words):
    with pytest.raises(IsthmusError, match=words) as problem:
        isthmus.fit(recipe, X, **{"steps": 1, "progress": False, **options})
    one_sentence(problem)


def test_a_folder_with_a_run_is_not_overwritten(folder):
    with pytest.raises(IsthmusError, match="already holds a run"):
        isthmus.fit("plain", X, out=folder, **QUICK)
    isthmus.fit("plain", X, out=folder, overwrite=True, **QUICK)


def test_load_of_what_is_no_checkpoint(tmp_path, folder):
    with pytest.raises(IsthmusError, match="there is no run"):
        isthmus.load(tmp_path / "nowhere")
    shutil.copytree(folder, tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace('"latent_dim": 2', '"latent_dim": 3'))
    with pytest.raises(IsthmusError, match="damaged or was edited"):
        isthmus.load(tmp_path / "copy")


def test_resume_refuses_other_data(tmp_path):
    class Stop(isthmus.training.Callback):
        def on_step(self, trainer, step):
            if step == 5:
                raise RuntimeError("stop")

    options = {**QUICK, "save_every": 2, "epochs": 20}
    with pytest.raises(RuntimeError, match="stop"):
        isthmus.fit("plain", X, out=tmp_path / "m", callbacks=[Stop()], **options)
    with pytest.raises(IsthmusError, match="pass them again"):
        isthmus.resume(tmp_path / "m")
    with pytest.raises(IsthmusError, match="not the data"):
        isthmus.resume(tmp_path / "m", X + 1)
    model = isthmus.resume(tmp_path / "m", X, progress=False)
    whole = isthmus.fit("plain", X, **options)
    assert np.array_equal(model.encode(X), whole.encode(X))


def test_the_fingerprint_is_that_of_rows_labels_and_masks_whatever_the_order_of_names():
    A, B = X, X[:, :2]
    y, w = np.arange(60) % 3, np.arange(60) % 2

    def print_of(X, given=None, mask=None):
        return runs.described(X, runs.opened(X, given, mask)[0])["fingerprint"]

    whole = print_of({"a": A, "b": B}, {"y": y, "w": w}, {"a": w == 0})
    assert whole == print_of({"b": B, "a": A}, {"w": w, "y": y}, {"a": w == 0})
    for given, mask in (
        ({"y": w, "w": y}, {"a": w == 0}), ({"y": y}, {"a": w == 0}), ({}, {"a": w == 0}),
        ({"y": y, "w": w}, {"a": w == 1}), ({"y": y, "w": w}, {"b": w == 0}),
        ({"y": y, "w": w}, None), ({"z": y, "w": w}, {"a": w == 0}),
    ):  # fmt: skip
        assert whole != print_of({"a": A, "b": B}, given, mask)


def test_models_of_labels_masks_and_parts_are_saved_with_rows_of_ones_own(tmp_path):
    parts, seen = {"a": X, "b": X[:, :2]}, {"a": np.arange(60) % 3 > 0}
    model = isthmus.fit("mvae", parts, mask=seen, **QUICK)
    isthmus.save(model, tmp_path / "saved", parts, mask=seen)
    again = isthmus.load(tmp_path / "saved")
    assert torch.equal(again.reference_rows.mask["a"], torch.from_numpy(seen["a"][:8]))
    for wrong in (X, {"a": X}, {"a": X, "b": X}, {"a": X, "c": X}):
        with pytest.raises(IsthmusError) as problem:
            isthmus.save(model, tmp_path / "wrong", wrong)
        one_sentence(problem)
    with pytest.raises(IsthmusError, match="pass the rows as X"):
        isthmus.save(model, tmp_path / "wrong", mask=seen)
    assert not (tmp_path / "wrong").exists()


def test_arrays_of_token_ids_are_tokens_to_a_model_of_tokens(tmp_path):
    ids = RNG.integers(0, 9, (16, 5))
    source = data.as_source(ids, kind="tokens")
    model = isthmus.fit("text-vae", source, steps=1, batch_size=8, progress=False)
    assert (
        isthmus.evaluate(model, ids, samples=2).keys()
        == isthmus.evaluate(model, source, samples=2).keys()
    )
    isthmus.save(model, tmp_path / "saved", ids)
    for wrong in (ids - 1, ids + 5, ids * 1.5):
        with pytest.raises(IsthmusError, match="token"):
            isthmus.evaluate(model, wrong)
