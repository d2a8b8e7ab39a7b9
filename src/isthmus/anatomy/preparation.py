"""What stands between a user's data and a model's rows, learnt with the model and saved with it."""

from typing import Any, Protocol

from isthmus.anatomy.tree import Tree


class Preparation(Protocol):
    """How data of the kind that a model was fitted to become its rows, and back.

    It is learnt on the training rows before the model is built; ``isthmus.data.preparation`` has
    the one that ``fit`` uses. What is prepared already (a batch, a source made by it) passes
    through.
    """

    def read(self, X: Any) -> Any:
        """``X`` as something that the model reads: a source, an array, a batch."""

    def layout(self, X: Any) -> Any:
        """What codes and scores of ``X`` look like: ``X`` itself, or an array for a frame."""

    def restored(self, rows: Tree, X: Any, part: str = "") -> Any:
        """Rows of the model's data as what ``X`` was: a frame for a frame, numbers in their units.

        Where ``X`` is None, being latents, a frame for a table that holds more than numbers, else
        what ``rows`` are. ``part`` is the part of a collection that a model rebuilds alone.
        """

    def by_column(self, values: Any, X: Any) -> Any:
        """What was found of each feature of ``X``, ``(rows, features)``, summed to its columns.

        As it is where ``X`` was given as features, or is no table.
        """

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
