"""Codes in files, with what their rows are called."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import isthmus
from isthmus.cli.encode import encoded


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    rng = np.random.default_rng(0)
    for i in range(4):
        (folder / "photos" / f"s{i % 2}").mkdir(parents=True, exist_ok=True)
        name = folder / "photos" / f"s{i % 2}" / f"{i // 2}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(name)
    isthmus.fit("plain", folder / "photos", latent_dim=2, steps=2, out=folder / "run",
                progress=False)  # fmt: skip
    return folder


def test_codes_of_pictures_bear_their_files(pictures):
    one = pictures / "photos" / "s1" / "0.png"
    encoded(pictures / "run", str(one), pictures / "one.csv")
    frame = pd.read_csv(pictures / "one.csv")
    assert frame.columns.tolist() == ["file", "latent_0", "latent_1"]
    assert frame["file"].tolist() == [str(one)]
    encoded(pictures / "run", str(pictures / "photos"), pictures / "all.npz")
    with np.load(pictures / "all.npz") as found:
        assert found["id"].tolist() == ["s0/0.png", "s0/1.png", "s1/0.png", "s1/1.png"]
        assert found["z"].shape == (4, 2)


def test_ids_are_written_into_archives_as_they_stand(tmp_path):
    rows = "".join(f"{i:05d},{i}.5,{i % 3}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("zip,a,b\n" + rows)
    isthmus.fit("plain", f"{tmp_path / 't.csv'}:-zip", latent_dim=1, steps=2, progress=False,
                out=tmp_path / "run")  # fmt: skip
    encoded(tmp_path / "run", f"{tmp_path / 't.csv'}:-zip", tmp_path / "z.npz", "zip")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
        assert found["id"].tolist() == [f"{i:05d}" for i in range(30)]
        assert found["z"].shape == (30, 1)
