"""Publishing to a stand-in for the hub that keeps repositories as folders."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import isthmus
from isthmus.cli import app
from isthmus.errors import IsthmusError
from isthmus.formats import card, from_pretrained, push_to_hub, save_pretrained

huggingface_hub = pytest.importorskip("huggingface_hub")
ROWS = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return isthmus.fit("topk", ROWS, latent_dim=32, k=3, k_aux=4, steps=5, progress=False)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    root = tmp_path / "hub"

    class FakeApi:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo, *, private=None, exist_ok=False):
            if repo.startswith("forbidden/"):
                raise ValueError("403 Forbidden: you have no rights here")
            (root / repo).mkdir(parents=True, exist_ok=exist_ok)

        def create_branch(self, repo, *, branch, exist_ok):
            pass

        def upload_folder(self, *, repo_id, folder_path, path_in_repo, revision, commit_message):
            shutil.copytree(folder_path, root / repo_id / (path_in_repo or ""), dirs_exist_ok=True)

        def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id, revision, commit_message):
            (root / repo_id / path_in_repo).write_bytes(path_or_fileobj)

        def list_repo_files(self, repo, *, revision=None):
            base = root / repo
            return [p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file()]

        def hf_hub_download(self, repo, name, *, revision=None):
            return str(root / repo / name)

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download",
        lambda repo, revision=None, allow_patterns=None: str(root / repo),
    )  # fmt: skip
    return root


def test_a_folder_is_read_again_with_the_same_codes(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "out")
    again = from_pretrained(folder)
    np.testing.assert_array_equal(again.encode(ROWS[:20]), model.encode(ROWS[:20]))
    assert "# topk" in (folder / "README.md").read_text()


def test_the_card_holds_what_was_measured_with_its_interval(model):
    measures = isthmus.evaluate(model, ROWS)
    text = card(model, where="hf:someone/some", measures=measures)
    fvu = measures["fvu"]
    row = next(line for line in text.splitlines() if line.startswith("| fvu |"))
    assert f"{fvu.value:.4g}" in row
    assert f"| {fvu.interval[0]:.4g} to {fvu.interval[1]:.4g} | 300 |" in row
    assert text.index("| l0 |") < text.index("| fvu |")
    assert 'isthmus.from_pretrained("hf:someone/some")' in text
    head = text.split("---")[1].strip().splitlines()
    entries = {name: json.loads(value) for name, _, value in (x.partition(": ") for x in head)}
    assert entries == {"library_name": "isthmus", "tags": ["isthmus", "topk"]}


def test_a_card_without_measures_says_so(model):
    assert "Nothing was measured" in card(model)


def test_a_card_names_no_place_of_the_machine(model, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    own = isthmus.fit("plain", str(tmp_path / "rows.npy"), steps=2, latent_dim=2, progress=False)
    assert str(tmp_path) not in card(own)


def test_pushed_and_read_back(model, hub):
    where = push_to_hub(model, "someone/dictionaries", path="layer_3/small")
    assert where == "hf:someone/dictionaries/layer_3/small"
    again = from_pretrained(where)
    np.testing.assert_array_equal(again.encode(ROWS[:20]), model.encode(ROWS[:20]))


def test_several_in_one_repository_are_listed(model, hub):
    push_to_hub(model, "someone/two", path="a")
    push_to_hub(model, "someone/two", path="b")
    text = (hub / "someone/two/README.md").read_text()
    assert "[a](a/README.md)" in text
    assert "[b](b/README.md)" in text


def test_a_card_written_by_hand_stays(model, hub):
    (hub / "someone/own").mkdir(parents=True)
    (hub / "someone/own/README.md").write_text("my words")
    push_to_hub(model, "someone/own", path="a")
    assert (hub / "someone/own/README.md").read_text() == "my words"


def test_in_the_layout_of_saelens(model, hub):
    where = push_to_hub(model, "someone/theirs", path="a", format="saelens")
    folder = hub / "someone/theirs/a"
    assert {"cfg.json", "README.md"} <= {p.name for p in folder.iterdir()}
    assert "SAE.load_from_disk" in (folder / "README.md").read_text()
    again = from_pretrained(where)
    np.testing.assert_allclose(again.encode(ROWS[:20]), model.encode(ROWS[:20]), atol=1e-5)


@pytest.mark.parametrize(
    ("repo", "options", "said"),
    [
        ("noowner", {}, "owner/name"),
        ("a/b", {"path": "../out"}, "leads out"),
        ("a/b", {"format": "pickle"}, "pickle"),
        ("forbidden/b", {}, "403 Forbidden"),
    ],
)
def test_what_cannot_be_published_is_one_sentence(model, hub, repo, options, said):
    with pytest.raises(IsthmusError, match=said) as caught:
        push_to_hub(model, repo, **options)
    assert "\n" not in str(caught.value)


def test_offline_is_said(model, monkeypatch):
    class Offline:
        def __init__(self, token=None):
            pass

        def create_repo(self, *_, **__):
            raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub, "HfApi", Offline)
    with pytest.raises(IsthmusError, match="HF_HUB_OFFLINE"):
        push_to_hub(model, "a/b")


def test_without_the_package_the_remedy_is_said(model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(IsthmusError, match=r"isthmus\[hub\]"):
        push_to_hub(model, "a/b")


def test_a_folder_with_files_is_not_overwritten(model, tmp_path):
    save_pretrained(model, tmp_path / "out")
    before = (tmp_path / "out/README.md").read_bytes()
    with pytest.raises(IsthmusError, match="there already: name a folder that is not"):
        save_pretrained(model, tmp_path / "out")
    assert (tmp_path / "out/README.md").read_bytes() == before


def test_the_command_publishes_into_a_folder_with_measures(model, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    isthmus.save(model, tmp_path / "run")
    arguments = ["publish", tmp_path / "run", tmp_path / "out", "--data", tmp_path / "rows.npy"]
    shown = CliRunner().invoke(app, [*map(str, arguments), "--license", "mit"])
    assert shown.exit_code == 0, shown.output
    text = (tmp_path / "out/README.md").read_text()
    assert 'license: "mit"' in text
    assert "| fvu |" in text
    np.testing.assert_array_equal(
        from_pretrained(tmp_path / "out").encode(ROWS[:9]), model.encode(ROWS[:9])
    )


def test_the_command_publishes_to_the_hub(model, hub, tmp_path):
    isthmus.save(model, tmp_path / "run")
    arguments = ["publish", str(tmp_path / "run"), "hf:someone/some/a", "--format", "saelens"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "hf:someone/some/a" in shown.output
    assert (hub / "someone/some/a/cfg.json").exists()
