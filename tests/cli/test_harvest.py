"""The commands that look inside a model, from text to page."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("pyarrow")

TEXT = "The whale came up. The captain saw the whale, and the sea was calm again.\n\n" * 8


def isthmus(*words, cwd):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}  # a name that is nowhere is not looked for
    return subprocess.run(
        [sys.executable, "-m", "isthmus.cli", *words], cwd=cwd, env=offline, capture_output=True,
        text=True,
    )  # fmt: skip


def test_from_text_to_a_labelled_page(tmp_path):
    for number in range(12):
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / f"{number}.txt").write_text(TEXT)
    done = isthmus("harvest", "resident", "--at", "layers.0", "--text", "notes", "-o", "acts",
                   "-q", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "store:" in done.stdout
    done = isthmus("fit", "topk", "store:acts@layers.0", "latent_dim=32", "k=4", "steps=5",
                   "batch_size=64", "-o", "run", "-q", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = isthmus("report", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = isthmus("label", "run", "--latents", "0-7", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "features" / "labels.parquet").exists()
    done = isthmus("report", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "whale" in (tmp_path / "run" / "report.html").read_text()
    done = isthmus("steer", "run", "The whale", "--scale", "3:2", "--ablate", "0", "--new", "4",
                   "--samples", "1", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "as it is: The whale" in done.stdout
    assert "steered: The whale" in done.stdout


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
    done = isthmus(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
