"""Where dictionaries lie: folders, single files, and the hub, which is a fake here."""

import shutil
import sys
from types import ModuleType

import pytest

import isthmus
from isthmus.formats import inspect
from isthmus.formats.location import locate
from peers import FIXTURES

CASE = "saelens/jumprelu"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub whose one repository is a folder here, and what was asked of it."""
    snapshot = tmp_path / "snapshots" / "0123abc"
    shutil.copytree(FIXTURES / CASE, snapshot / "blocks.1" / "width_32")
    fake, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    errors.HfHubHTTPError = type("HfHubHTTPError", (OSError,), {})
    errors.LocalEntryNotFoundError = type("LocalEntryNotFoundError", (ValueError,), {})
    fake.errors = errors
    fake.asked = []

    def snapshot_download(repo, revision=None, allow_patterns=None):
        fake.asked.append((repo, revision, allow_patterns))
        if fake.problem is not None:
            raise fake.problem
        return str(snapshot)

    fake.problem, fake.snapshot_download = None, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return fake


def test_a_folder_of_a_repository_at_a_revision(hub):
    model = isthmus.from_pretrained("hf:me/saes/blocks.1/width_32@v2")
    assert hub.asked == [
        ("me/saes", "v2", ["blocks.1/width_32/*", "*.json", "*.yaml", "*.yml",
                           "blocks.1/*.json", "blocks.1/*.yaml", "blocks.1/*.yml"])
    ]  # fmt: skip
    assert model.cfg.metadata["revision"] == "0123abc"
    assert model.cfg.metadata["source"] == "hf:me/saes/blocks.1/width_32@v2"


def test_no_more_is_fetched_than_one_file_and_its_settings(hub):
    locate("hf:me/saes/blocks.1/width_32/sae_weights.safetensors")
    patterns = hub.asked[0][2]
    assert patterns[0] == "blocks.1/width_32/sae_weights.safetensors"
    assert "blocks.1/width_32/*.json" in patterns
    assert "*" not in patterns


def test_what_the_hub_does_not_have_is_one_sentence(hub):
    hub.problem = hub.errors.HfHubHTTPError("404 no such revision\nmore lines")
    with pytest.raises(
        isthmus.IsthmusError, match=r"cannot be fetched .404 no such revision."
    ) as one:
        isthmus.from_pretrained("hf:me/saes/blocks.1@nowhere")
    assert "\n" not in str(one.value)
    hub.problem = hub.errors.LocalEntryNotFoundError("offline")
    with pytest.raises(isthmus.IsthmusError, match="cannot be reached"):
        isthmus.from_pretrained("hf:me/saes/blocks.1")
    hub.problem = None
    with pytest.raises(isthmus.IsthmusError, match=r"has no blocks\.9"):
        isthmus.from_pretrained("hf:me/saes/blocks.9")
    with pytest.raises(isthmus.IsthmusError, match="names no repository"):
        isthmus.from_pretrained("hf:me")


def test_the_hub_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(isthmus.IsthmusError, match=r"isthmus\[hub\]"):
        isthmus.from_pretrained("hf:me/saes")


def test_one_file_sees_the_settings_beside_it_and_no_other_weights(tmp_path):
    for name in ("a.pt", "b.pt", "a_cfg.json"):
        (tmp_path / name).write_bytes(b"")
    assert locate(tmp_path / "a.pt").names == ["a.pt", "a_cfg.json"]
    assert locate(tmp_path).names == ["a.pt", "a_cfg.json", "b.pt"]


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(name, tmp_path, monkeypatch):
    shutil.copytree(FIXTURES / CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for read in (isthmus.from_pretrained, inspect):
        with pytest.raises(isthmus.IsthmusError, match="empty name"):
            read(name)
    assert isthmus.from_pretrained(".").d_sae == 32


def test_a_revision_stands_behind_the_place():
    with pytest.raises(isthmus.IsthmusError, match=r"write it behind the place.*path@v2"):
        isthmus.from_pretrained("hf:me/saes/blocks.1", revision="v2")
