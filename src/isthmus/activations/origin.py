"""Where activations came from, so that the text behind a row can be found again."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from isthmus.activations.relocation import found_again
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens, open_model


@dataclass(frozen=True, eq=False)
class Origin:
    """What a source of activations remembers.

    model, revision
        What :func:`isthmus.language.open_model` takes, and the fingerprint of the weights.
    points
        The points of the model whose activations the data are.
    text
        What :func:`isthmus.language.documents` takes, or a description; may be empty.
    tokens
        The rows of the text; None where the input was no text.
    host
        The model itself, where it is open.
    dtype
        What the model computed in.
    folder
        Where the activations are, near which a model that was moved is looked for.
    """

    model: str
    revision: str
    points: tuple[str, ...]
    text: str
    tokens: Tokens | None
    host: LanguageModel | None = None
    dtype: str = "float32"
    folder: Path | None = None

    @property
    def point(self) -> str:
        """The only point; an error where there are several."""
        if len(self.points) > 1:
            raise IsthmusError(
                f"the activations are those of {len(self.points)} points: choose one"
            )
        return self.points[0]

    def open(self) -> LanguageModel:
        """The language model; an error where its weights are others by now."""
        if self.host is not None:
            return self.host
        if self.tokens is None:
            raise IsthmusError(f"{self.model!r} is no language model: open it yourself")
        place = found_again(self.model, self.folder)
        computed = {} if self.dtype == "float32" else {"dtype": self.dtype}
        host = open_model(place, **computed)
        if host.revision != self.revision:
            raise IsthmusError(
                f"the model {self.model!r} has other weights than when the activations were taken "
                f"({host.revision} instead of {self.revision}): harvest again"
            )
        return host


def whereabouts(tokens: Tokens | None, row: Tensor, place: Tensor) -> dict[str, Tensor]:
    """``row``, ``place``, ``document`` and ``token`` of each activation, int64.

    Without a text each row is a document of its own, and the token is -1.
    """
    if tokens is None:
        return {"row": row, "place": place, "document": row, "token": torch.full_like(row, -1)}
    return {
        "row": row,
        "place": place,
        "document": tokens.document[row],
        "token": tokens.ids[row, place].to(torch.int64),
    }
