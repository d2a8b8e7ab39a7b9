"""Scores from the command line."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import isthmus
from commands import command
from isthmus.cli import app
from isthmus.errors import IsthmusError

NAMES = ["length", "width", "height", "weight", "age"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A run, its table, and a table of other rows with a column of names."""
    folder = tmp_path_factory.mktemp("scores")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(200, 5))
    train, test = X[:150], X[150:].copy()
    test[7, 2] += 5.0  # the height of one row
    header = ",".join(NAMES)
    np.savetxt(folder / "train.csv", train, delimiter=",", header=header, comments="")
    with open(folder / "test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *NAMES])
        writer.writerows([f"row {i}", *row] for i, row in enumerate(test))
    isthmus.fit("trimmed-linear-vae", str(folder / "train.csv"), out=folder / "run", progress=False)
    return folder


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def refused(*words):
    """The one sentence with which a command is refused."""
    said = CliRunner().invoke(app, [str(word) for word in words])
    assert said.exit_code != 0
    assert isinstance(said.exception, IsthmusError), said.output
    return str(said.exception)


def test_scores_with_names_flags_and_drivers(places, tmp_path):
    out = tmp_path / "s.csv"
    said = command("score", str(places / "run"), str(places / "test.csv"), "-o", str(out),
                   "--id", "name")  # fmt: skip
    table = read(out)
    model = isthmus.load(places / "run")
    rows = np.array([[float(row[n]) for n in NAMES] for row in read(places / "test.csv")], "f4")
    assert [row["name"] for row in table] == [f"row {i}" for i in range(50)]
    scores = np.array([float(row["score"]) for row in table])
    np.testing.assert_allclose(scores, model.score(rows), rtol=1e-5)
    flags = np.array([int(row["anomaly"]) for row in table])
    np.testing.assert_array_equal(flags == 1, model.predict(rows, contamination=0.05) == -1)
    assert table[7]["anomaly"] == "1"
    assert table[7]["driver_1"] == "height"
    drivers = model.drivers(rows)
    assert float(table[7]["weight_1"]) == pytest.approx(drivers[7].max(), rel=1e-3)
    for row, own in zip(table, drivers, strict=True):
        assert [row[f"driver_{i}"] for i in (1, 2, 3)] == [NAMES[j] for j in np.argsort(-own)[:3]]
    assert f"{flags.sum()} score below" in said


def test_without_an_id_rows_have_their_numbers(places, tmp_path):
    out = tmp_path / "s.csv"
    command("score", str(places / "run"), f"{places / 'test.csv'}:-name", "-o", str(out),
            "--contamination", "0.2", "--drivers", "0")  # fmt: skip
    table = read(out)
    assert list(table[0]) == ["row", "score", "anomaly"]
    assert [row["row"] for row in table] == [str(i) for i in range(50)]


def test_a_share_of_the_training_rows_is_flagged(places, tmp_path):
    out = tmp_path / "s.csv"
    command("score", str(places / "run"), str(places / "train.csv"), "-o", str(out),
            "--contamination", "0.1")  # fmt: skip
    assert sum(row["anomaly"] == "1" for row in read(out)) == 15


def test_a_threshold_of_ones_own(places, tmp_path):
    out = tmp_path / "s.csv"
    command("score", str(places / "run"), str(places / "train.csv"), "-o", str(out),
            "--threshold", "-1e9")  # fmt: skip
    assert {row["anomaly"] for row in read(out)} == {"0"}


def test_a_run_without_training_scores_flags_nothing_and_says_so(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 5)).astype("f4")
    np.save(tmp_path / "x.npy", X)
    isthmus.fit("topk", X, out=tmp_path / "run", steps=2, latent_dim=8, k=2, progress=False)
    place = (str(tmp_path / "run"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "s.csv"))
    command("score", *place)
    assert list(read(tmp_path / "s.csv")[0])[:2] == ["row", "score"]
    assert "anomaly" not in read(tmp_path / "s.csv")[0]
    (tmp_path / "s.csv").unlink()
    assert "no scores of training rows" in refused("score", *place, "--contamination", "0.1")
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("by", ["mse", "wnll"])
def test_the_mean_shift_and_the_weighting_of_a_pae(places, tmp_path, by):
    from isthmus.recipes.anomaly.pae import mean_shift_scores

    run, out = tmp_path / "run", tmp_path / "s.csv"
    train = str(places / "train.csv")
    model = isthmus.fit("pae", train, out=run, steps=20, progress=False)
    command("score", str(run), f"{places / 'test.csv'}:-name", "-o", str(out),
            "method=mean-shift", "k=5", "rounds=2", f"by={by}")  # fmt: skip
    table = read(out)
    read_rows = [np.loadtxt(train, delimiter=",", skiprows=1, dtype="f4")]
    test = np.array([[float(r[n]) for n in NAMES] for r in read(places / "test.csv")], "f4")
    expected = mean_shift_scores(model, test, read_rows[0], k=5, rounds=2, by=by)
    np.testing.assert_allclose([float(row["score"]) for row in table], expected, rtol=1e-4)
    own = mean_shift_scores(model, read_rows[0], k=5, rounds=2, by=by)
    flags = np.array([row["anomaly"] == "1" for row in table])
    np.testing.assert_array_equal(flags, expected < np.quantile(own, 0.05))


def test_names_of_files_stand_for_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(6):
        picture = rng.integers(0, 255, size=(8, 8), dtype=np.uint8)
        image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    pictures = str(tmp_path / "pictures")
    isthmus.fit("plain", pictures, out=tmp_path / "run", steps=2, latent_dim=2, progress=False)
    command("score", str(tmp_path / "run"), pictures, "-o", str(tmp_path / "s.csv"))
    table = read(tmp_path / "s.csv")
    assert [row["file"][-5:] for row in table] == [f"{i}.png" for i in range(6)]
    assert "driver_1" not in table[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--id", "nam"), "did you mean 'name'"),
        (("--id", "name", "--contamination", "0.7"), "contamination=0.7"),
        (("--id", "name", "--contamination", "0.1", "--threshold", "1"), "leave out one"),
        (("--id", "name", "--threshold", "nan"), "nan is no score"),
        (("--id", "name", "method=shift"), "method"),
        (("--id", "name", "k=3"), "method=score"),
        (("--id", "name", "kind=bounds"), "did you mean 'bound'"),
        (("--id", "name", "method=mean-shift", "by=wnll"), "pae"),
        (("--id", "name", "kind=error", "--contamination", "0.1"), "kind=error"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(places, tmp_path, words, said):
    out = tmp_path / "s.csv"
    found = refused("score", places / "run", places / "test.csv", "-o", out, *words)
    assert said in found
    assert "\n" not in found
    assert not out.exists()


def test_the_output_is_a_table(places, tmp_path):
    said = refused("score", places / "run", places / "train.csv", "-o", tmp_path / "s.json")
    assert "should end in .csv" in said


def test_rows_of_another_width_are_refused(places, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3), "f4"))
    said = refused("score", places / "run", tmp_path / "x.npy", "-o", tmp_path / "s.csv")
    assert "pass rows that fit" in said


def test_the_run_says_what_its_training_rows_scored(places):
    config = json.loads((places / "run" / "config.json").read_text())
    kept = config["scores"]
    assert (kept["kind"], kept["rows"], kept["of"]) == ("bound", 150, 150)
    assert kept["quantiles"] == sorted(kept["quantiles"])


@pytest.mark.parametrize("size", ["1e25", "1e30"])
def test_a_huge_cell_is_blamed_on_its_own_column(places, tmp_path, size):
    table = read(places / "train.csv")[:3]
    table[0]["width"] = size
    with open(tmp_path / "huge.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, NAMES)
        writer.writeheader()
        writer.writerows(table)
    out = tmp_path / "s.csv"
    command("score", str(places / "run"), str(tmp_path / "huge.csv"), "-o", str(out))
    found = read(out)
    assert found[0]["driver_1"] == "width"
    assert found[0]["anomaly"] == "1"
    assert -1e70 < float(found[0]["score"]) < -1e40
    assert all(np.isfinite(float(found[0][f"weight_{i}"])) for i in (1, 2, 3))


def test_a_column_of_words_and_one_with_gaps_are_named_once(tmp_path):
    rng = np.random.default_rng(0)
    with open(tmp_path / "t.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "w", "gappy", "even"])
        for i in range(120):
            gap = "" if i % 7 == 0 else f"{rng.normal():.4f}"
            writer.writerow([f"r{i:03}", "xyz"[rng.integers(3)], gap, f"{rng.normal():.4f}"])
    run, data = tmp_path / "run", f"{tmp_path / 't.csv'}:-id"
    model = isthmus.fit("plain", data, out=run, steps=3, latent_dim=2, progress=False)
    command("score", str(run), data, "-o", str(tmp_path / "s.csv"))
    columns = ["w", "gappy", "even"]
    features = np.asarray(model.drivers(data, as_read=True))
    assert features.shape == (120, 6)  # three words, the number and its gap, the number
    parts = (features[:, :3], features[:, 3:5], features[:, 5:])
    sums = np.stack([part.sum(1) for part in parts], 1)
    np.testing.assert_allclose(model.drivers(data), sums, rtol=1e-5)
    for row, own in zip(read(tmp_path / "s.csv"), sums, strict=True):
        order = np.argsort(-own, kind="stable")
        assert [row[f"driver_{i}"] for i in (1, 2, 3)] == [columns[j] for j in order]
        assert float(row["weight_1"]) == pytest.approx(own[order[0]], rel=1e-3)


def test_drivers_of_a_frame_have_its_columns_and_of_an_array_what_it_has():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 3))
    values[::6, 1] = np.nan
    frame = pandas.DataFrame(values, columns=list("abc"))
    model = isthmus.fit("plain", frame, steps=3, latent_dim=2, progress=False)
    found = model.drivers(frame)
    assert found.shape == (80, 3)
    assert model.drivers(frame, as_read=True).shape == (80, 4)
    np.testing.assert_allclose(model.drivers(values), found, rtol=1e-5)
