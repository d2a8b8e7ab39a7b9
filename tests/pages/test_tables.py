"""Reports of runs on tables with text, dates and gaps."""

import numpy as np
import pytest

import isthmus
from isthmus import notices
from isthmus.pages import report

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    g = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "age": g.integers(18, 90, 120).astype(float),
            "town": np.array(["Ulm", "Bern", None], dtype=object)[g.integers(0, 3, 120)],
            "seen": pandas.Timestamp("2024-01-01")
            + pandas.to_timedelta(g.integers(0, 99, 120), "D"),
        }
    )
    frame.loc[::9, "age"] = np.nan
    frame.to_csv(folder / "people.csv", index=False)
    frame[["seen", "town", "age"]][:50].to_csv(folder / "new.csv", index=False)
    return folder, frame


@pytest.mark.parametrize("recipe", ["vae", "plain", "topk"])
def test_a_report_on_a_mixed_table_has_its_measures(people, recipe):
    folder, _ = people
    out = folder / recipe
    options = {"steps": 5, "latent_dim": 4, "batch_size": 32}
    isthmus.fit(recipe, str(folder / "people.csv"), out=out, progress=False, **options)
    with notices.collected(quiet=True) as said:
        page = report(out, progress=False).read_text()
        report(out, folder / "new.html", X=str(folder / "new.csv"), progress=False)
    assert not any("Nothing was measured" in one or "lacks a part" in one for one in said)
    assert "fvu" in page
    assert "Nothing was measured" not in page


def test_as_read_are_features_and_else_a_frame(people):
    model = isthmus.fit("vae", people[1], steps=3, latent_dim=2, batch_size=32, progress=False)
    codes, width = model.encode(people[1]), model.signal.numel
    for plain in (model.decode(codes, as_read=True), model.sample(4, as_read=True)):
        assert np.asarray(plain).shape[1:] == (width,)
        assert np.asarray(plain).dtype == np.float32
    for frame in (model.decode(codes), model.sample(4)):
        assert list(frame.columns) == ["age", "town", "seen"]
