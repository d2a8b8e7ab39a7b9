"""The picture of a run: chosen by what it reads, and said in one line."""

import numpy as np
import pytest

import isthmus
from commands import command
from isthmus import pictures
from isthmus.cli import app
from isthmus.data import as_source
from isthmus.errors import IsthmusError, MissingExtra
from isthmus.pages.codes import codes_of
from isthmus.pictures import panels, reconstructing
from isthmus.pictures.dictionary import densities, parts_shared, written

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(80, 5)).astype(np.float32)
QUICK = {"steps": 4, "batch_size": 32, "progress": False}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a file of numbers and words."""
    folder = tmp_path_factory.mktemp("table")
    lines = [f"{a:.3f},{b:.3f},{'xyz'[k % 3]}" for k, (a, b) in enumerate(ROWS[:, :2])]
    (folder / "t.csv").write_text("a,b,word\n" + "\n".join(lines) + "\n")
    isthmus.fit(
        "vae", str(folder / "t.csv"), out=folder / "run", latent_dim=2, hidden=(4,), **QUICK
    )
    return folder


def test_a_run_on_a_table_is_drawn_by_its_columns(table, monkeypatch, tmp_path):
    calls = []
    whole = panels.scatters
    monkeypatch.setattr(panels, "scatters", lambda *a: calls.append(a) or whole(*a))
    said = command("plot", str(table / "run"), "-o", str(tmp_path / "p.png"))
    assert "reconstructions, codes in the plane; the rows" in said
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    names = [name.partition(":")[0] for name in calls[0][1]]
    assert {"a", "b"} < set(names)


def test_samples_of_a_table_are_a_table(table, tmp_path):
    import pandas as pd

    said = command("samples", str(table / "run"), "-n", "7", "-o", str(tmp_path / "s.csv"))
    assert "7 rows of 3 columns" in said
    found = pd.read_csv(tmp_path / "s.csv")
    assert [*found.columns] == ["a", "b", "word"]
    assert set(found["word"]) <= set("xyz")
    said = command("samples", str(table / "run"), "-n", "7", "-o", str(tmp_path / "s.png"))
    assert "grey: the data" in said
    said = command(
        "traverse", str(table / "run"), "--latents", "1,0", "-o", str(tmp_path / "t.png")
    )
    assert "latents 1, 0 of 2" in said


def test_texts_are_samples_of_text(tmp_path):
    texts = [f"{a} is {b}." for a in "abcdefgh" for b in "abcd"]
    model = isthmus.fit(
        "text-vae", texts, latent_dim=2, width=8, embedding=4, out=tmp_path / "r", **QUICK
    )
    assert "3 texts" in command(
        "samples", str(tmp_path / "r"), "-n", "3", "-o", str(tmp_path / "s.csv")
    )
    assert pictures.reconstructions(model, texts).png()
    assert pictures.samples(model, 3).png()


def test_densities_count_what_fires():
    model = isthmus.fit("batchtopk", ROWS, latent_dim=12, k=2, k_aux=2, **QUICK)
    codes = codes_of(model, as_source(ROWS))
    z = model.encode(ROWS)
    often, many = densities(codes)
    assert often.title == "codes: how often each of 12 latents fires"
    assert [panel.draw.__closure__ is not None for panel in (often, many)] == [True, True]
    assert codes.counts.tolist() == (z != 0).sum(0).tolist()
    figure = pictures.Picture((often, many), "").figure()
    texts = [t.get_text() for part in figure.subfigs for t in part.axes[0].texts]
    assert texts == [
        f"{int((z == 0).all(0).sum())} never fire on these 80 rows",
        f"{(z != 0).sum(1).mean():.1f} in the mean",
    ]
    heights = [bar.get_height() for bar in figure.subfigs[0].axes[0].patches]
    assert sum(heights) == (z != 0).any(0).sum()
    heights = [bar.get_height() for bar in figure.subfigs[1].axes[0].patches]
    assert sum(heights) == 80


def test_a_number_that_is_the_same_on_every_row_is_a_note():
    model = isthmus.fit("topk", ROWS, latent_dim=12, k=2, k_aux=2, **QUICK)
    (often,) = densities(codes_of(model, as_source(ROWS)))
    figure = pictures.Picture((often,), "").figure()
    assert figure.subfigs[0].axes[0].texts[0].get_text().startswith("2 fire on every row, ")


def test_transcoders_and_crosscoders_are_drawn_by_what_they_write():
    both = {"left": ROWS, "right": 2.0 * ROWS[:, :3]}
    options = {"latent_dim": 8, "k": 2, **QUICK}
    model = isthmus.fit("transcoder", both, **options)
    panel = written(model, as_source(both))
    assert panel.title.startswith("right: said over true")
    moved = pictures.traverse(model, both, latents=[0, 1])  # what is written is one part of two
    assert len(moved.figure().subfigs) == 1
    model = isthmus.fit("crosscoder", both, **options)
    assert written(model, as_source(both)) is None
    axes = pictures.Picture((parts_shared(model),), "").figure().subfigs[0].axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    norms = [part.detach().norm(dim=1).numpy() for part in model.atoms().values()]
    shares, _ = np.histogram(norms[1] / (norms[0] + norms[1]), 41, (0, 1))
    assert heights == shares.tolist()
    assert "where latents write" in pictures.portrait(model, both).about


def test_codes_of_two_latents_are_drawn_as_they_are():
    model = isthmus.fit("plain", ROWS, latent_dim=2, hidden=(), **QUICK)
    panel = reconstructing.where_codes_lie(codes_of(model, as_source(ROWS)), np.arange(80) % 3)
    axes = pictures.Picture((panel,), "").figure().subfigs[0].axes[0]
    drawn = np.concatenate([part.get_offsets() for part in axes.collections])
    order = np.argsort(np.arange(80) % 3, kind="stable")
    assert np.allclose(drawn, model.encode(ROWS)[order], atol=1e-6)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["0", "1", "2"]


def test_pictures_touch_no_state_of_pyplot():
    import sys

    import matplotlib

    before, loaded = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    model = isthmus.fit("vae", ROWS, latent_dim=2, hidden=(4,), **QUICK)
    assert pictures.portrait(model, ROWS).png()
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_four_channels_cover_white_and_others_are_grey():
    one = np.array([1.0, 0.0, 0.0, 0.5]).reshape(1, 4, 1, 1)
    assert panels.in_colour(one, 0, 1).ravel().tolist() == [1.0, 0.5, 0.5]
    two = np.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    assert panels.in_colour(two, 0, 1).ravel().tolist() == [0.5] * 3
    assert panels.in_colour(np.full((1, 1, 1, 1), 30.0), -10, 70).ravel().tolist() == [0.5] * 3


def test_what_cannot_be_written_is_said_first(table, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    for words, message in (
        (("samples", "-o", "x.jpg"), "should end in .png, .csv, .npz or .npy"),
        (("traverse", "-o", "x.csv"), "should end in .png"),
        (("plot", "-o", "x"), "should end in .png"),
        (("traverse", "--latents", "a"), "is no list of latents"),
    ):
        found = CliRunner().invoke(app, [words[0], str(table / "run"), *words[1:]])
        assert isinstance(found.exception, IsthmusError)
        assert message in str(found.exception)
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"isthmus\[viz\]"):
        pictures.plot(table / "run")


def test_a_run_whose_data_are_gone_has_its_curves(tmp_path):
    isthmus.fit("plain", ROWS, latent_dim=2, out=tmp_path / "r", **{**QUICK, "steps": 120})
    assert pictures.plot(tmp_path / "r").about.startswith("learning curves")
    shown = pictures.plot(tmp_path / "r", ROWS).about
    assert "reconstructions" in shown
    assert "the rows given" in shown


def test_a_long_title_is_not_cut_off():
    title = ", ".join(f"option_{i}={i}" for i in range(14))
    sheet = pictures.Picture((panels.texts("said", [["a", "b"]]),), "texts", title)
    figure = sheet.figure()
    figure.canvas.draw()
    written = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= written.x0 < written.x1 <= figure.bbox.x1
    assert figure._suptitle.get_text().replace("\n", " ") == title
