"""The rows that a run names, for pictures of its model."""

from pathlib import Path

from isthmus.activations.spec import relocated
from isthmus.anatomy import Autoencoder, Source
from isthmus.errors import IsthmusError
from isthmus.notices import say
from isthmus.pictures.examples import opened


def rows_of_run(model: Autoencoder, folder: Path) -> Source | None:
    """The rows that the run names, where they are there; that they are not is said."""
    spec = (model.config.get("data") or {}).get("spec")
    if spec is None:
        return None
    try:
        return opened(model, relocated(spec, folder))
    except IsthmusError as problem:
        say(f"the data of {folder} are not looked at: {problem}")
        return None
