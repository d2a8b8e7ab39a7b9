"""Multimodal VAEs: what a missing modality is rebuilt from, and what they refuse."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import isthmus
import zoo
from isthmus.anatomy import Batch, Each, Signal
from isthmus.cli import app
from isthmus.data import as_source
from isthmus.data.ragged import GivenSource
from isthmus.data.sources import ArraySource
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.variational.multimodal import cross_generate, weights_for
from isthmus.training import Callback

NAMES = ("mvae", "mmvae", "mopoe")
SMALL = {"latent_dim": 4, "hidden": (16,), "progress": False}
FAST = {**SMALL, "steps": 6, "batch_size": 16}


def shared_and_private(rows, seed):
    """Two vectors of two shared factors and one of its own each."""
    rng, maps = np.random.default_rng(seed), np.random.default_rng(1)
    shared, made = rng.normal(size=(rows, 2)), {}
    for name, width in (("a", 8), ("b", 6)):
        x = shared @ maps.normal(size=(2, width))
        x = x + 0.7 * rng.normal(size=(rows, 1)) @ maps.normal(size=(1, width))
        made[name] = (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    return made


def masks(rows):
    """Three rows of ten lack the one, three others the other."""
    place = np.random.default_rng(5).random(rows)
    return {"a": place < 0.7, "b": place > 0.3}


def source(rows=1200):
    return GivenSource(as_source(shared_and_private(rows, 2)), mask=masks(rows))


def unexplained(found, wanted):
    return float(((found - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum())


def tensors(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, step):
        if step == self.step:
            raise RuntimeError("killed")


# --- what they are for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "worst"),
    [("mvae", {}, 0.5), ("mmvae", {"samples": 4}, 0.2), ("mopoe", {"beta": 1.0}, 0.2)],
)
def test_a_missing_modality_is_rebuilt_from_the_other(name, options, worst):
    model = isthmus.fit(
        name, source(), steps=200, batch_size=64, lr=3e-3, sigma=0.3,
        **{**SMALL, "latent_dim": 6, "hidden": (48,), **options},
    )  # fmt: skip
    rows = shared_and_private(400, 3)
    found = cross_generate(model, {"a": rows["a"]})
    assert {n: part.shape for n, part in found.items()} == {"a": (400, 8), "b": (400, 6)}
    # The mean leaves all; of what the shared factors say, a line would leave a ninth.
    assert unexplained(found["b"], rows["b"]) < worst
    assert unexplained(found["a"], rows["a"]) < 0.2
    both = model.reconstruct(rows)
    assert unexplained(both["b"], rows["b"]) < unexplained(found["b"], rows["b"])
    # reconstruct with a mask says the same.
    seen = {"a": np.ones(400, bool), "b": np.zeros(400, bool)}
    masked = model.reconstruct({**rows, "b": np.full_like(rows["b"], np.nan)}, mask=seen)
    np.testing.assert_allclose(masked["b"], found["b"], atol=1e-6)


def rings(rows):
    rng = np.random.default_rng(0)
    label, angle = rng.integers(0, 5, rows), rng.uniform(0, 2 * np.pi, rows)
    turn = 2 * np.pi * np.arange(5) / 5
    centres = 4 * np.stack([np.cos(turn), np.sin(turn)], 1)
    x = centres[label] + np.stack([np.cos(angle), np.sin(angle)], 1)
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32), label, centres


def test_a_mixture_disregards_what_a_label_leaves_open_and_a_product_does_not():
    # Wolff et al. 2022: given the label, the mixture's stratified ELBO is least at the mean.
    x, label, centres = rings(3000)
    data = as_source({"x": x, "y": ArraySource(label[:, None], kind="tokens")})
    stratified = {"posterior": "normal", "learn_prior": False, "samples": 1, "bound": "elbo"}
    ratios = {}
    for name, options in (("mmvae", stratified), ("mvae", {})):
        model = isthmus.fit(
            name, data, steps=350, batch_size=128, lr=3e-3, sigma=0.1, weights="equal",
            **{**SMALL, "latent_dim": 8, "hidden": (48,), **options},
        )  # fmt: skip
        made = cross_generate(model, {"y": np.arange(5)[:, None]}, samples=400)["x"]
        ratios[name] = made.var(0).sum(1).mean() / (1 + 2 * 0.05**2)
        if name == "mmvae":
            assert np.linalg.norm(made.mean(0) - centres, axis=1).max() < 0.6
        assert (cross_generate(model, {"x": x})["y"][:, 0] == label).mean() > 0.95
    assert ratios["mmvae"] < 0.35
    assert ratios["mvae"] > 2 * ratios["mmvae"]


# --- what is missing ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_under_the_mask_changes_nothing(name):
    rows, seen = shared_and_private(64, 2), masks(64)
    entries = np.random.default_rng(8).random((64, 8)) < 0.8
    entries[~seen["a"]] = False
    model = isthmus.fit(name, source(), **FAST)
    mask = {"a": entries, "b": seen["b"]}
    results = []
    for other in (np.nan, 0.0, 1e6):
        x = {n: np.where(mask[n].reshape(64, -1), part, other) for n, part in rows.items()}
        x = {n: part.astype(np.float32) for n, part in x.items()}
        model.zero_grad()
        torch.manual_seed(0)
        out = model(Batch(tensors(x), mask=tensors(mask)))
        model.objective(model, out).total.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([torch.tensor(model.encode(x, mask=mask)),
                        torch.tensor(model.score(x, mask=mask)), *gradients])  # fmt: skip
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert all(torch.isfinite(t).all() for t in results[0])
    # A row that lacks b has the code of its a alone, whatever the other rows have.
    place = int(np.flatnonzero(~seen["b"])[0])
    alone = {n: part[place : place + 1] for n, part in rows.items()}
    only = {"a": entries[place : place + 1], "b": np.zeros(1, bool)}
    code = torch.tensor(model.encode(alone, mask=only))[0]
    torch.testing.assert_close(code, results[0][0][place])


@pytest.mark.parametrize("name", NAMES)
def test_names_may_come_in_any_order(name):
    rows = shared_and_private(40, 2)
    model = isthmus.fit(name, source(), **FAST)
    turned = {"b": rows["b"], "a": rows["a"]}
    np.testing.assert_array_equal(model.encode(turned), model.encode(rows))
    np.testing.assert_array_equal(model.reconstruct(turned)["b"], model.reconstruct(rows)["b"])
    np.testing.assert_array_equal(model.score(turned), model.score(rows))
    losses = []
    for x in (rows, turned):
        torch.manual_seed(0)
        mask = {n: torch.tensor(masks(40)[n]) for n in x}
        losses.append(model.objective(model, model(Batch(tensors(x), mask=mask))).total)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)


def test_cross_generation_of_rows_that_lack_more():
    rows, seen = shared_and_private(40, 2), masks(40)
    model = isthmus.fit("mopoe", source(), **FAST)
    found = cross_generate(model, {"a": rows["a"]}, mask={"a": seen["a"]}, batch_size=7)
    prior = model.decode(np.zeros((1, 4), np.float32))
    np.testing.assert_allclose(
        found["b"][~seen["a"]], np.repeat(prior["b"], (~seen["a"]).sum(), 0), atol=1e-5
    )
    draws = cross_generate(model, {"a": rows["a"]}, samples=3)
    assert {n: d.shape for n, d in draws.items()} == {"a": (3, 40, 8), "b": (3, 40, 6)}
    again = cross_generate(model, {"a": rows["a"]}, samples=3, seed=1)
    assert not np.array_equal(draws["b"], again["b"])
    np.testing.assert_array_equal(
        draws["b"], cross_generate(model, {"a": rows["a"]}, samples=3)["b"]
    )


# --- images and tokens -------------------------------------------------------------------------


def mixed(rows=60):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, size=(rows, 8, 8), dtype=np.uint8)
    text = ArraySource(rng.integers(0, 5, size=(rows, 3)), kind="tokens")
    return as_source({"image": image, "text": text, "v": rng.normal(size=(rows, 4))})


@pytest.mark.parametrize("name", NAMES)
def test_images_tokens_and_vectors(name):
    data = GivenSource(mixed(), mask={"text": np.arange(60) % 3 > 0})
    model = isthmus.fit(name, data, **FAST)
    kinds = {n: type(part).__name__ for n, part in model.likelihood.items()}
    assert kinds == {"image": "Bernoulli", "text": "Categorical", "v": "Gaussian"}
    found = model.reconstruct(data)
    assert found["text"].dtype == torch.int64
    assert found["text"].max() < 5
    assert found["image"].min() >= 0.0
    assert found["image"].max() <= 1.0
    assert model.sample(2)["text"].shape == (2, 3)
    made = cross_generate(model, {"text": np.zeros((2, 3), np.int64)})
    shapes = {"image": (2, 1, 8, 8), "text": (2, 3), "v": (2, 4)}
    assert {n: part.shape for n, part in made.items()} == shapes


def test_a_likelihood_for_each_name():
    signal = mixed().signal
    recipe = get_recipe("mvae")
    chosen = recipe.parse({"likelihood": {"image": "gaussian", "v": "laplace"}, "hidden": (8,)})[0]
    kinds = {n: type(p).__name__ for n, p in recipe.build(signal, chosen).likelihood.items()}
    assert kinds == {"image": "Gaussian", "text": "Categorical", "v": "Laplace"}


def test_weights_by_size_and_by_name():
    signal = mixed().signal
    assert weights_for(signal, "size") == {"image": 1.0, "text": 64 / 3, "v": 16.0}
    assert weights_for(signal, "equal") == {"image": 1.0, "text": 1.0, "v": 1.0}
    assert weights_for(signal, {"text": 10}) == {"image": 1.0, "text": 10.0, "v": 1.0}


# --- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_goes_on_to_the_same_bits(name, tmp_path):
    options = {**FAST, "steps": 8, "save_every": 3, "accumulate": 2}
    whole = isthmus.fit(name, source(200), out=tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(name, source(200), out=tmp_path / "run", callbacks=[Stop(5)], **options)
    again = isthmus.resume(tmp_path / "run", source(200), progress=False)
    assert zoo.sha(again) == zoo.sha(whole)
    # Loaded in another process it gives the same codes, with rows that lack something.
    rows, seen = shared_and_private(30, 9), masks(30)
    np.savez(tmp_path / "rows.npz", **rows, **{f"has_{n}": m for n, m in seen.items()})
    script = (
        "import sys, numpy as np, isthmus\n"
        "d = np.load(sys.argv[2])\n"
        "model = isthmus.load(sys.argv[1])\n"
        "x, mask = ({n: d[p + n] for n in 'ab'} for p in ('', 'has_'))\n"
        "np.save(sys.argv[3], model.encode(x, mask=mask))\n"
    )
    arguments = [tmp_path / "whole", tmp_path / "rows.npz", tmp_path / "codes.npy"]
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "codes.npy"), whole.encode(rows, mask=seen), atol=1e-6
    )


def test_many_at_once_are_each_alone():
    shared = {**FAST, "steps": 4}
    together = isthmus.fit_many(["mvae", "mopoe"], source(100), **shared)
    for name, model in together.items():
        assert zoo.sha(model) == zoo.sha(isthmus.fit(name, source(100), data_seed=0, **shared))


# --- what they refuse --------------------------------------------------------------------------


def built(name="mvae", data=None, **options):
    recipe = get_recipe(name)
    signal = (data or mixed()).signal
    return recipe.build(signal, recipe.parse({"hidden": (8,), **options})[0])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: built(weights={"imgae": 2.0}), "weights names, 'imgae': did you mean 'image'"),
        (lambda: built(weights={"image": -1.0}), "weight -1 is less than 0"),
        (lambda: built(likelihood={"txt": "auto"}), "did you mean 'text'"),
        (lambda: built(likelihood="gausian"), "the option likelihood='gausian'.*Input should be"),
        (lambda: built(likelihood="gaussian"), "does not describe tokens"),
        (lambda: built(data=as_source({"a": np.zeros((4, 2))})), "two names or more"),
        (lambda: built(data=as_source(np.zeros((4, 2)))), "reads a collection of named parts"),
        (lambda: built(data=as_source({"a": np.eye(3), "t": ["x", "yy", "z"]})), "'t' is rows of"),
        (lambda: built(encoder=Each({"image": torch.nn.Identity()})), "encoder.*Each of 'image'"),
        (lambda: built(decoder=torch.nn.Identity()), "decoder.*has a module for each"),
        (lambda: GivenSource(mixed(), mask={"text": np.zeros(60, bool)}), "'text'.*in any row"),
        (lambda: GivenSource(mixed(), mask={"txt": np.ones(60, bool)}), "the mask names 'txt'"),
        (lambda: weights_for(Signal("collection"), "size"), "two names or more"),
    ],
)  # fmt: skip
def test_one_sentence(make, sentence):
    with pytest.raises(IsthmusError, match=sentence):
        make()


def test_other_names_are_one_sentence():
    model = isthmus.fit("mvae", source(100), **FAST)
    rows = shared_and_private(5, 0)
    with pytest.raises(IsthmusError, match="lacks 'b' and has 'c' too many"):
        model.encode({"a": rows["a"], "c": rows["b"]})
    with pytest.raises(IsthmusError, match="modality that X names, 'c'"):
        cross_generate(model, {"c": rows["b"]})
    with pytest.raises(IsthmusError, match="nothing is observed"):
        cross_generate(model, {})
    with pytest.raises(IsthmusError, match="unknown part that the mask names 'c'"):
        model.encode(rows, mask={"c": np.ones(5, bool)})


def test_modules_of_ones_own():
    data = as_source(shared_and_private(100, 0))
    signal = data.signal.parts

    def each(out):
        sizes = {n: (part.numel, 8) if out else (4, part.numel) for n, part in signal.items()}
        return Each({name: torch.nn.Linear(*size) for name, size in sizes.items()})

    options = {"encoder": each(True), "decoder": each(False), "latent_dim": 4}
    model = isthmus.fit("mopoe", data, steps=3, batch_size=16, progress=False, **options)
    assert model.encode(shared_and_private(5, 0)).shape == (5, 4)


def test_the_weight_of_the_kl_rises():
    model = isthmus.fit("mvae", source(200), **{**FAST, "steps": 10, "log_every": 1}, beta=2.0)
    for record in model.history:
        share = min(1.0, (record["step"] - 1) / 4)  # 0.4 of ten steps
        kl = record["kl"] + record["subset_kl"]
        wanted = record["nll"] + record["subset_nll"] + 2.0 * share * kl
        assert record["loss"] == pytest.approx(wanted, rel=1e-4)


def test_the_command_line_reads_an_archive_of_named_arrays(tmp_path):
    rows = shared_and_private(60, 0)
    np.savez(tmp_path / "rows.npz", **rows)
    run, codes = str(tmp_path / "run"), tmp_path / "codes.npz"
    small = ["steps=3", "latent_dim=3", "hidden=8", "weights={a=1.0,b=2.0}"]
    for command in (
        ["fit", "mvae", str(tmp_path / "rows.npz"), *small, "-o", run],
        ["encode", run, str(tmp_path / "rows.npz"), "-o", str(codes)],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    model = isthmus.load(run)
    assert model.config["options"]["weights"] == {"a": 1.0, "b": 2.0}
    np.testing.assert_allclose(np.load(codes)["z"], model.encode(rows), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_of_each_modality_where_it_is_observed(name):
    data, rows, seen = source(120), shared_and_private(120, 2), masks(120)
    model = isthmus.fit(name, data, **FAST)
    results, found = isthmus.evaluate(model, data), model.reconstruct(data)
    for part, mask in seen.items():
        wanted = unexplained(found[part][mask].numpy(), rows[part][mask])
        assert results[f"fvu.{part}"].value == pytest.approx(wanted, rel=1e-4)
