"""The command."""

import io

import pytest
from rich.console import Console

from interpretation.labels.made import folder, word
from isthmus.cli.common import parse_numbers
from isthmus.cli.label import run, table
from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import Label, Labelling, read_labels
from isthmus.interpretation.labels.chat import Spend


def printed(what):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_labels_and_scores_are_printed_and_written(tmp_path):
    folder(tmp_path / "features", [word("king"), word("of")])
    text = printed(run(tmp_path, latents="0-1", progress=False))
    assert "“ king”" in text
    assert "1.00" in text
    assert "detection_shuffled" in text
    assert str(tmp_path / "features" / "labels.parquet") in text.replace("\n", "")
    assert len(read_labels(tmp_path)) == 4


def test_hostile_labels_and_costs(tmp_path):
    (tmp_path / "examples.parquet").touch()
    labels = [Label(0, "[red]x[/]\x1b[31m\n", "m", 0.5, "detection")]
    text = printed(table(Labelling(labels, [], Spend(requests=3, cost=0.5)), tmp_path))
    assert "[red]x[/]�[31m�" in text
    assert "3 requests" in text
    assert "controls.parquet" not in text


def test_lists_of_latents():
    assert parse_numbers("0-2, 7") == [0, 1, 2, 7]
    for wrong in ("", "a", "1-", "-1", "1,,2"):
        with pytest.raises(IsthmusError, match="no list of latents"):
            parse_numbers(wrong)


@pytest.mark.parametrize("method", ["endpoint", "local"])
def test_a_model_has_to_be_named(tmp_path, method):
    with pytest.raises(IsthmusError, match="model=NAME"):
        run(tmp_path, method)
