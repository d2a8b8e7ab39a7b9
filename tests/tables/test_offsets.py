"""Times that were written with an offset from UTC come back with it, or in UTC and said."""

import datetime

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus import notices
from isthmus.cli.decode import decoded
from isthmus.errors import IsthmusError
from isthmus.tables import files as reading
from isthmus.tables import text_columns

SMALL = {"latent_dim": 2, "steps": 20, "hidden": (8,), "progress": False}


def written(folder, offsets, rows=48):
    """A file of a row an hour, with these offsets in turn."""
    hours = pd.date_range("2021-01-01", periods=rows, freq="h").strftime("%Y-%m-%dT%H:%M:%S")
    path = folder / "hours.csv"
    frame = pd.DataFrame({
        "when": [hour + offsets[i % len(offsets)] for i, hour in enumerate(hours)],
        "load": np.random.default_rng(0).normal(size=rows),
    })  # fmt: skip
    frame.to_csv(path, index=False)
    return path


def test_one_offset_comes_back(tmp_path):
    path = written(tmp_path, ["+09:00"])
    with notices.collected(quiet=True) as said:
        model = isthmus.fit("plain", path, **SMALL)
    assert not any("UTC" in str(one) for one in said)
    back = model.reconstruct(pd.read_csv(path))["when"]
    assert {one.utcoffset() for one in back} == {datetime.timedelta(hours=9)}
    first = pd.Timestamp("2021-01-01T00:00:00+09:00")
    assert (abs(back - first) < pd.Timedelta(days=4)).all()
    assert "+09:00" in str(model.decode(model.encode(path))["when"].iloc[0])


def test_decode_writes_the_offset(tmp_path):
    path = written(tmp_path, ["+0530"])
    model = isthmus.fit("plain", path, out=tmp_path / "run", **SMALL)
    np.savez(tmp_path / "codes.npz", z=model.encode(path))
    decoded(tmp_path / "run", tmp_path / "codes.npz", tmp_path / "back.csv")
    cells = pd.read_csv(tmp_path / "back.csv", dtype=str)["when"]
    assert cells.str.endswith("+05:30").all()


def test_several_offsets_come_back_in_utc_and_it_is_said(tmp_path):
    path = written(tmp_path, ["+01:00", "+02:00"])
    with notices.collected(quiet=True) as said:
        model = isthmus.fit("plain", path, **SMALL)
    assert any("times with an offset are given back in UTC" in str(one) for one in said)
    assert str(model.reconstruct(path)["when"].dt.tz) == "UTC"


@pytest.mark.parametrize(("offset", "zone"), [("Z", "UTC"), ("+00:00", "UTC"), ("", "")])
def test_utc_and_none(tmp_path, offset, zone):
    assert reading.read(written(tmp_path, [offset]))["when"].zone == zone


def test_some_with_and_some_without_is_one_sentence(tmp_path):
    with pytest.raises(IsthmusError, match=r"'when' of 'hours\.csv' has times with and without"):
        isthmus.fit("plain", written(tmp_path, ["+01:00", ""]), **SMALL)


@pytest.mark.parametrize(("offsets", "zone"), [(["-03:00"], "-03:00"), (["Z", "+01:00"], "UTC")])
def test_of_columns_that_are_read_in_parts(tmp_path, monkeypatch, offsets, zone):
    monkeypatch.setattr(text_columns, "KEPT", 20)
    column = reading.read(written(tmp_path, offsets))["when"]
    assert (column.kind, column.zone) == ("time", zone)


def test_objects_of_several_zones_come_back_in_utc_and_it_is_said():
    zones = [datetime.timezone(datetime.timedelta(hours=h)) for h in (1, 2)]
    times = [
        datetime.datetime(2021, 1, 1 + i // 24, i % 24, tzinfo=zones[i % 2]) for i in range(48)
    ]
    frame = pd.DataFrame({"when": pd.Series(times, dtype=object), "load": np.arange(48.0)})
    with notices.collected(quiet=True) as said:
        isthmus.fit("plain", frame, **SMALL)
    assert any("times with an offset are given back in UTC" in str(one) for one in said)
