"""Dictionaries by name, with the host and the point that they say themselves."""

import numpy as np
import pytest

import isthmus
from isthmus.dictionary_benchmark import opened_dictionaries
from isthmus.dictionary_benchmark.opened_dictionaries import open_dictionaries
from isthmus.errors import IsthmusError
from isthmus.formats import save_pretrained
from isthmus.language import resident
from isthmus.notices import collected

from .planted_host import POINT, WIDTH, dictionary, host, random_atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("opened")
    X = np.random.default_rng(0).normal(size=(64, WIDTH)).astype(np.float32)
    for name in ("a", "b"):
        isthmus.fit(
            "topk", X, latent_dim=16, k=2, steps=2, batch_size=16, out=place / name / "run",
            progress=False,
        )  # fmt: skip
    return place


def test_folders_of_one_name_have_their_paths(folder):
    names = [folder / "a" / "run", str(folder / "b" / "run")]
    model, found = open_dictionaries(names, host(), POINT)
    assert [one.name for one in found] == [str(name) for name in names]
    assert model.name == "planted"
    assert found[0].fingerprint != found[1].fingerprint or found[0].latents == 16


def test_one_folder_under_two_names_is_one_dictionary(folder, monkeypatch):
    monkeypatch.chdir(folder / "a")
    with collected(quiet=True) as said:
        _, found = open_dictionaries(["run", "./run", folder / "b" / "run"], host(), POINT)
    assert [one.name for one in found] == ["run", str(folder / "b" / "run")]
    assert said == ["./run is run again: it is measured once"]


def test_a_dictionary_of_another_library_is_read(folder, tmp_path):
    model = isthmus.load(folder / "a" / "run")
    save_pretrained(model, tmp_path / "theirs", format="saelens")
    _, (found,) = open_dictionaries([tmp_path / "theirs"], host(), POINT)
    assert found.name == "theirs"
    np.testing.assert_allclose(found.atoms, model.atoms().detach().numpy(), atol=1e-5)


def test_hosts_are_not_mixed_and_points_have_to_be_there(folder):
    with pytest.raises(IsthmusError, match=r"layers\.7"):
        open_dictionaries([folder / "a" / "run"], host(), "layers.7")
    with pytest.raises(IsthmusError, match="one name was given"):
        open_dictionaries(str(folder / "a" / "run"), host(), POINT)
    with pytest.raises(IsthmusError, match="name them with --host"):
        open_dictionaries({"x": dictionary(random_atoms())}, None, POINT)
    assert resident().name != host().name


def test_a_dictionary_is_not_taken_to_another_point_than_its_own(folder, monkeypatch):
    run = folder / "a" / "run"
    about = {**opened_dictionaries.read_config(run), "data": {"spec": f"lm:x@{POINT}?tokens=9"}}
    monkeypatch.setattr(opened_dictionaries, "read_config", lambda _: about)
    _, (one,) = open_dictionaries([run], host(), POINT)
    assert one.point.startswith(POINT)
    about["data"] = {"spec": "lm:x@embed"}
    with pytest.raises(IsthmusError, match="says that it reads embed, and --at"):
        open_dictionaries([run], host(), POINT)


def test_transcoders_and_scaled_rows_are_refused():
    X = np.random.default_rng(0).normal(size=(64, WIDTH)).astype(np.float32)
    rows = isthmus.fit("topk", X, latent_dim=16, k=2, steps=1, batch_size=16, scaling="rows",
                       progress=False)  # fmt: skip
    with pytest.raises(IsthmusError, match="without scaling=rows"):
        open_dictionaries({"rows": rows}, host(), POINT)
    pair = {"in": X, "out": X}
    both = isthmus.fit("transcoder", pair, latent_dim=16, steps=1, batch_size=16, progress=False)
    with pytest.raises(IsthmusError, match="no transcoder or crosscoder"):
        open_dictionaries({"both": both}, host(), POINT)
