"""Examples that a comparison keeps: the rows are rows of the data, the worst ones are the worst."""

import numpy as np
import pytest

from isthmus.comparison import compare
from isthmus.comparison.comparison_page import page
from isthmus.comparison.examples import FILE, SIDE, read
from isthmus.comparison.methods import PCA
from isthmus.comparison.prepared import prepare, split

QUICK = {"seeds": 2, "steps": 3, "batch_size": 16, "latents": 2, "width": 8}
RNG = np.random.default_rng(0)


def test_the_rows_of_images_are_those_of_the_data(tmp_path):
    x = RNG.random((48, 6, 6)).astype(np.float32)
    found = compare(
        x, ["plain", "barlow-twins"], "reconstruct", kind="image", out=tmp_path, **QUICK
    )
    held = found.examples
    assert held.kind == "image"
    assert np.array_equal(held.x[:, 0], x[held.rows])
    assert set(held.rebuilt) == {"plain", "pca", "untrained"}
    part = split(found.prepared, 0)
    place = [int(np.flatnonzero(part.test_rows == row)[0]) for row in held.rows]
    expected = PCA(part, 2, 0).rebuilt(part.test[place])
    assert np.allclose(held.rebuilt["pca"], expected, atol=1e-5)
    kept = read(tmp_path)
    assert np.array_equal(kept.x, held.x)
    assert np.array_equal(kept.rebuilt["plain"], held.rebuilt["plain"])
    again = compare(x, ["plain"], "reconstruct", kind="image", out=tmp_path, **QUICK)
    assert set(again.examples.rebuilt) == set(held.rebuilt)
    assert page(found).count("<img") == 4
    (tmp_path / FILE).write_bytes(b"PK")
    assert read(tmp_path).kind == ""


def test_large_images_are_kept_small():
    x = RNG.random((16, 100, 130)).astype(np.float32)
    found = compare(
        x,
        ["plain"],
        "reconstruct",
        kind="image",
        options={"plain": {"network": "mlp", "hidden": (2,)}},
        **QUICK,
    )
    assert max(found.examples.x.shape[2:]) <= SIDE


def test_the_worst_rows_of_a_table_are_named_with_their_columns():
    x = RNG.normal(size=(60, 5)).astype(np.float32)
    x[:, 4] = x[:, 0] - x[:, 1]
    found = compare(x, ["plain"], "reconstruct", **QUICK)
    part = split(prepare(x), 0)
    errors = np.square(part.test - PCA(part, 2, 0).rebuilt(part.test)).mean(1)
    worst = found.examples.worst["pca"]
    order = np.argsort(-errors, kind="stable")[: len(worst.rows)]
    assert np.array_equal(worst.rows, part.test_rows[order])
    assert worst.errors == pytest.approx(errors[order], rel=1e-4)
    gap = np.abs(worst.x[0] - worst.rebuilt[0])
    assert f"column {gap.argmax()}: {worst.x[0][gap.argmax()]:.2f}" in page(found)


def test_series_are_drawn_as_curves():
    x = RNG.normal(size=(40, 12, 2)).astype(np.float32)
    text = page(compare(x, ["plain"], "reconstruct", kind="series", **QUICK))
    assert text.count("overlaid") >= 2
    assert "line true" in text


def test_columns_that_do_not_vary_keep_the_names_of_the_others_in_place(tmp_path):
    rows = [f"{k % 7},5,{k * k % 11}" for k in range(40)]
    (tmp_path / "t.csv").write_text("a,same,b\n" + "\n".join(rows) + "\n")
    part = split(prepare(str(tmp_path / "t.csv")), 0)
    assert part.columns == ("a", "b")
    assert part.train.shape[1] == 2
