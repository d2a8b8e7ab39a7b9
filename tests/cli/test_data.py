"""What ``isthmus data`` prints."""

import pytest
from typer.testing import CliRunner

from isthmus.cli.data import app


@pytest.mark.parametrize("name", ["mnist", "iris", "adbench/wine"])
def test_a_set_is_shown_without_marks_of_markup(name):
    found = CliRunner().invoke(app, ["show", name])
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[0] == name
    assert "\\[" not in found.output
