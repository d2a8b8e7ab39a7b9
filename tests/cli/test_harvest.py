"""The commands that look inside a model, from text to page."""

import pytest

from commands import run

pytest.importorskip("pyarrow")

TEXT = "The whale came up. The captain saw the whale, and the sea was calm again.\n\n" * 8


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """A name that is nowhere is not looked for."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_from_text_to_a_labelled_page(tmp_path):
    for number in range(12):
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / f"{number}.txt").write_text(TEXT)
    said = run("harvest", "resident", "--at", "layers.0", "--text", "notes", "-o", "acts",
                   "-q", cwd=tmp_path)  # fmt: skip
    assert "store:" in said
    run("fit", "topk", "store:acts@layers.0", "latent_dim=32", "k=4", "steps=5",
                   "batch_size=64", "-o", "run", "-q", cwd=tmp_path)  # fmt: skip
    run("report", "run", cwd=tmp_path)
    run("label", "run", "--latents", "0-7", "-q", cwd=tmp_path)
    assert (tmp_path / "run" / "features" / "labels.parquet").exists()
    run("report", "run", cwd=tmp_path)
    assert "whale" in (tmp_path / "run" / "report.html").read_text()
    said = run("steer", "run", "The whale", "--scale", "3:2", "--ablate", "0", "--new", "4",
                   "--samples", "1", cwd=tmp_path)  # fmt: skip
    assert "as it is: The whale" in said
    assert "steered: The whale" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("harvest", "nowhere", "--at", "layers.0"), "nowhere"),
        (("harvest", "resident", "--at", "layers.9"), "layers"),
        (("report", "nothing"), "nothing"),
        (("label", "nothing"), "nothing"),
        (("steer", "nothing", "The whale", "--ablate", "1"), "nothing"),
        (("fit", "topk", "lm:resident@layer.1", "-o", "run"), "layers"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, said):
    assert said in run(*words, cwd=tmp_path, code=2)
    assert not list(tmp_path.iterdir())


def test_parts_from_the_command_line(tmp_path, monkeypatch):
    words = ("harvest", "resident", "--at", "layers.0", "--text", "samples", "--tokens", "3000",
             "--dtype", "int8", "-q", "-o")  # fmt: skip
    run(*words, "one", cwd=tmp_path)
    assert "part 2 of 2" in run(*words, "acts", "--part", "2/2", cwd=tmp_path)
    assert "number 1" in run("store", "merge", "acts", cwd=tmp_path, code=2)
    monkeypatch.setenv("RANK", "0")  # as torchrun sets them
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "store:" in run(*words, "acts", cwd=tmp_path)
    one, both = (
        {p.relative_to(tmp_path / name): p.read_bytes()
         for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("one", "acts")
    )  # fmt: skip
    assert one == both
    assert "store:" in run("store", "merge", "acts", cwd=tmp_path)
    assert "as they were written" in run("store", "check", "acts", cwd=tmp_path)
    assert "is no part" in run(*words, "other", "--part", "3/2", cwd=tmp_path, code=2)
    shard = next((tmp_path / "acts").glob("shard-*"))
    (shard / "where.npy").write_bytes(b"")
    assert "is damaged" in run("store", "check", "acts", cwd=tmp_path, code=2)
