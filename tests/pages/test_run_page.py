"""The written page, read back: its blocks, its policy, and what it says of any run."""

import hashlib
import html
import json
import os
import re
import shutil
from base64 import b64encode

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.pages import report
from isthmus.pages.opened import open_run
from pages import reading
from pages.made import write_features

G = np.random.default_rng(0)
X = G.normal(size=(200, 6)).astype(np.float32)
IMAGES = G.integers(0, 256, (80, 8, 8), dtype=np.uint8)


def fitted(folder, recipe="plain", data="digits", **options):
    options = {"steps": 3, "batch_size": 32, "latent_dim": 8, **options}
    return isthmus.fit(recipe, data, out=folder, progress=False, **options)


def written(folder, **more):
    return report(folder, progress=False, **more).read_text()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A variational run on images, its model, and its page."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    model = fitted(folder, "beta-vae", log_every=1, steps=5)
    return folder, model, written(folder)


def test_only_the_own_script_may_run_and_nothing_be_loaded(digits):
    page = digits[2]
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)[1]
    assert "default-src 'none'" in policy
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(inline) == 1
        digest = b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not re.search(r"<(link|img|iframe|object)", page)


def test_measures_are_those_of_evaluate_with_their_intervals(digits):
    folder, _, page = digits
    run = reading.block(page, "run")
    right = isthmus.evaluate(isthmus.load(folder), "digits")
    assert run["measures"]["source"] == "measured on the test part of digits: 450 rows"
    rows = {row["name"]: row for row in run["measures"]["rows"]}
    assert set(rows) == set(right)
    fvu = right["fvu"]
    assert rows["fvu"]["value"] == pytest.approx(fvu.value, rel=1e-5)
    assert [rows["fvu"]["low"], rows["fvu"]["high"]] == pytest.approx(fvu.interval, rel=1e-5)


@pytest.mark.parametrize("recipe", ["transcoder", "crosscoder"])
def test_collections_have_atoms_of_what_is_written_and_no_drawn_directions(tmp_path, recipe):
    np.savez(tmp_path / "x.npz", **{"in": X[:, :4], "out": X[:, 4:]})
    model = fitted(tmp_path / "run", recipe, str(tmp_path / "x.npz"), k=2)
    page = written(tmp_path / "run")
    atoms = model.atoms()
    if recipe == "crosscoder":
        atoms = torch.cat(list(atoms.values()), 1)
    norms = np.linalg.norm(atoms.numpy(), axis=1)
    columns = {c["key"]: c for c in reading.block(page, "latents")["columns"]}
    assert reading.array(columns["norm"]["values"], np) == pytest.approx(norms, rel=1e-5)
    assert not any("atom" in detail for detail in reading.packed(page, "chunk-0")[0])


def test_curves_are_the_log(digits):
    folder, _, page = digits
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    charts = reading.block(page, "run")["curves"]
    assert charts[0]["title"] == "loss"
    assert charts[0]["lines"][0]["x"] == [r["step"] for r in records]
    assert charts[0]["lines"][0]["y"] == pytest.approx([r["loss"] for r in records], rel=1e-5)
    assert charts[-1]["title"] == "lr"


def test_traversals_are_decoded_around_the_mean_code(digits):
    _, model, page = digits
    test = isthmus.data.load("digits").test
    z = model.encode(test)
    details, binary = reading.packed(page, "chunk-0")
    start, length, values = details[3]["traversal"]
    drawn = np.frombuffer(binary[start : start + length], np.uint8).reshape(-1, 8, 8)
    assert values[0] == pytest.approx(np.quantile(z[:, 3], 0.005), rel=1e-3)
    assert values[-1] == pytest.approx(np.quantile(z[:, 3], 0.995), rel=1e-3)
    code = np.tile(z.mean(0), (len(values), 1))
    code[:, 3] = values
    right = np.clip(model.decode(code)[:, 0], 0, 1) * 255
    assert np.abs(drawn - right).max() <= 1.0


def test_strongest_inputs_are_the_rows_of_the_largest_values(digits):
    _, model, page = digits
    test = isthmus.data.load("digits").test
    z = model.encode(test)[:, 2]
    details, _ = reading.packed(page, "chunk-0")
    rows = [row for row, _ in details[2]["strong"]]
    assert rows == np.argsort(-z, kind="stable")[: len(rows)].tolist()
    assert [v for _, v in details[2]["weak"]] == pytest.approx(np.sort(z)[:6], rel=1e-3)
    places, binary = reading.packed(page, f"pool-{rows[0] // 256}")
    start, length = places[str(rows[0])]
    drawn = np.frombuffer(binary[start : start + length], np.uint8)
    assert np.abs(drawn / 255 - test[rows[0]].ravel()).max() < 0.5 / 255 + 1e-6


def test_units_have_the_divergence_of_the_measure(digits):
    _, model, page = digits
    columns = {c["key"]: c for c in reading.block(page, "latents")["columns"]}
    kl = isthmus.evaluate(model, "digits")["kl"].per
    assert reading.array(columns["kl"]["values"], np) == pytest.approx(kl, rel=1e-4)
    assert reading.block(page, "latents")["order"] == "kl"


def test_dead_and_dense_latents_are_those_of_the_measure(tmp_path):
    model = fitted(tmp_path / "run", "topk", latent_dim=64, k=8, steps=40)
    page = written(tmp_path / "run")
    right, firing = isthmus.evaluate(model, "digits"), reading.block(page, "run")["firing"]
    assert firing["dead"] == round(right["dead_share"].value * 64)
    assert firing["dense"] == round(right["dense_share"].value * 64)
    assert sum(firing["counts"]) == 64 - firing["dead"]
    rates = reading.array(reading.block(page, "latents")["rates"], np)
    assert rates == pytest.approx(right["l0"].per, rel=1e-5)
    details, binary = reading.packed(page, "chunk-0")
    start, length, most = details[5]["atom"]
    atom = np.frombuffer(binary[start : start + length], np.int8) * most / 127
    weight = (model.decoder.weight * model.scaler.scale).detach().numpy()
    assert atom == pytest.approx(weight[5], abs=most / 127)
    assert "traversal" not in details[5]


RECIPES = {
    "ard-vae": 4, "barlow-twins": 4, "bigan": 4, "gated": 4, "gon": 4, "jumprelu": 4, "mae": None,
    "qlae": 4, "vae": 4,
}  # fmt: skip
"""With the number of latents that is asked for, where there is such an option."""


@pytest.mark.parametrize(("recipe", "latents"), RECIPES.items())
def test_every_kind_of_code_has_a_page(recipe, latents, tmp_path):
    options = {"patch": 2} if latents is None else {"latent_dim": latents}
    isthmus.fit(
        recipe, IMAGES, out=tmp_path / "run", progress=False, steps=2, batch_size=16, **options
    )
    page = written(tmp_path / "run", X=IMAGES)
    run, shown = reading.block(page, "run"), reading.block(page, "latents")
    assert run["measures"]["rows"][0]["n"] == 80
    assert shown["kind"] == "image"
    assert len(reading.array(shown["ids"], np)) == latents or latents is None
    assert shown["order"] in {column["key"] for column in shown["columns"]}


def test_vectors_series_and_column_names(tmp_path):
    (tmp_path / "t.csv").write_text(
        "one,<b>two,three\n" + "\n".join(f"{a},{b},{c}" for a, b, c in X[:60, :3])
    )
    fitted(tmp_path / "v", data=str(tmp_path / "t.csv"), latent_dim=2)
    page = written(tmp_path / "v")
    assert reading.block(page, "latents")["names"] == ["one", "<b>two", "three"]
    series = G.normal(size=(50, 7, 2)).astype(np.float32)
    isthmus.fit("plain", series, out=tmp_path / "s", steps=2, batch_size=16, progress=False)
    latents = reading.block(written(tmp_path / "s", X=series), "latents")
    assert (latents["kind"], latents["channels"]) == ("vector", 2)


def test_without_data_the_log_speaks(tmp_path):
    fitted(tmp_path / "run", data=X, log_every=1)
    run = reading.block(written(tmp_path / "run"), "run")
    assert run["measures"]["source"].startswith("last values of the log, step 3")
    names = {row["name"] for row in run["measures"]["rows"]}
    assert "loss" in names
    assert not names & {"step", "epoch", "rows_per_second"}
    assert "not a name or a file" in run["notes"][0]
    assert reading.block(written(tmp_path / "run"), "latents") is None
    given = reading.block(written(tmp_path / "run", X=X), "run")
    assert given["measures"]["source"] == "measured on the rows given: 200 rows"


def test_data_that_changed_are_not_used(tmp_path):
    np.save(tmp_path / "x.npy", X)
    fitted(tmp_path / "run", data=str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", X + 1)
    run = reading.block(written(tmp_path / "run"), "run")
    assert "has changed since the run" in run["notes"][0]
    assert run["measures"]["source"].startswith("last values")


def test_many_rows_are_sampled_over_all_of_them(tmp_path, monkeypatch):
    from isthmus.pages import opened as run_module

    monkeypatch.setattr(run_module, "MOST_ROWS", 100)
    np.save(tmp_path / "x.npy", X)
    fitted(tmp_path / "run", data=str(tmp_path / "x.npy"))
    run = reading.block(written(tmp_path / "run"), "run")
    assert "100 of 200 rows, in 50 stretches" in run["measures"]["source"]
    some = run_module.spread(isthmus.data.as_source(X), 100)
    assert some.index.tolist() == sorted(set(some.index.tolist()))
    assert (int(some.index[0]), int(some.index[-1])) == (0, 199)


def test_a_model_with_modules_of_ones_own(tmp_path):
    fitted(tmp_path / "run", data=X, encoder=torch.nn.Linear(6, 8))
    run = reading.block(written(tmp_path / "run"), "run")
    assert "encoder of your own" in run["notes"][0]
    assert run["measures"]["rows"]


def test_an_interrupted_log_and_a_model_saved_alone(tmp_path):
    model = fitted(tmp_path / "run", log_every=1)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 4, "lo')
    assert reading.block(written(tmp_path / "run"), "run")["curves"][0]["lines"][0]["x"] == [
        1,
        2,
        3,
    ]
    isthmus.save(model, tmp_path / "alone")
    run = reading.block(written(tmp_path / "alone"), "run")
    assert run["curves"] == []
    assert run["measures"]["rows"]


def test_folders_that_are_no_run(tmp_path):
    with pytest.raises(IsthmusError, match="no checkpoint"):
        report(tmp_path)
    isthmus.fit_many(
        {"a": {"recipe": "plain"}, "b": {"recipe": "plain", "seed": 1}}, X, out=tmp_path / "many",
        latent_dim=2, steps=2, batch_size=16, progress=False,
    )  # fmt: skip
    with pytest.raises(IsthmusError, match="several runs"):
        report(tmp_path / "many")
    fitted(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(IsthmusError, match="damaged"):
        report(tmp_path / "run")


def test_where_the_page_is_written(tmp_path, digits):
    folder = digits[0]
    assert report(folder, progress=False) == folder / "report.html"
    assert report(folder, tmp_path / "new" / "p.html", progress=False).exists()
    assert report(str(folder), tmp_path, progress=False) == tmp_path / "report.html"


def test_a_name_of_markup_is_text(tmp_path):
    name = "<svg onload=alert(1)>&\u202e"
    fitted(tmp_path / name)
    page = written(tmp_path / name)
    title = re.search("<title>(.*?)</title>", page)[1]
    assert html.unescape(title) == "<svg onload=alert(1)>&\N{REPLACEMENT CHARACTER}"
    assert "<svg onload" not in page
    assert reading.block(page, "run")["title"] == name


def test_stored_features_are_shown_and_old_ones_told_of(tmp_path):
    fitted(tmp_path / "run", "topk", k=2)
    write_features(tmp_path / "run" / "features", [{}] * 3, [], tokens=1234)
    page = written(tmp_path / "run")
    assert reading.block(page, "latents")["kind"] == "text"
    facts = dict(reading.block(page, "run")["about"]["facts"])
    assert facts["features"] == "1,234 tokens of t at p of m"
    model = tmp_path / "run" / "model.safetensors"
    shutil.copy(model, model.with_suffix(".new"))
    model.with_suffix(".new").replace(model)
    os.utime(tmp_path / "run" / "features" / "about.json", (0, 0))
    notes = reading.block(written(tmp_path / "run"), "run")["notes"]
    assert any("older than the model" in note for note in notes)


def test_the_command(tmp_path, digits):
    from typer.testing import CliRunner

    from isthmus.cli import app

    place = tmp_path / "c.html"
    done = CliRunner().invoke(app, ["report", str(digits[0]), "-o", str(place)])
    assert done.exit_code == 0, done.output
    assert place.exists()
    assert "c.html" in done.output.replace("\n", "")


def test_a_page_measures_data_as_the_run_read_them(tmp_path):
    """Pictures brought to a size, tables with text and gaps, numbers centred in double."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(20):
        pixels = G.integers(0, 256, (9 + i % 3, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    lines = [f"{value},{'uvw'[i % 3]},{1e9 + i}" for i, value in enumerate(G.normal(size=40))]
    (tmp_path / "mixed.csv").write_text("a,k,t\n" + "\n".join([*lines, ",u,1e9"]) + "\n")
    np.save(tmp_path / "far.npy", G.normal(size=(40, 5)) + 1e9)
    for name, how in (("photos", {"size": 8, "mode": "rgb"}), ("mixed.csv", {}), ("far.npy", {})):
        folder = tmp_path / f"run-{name}"
        model = fitted(folder, data=str(tmp_path / name), latent_dim=2, batch_size=8, **how)
        page = written(folder)
        assert "Nothing was measured" not in page
        measured = isthmus.evaluate(model, str(tmp_path / name))["fvu"].value
        shown = open_run(folder)
        assert not shown.missing
        again = isthmus.evaluate(shown.model, shown.rows)["fvu"].value
        assert again == pytest.approx(measured, rel=1e-5)


def test_a_page_is_no_file_of_another_form(digits, tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(IsthmusError, match=r"rows.csv should end in .html"):
        report(digits[0], tmp_path / "rows.csv", progress=False)
    assert (tmp_path / "rows.csv").read_text() == "a\n1\n"
