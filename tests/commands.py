"""The command line in this process: each process of its own would first import for seconds."""

from typer.testing import CliRunner

from isthmus.cli import app


def command(*words):
    """What ``isthmus`` with these words prints. It must end well."""
    said = CliRunner().invoke(app, list(words))
    assert said.exit_code == 0, said.output
    return said.output
