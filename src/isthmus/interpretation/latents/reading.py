"""Features as they lie in their folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import IsthmusError, unknown
from isthmus.interpretation.latents.tables import arrow
from isthmus.interpretation.latents.writing import (
    ABOUT,
    EXAMPLES,
    FOLDER,
    FORMAT,
    LATENTS,
    WINDOWS,
)

if TYPE_CHECKING:
    from pyarrow import Table

TABLES = {"latents": LATENTS, "examples": EXAMPLES, "windows": WINDOWS}


@dataclass(frozen=True)
class Example:
    """An activation of a latent with the text around it.

    ``group`` is 0 for the strongest, else the decile (10 the strongest); ``value`` the activation,
    at ``place`` of ``row``. ``tokens`` are shown from the place ``begin`` on, ``values`` are the
    latent's at each (to three digits, ``value`` in full). ``split`` is 0 where an explainer may see
    it, 1 where it is for scoring. Without a text there are no tokens.
    """

    latent: int
    group: int
    document: int
    row: int
    place: int
    value: float
    begin: int
    tokens: list[str]
    values: list[float]
    split: int


@dataclass(frozen=True)
class Features:
    """A folder of features. Tables are read when they are asked for.

    ``about`` says of which model, point and text they are, and how they were found.
    """

    folder: Path
    about: dict[str, Any]

    def __len__(self) -> int:
        """Number of latents."""
        return int(self.about["latents"])

    def table(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        latents: Sequence[int] | None = None,
    ) -> "Table":
        """``latents``, ``examples`` or ``windows`` as a pyarrow table.

        Only some columns, and of the first two only the rows of some latents, where they are given.
        """
        if name not in TABLES:
            raise unknown("table of features", name, TABLES)
        pa = arrow()
        chosen = None if latents is None else [("latent", "in", [int(j) for j in latents])]
        try:
            kept = None if columns is None else list(columns)
            return pa.parquet.read_table(self.folder / TABLES[name], columns=kept, filters=chosen)
        except FileNotFoundError:
            raise IsthmusError(
                f"{self.folder} has no {TABLES[name]}: features without a text have no windows, "
                "and others have to be computed anew"
            ) from None
        except pa.ArrowException as problem:
            raise IsthmusError(
                f"{self.folder / TABLES[name]} cannot be read ({problem}): compute the features "
                "anew"
            ) from None

    def column(self, name: str) -> np.ndarray:
        """One number of each latent, ``(latents,)``: ``rate``, ``mean``, ``top``, ``x``, ..."""
        table = self.table("latents", [name])
        if name not in table.column_names:
            raise unknown("column of features", name, self.table("latents", []).schema.names)
        column: np.ndarray = table.column(name).to_numpy()
        return column

    def latent(self, number: int) -> dict[str, Any]:
        """All columns of one latent."""
        self._there(number)
        row: dict[str, Any] = self.table("latents", latents=[number]).to_pylist()[0]
        return row

    def examples(self, number: int) -> list[Example]:
        """The examples of one latent, by group and falling strength."""
        self._there(number)
        return [Example(**row) for row in self.table("examples", latents=[number]).to_pylist()]

    def _there(self, number: int) -> None:
        if not 0 <= number < len(self):
            raise IsthmusError(
                f"there is no latent {number}: these features are of latents 0 to {len(self) - 1}"
            )


def read_features(folder: str | Path) -> Features:
    """The features in a folder, or in the run that it is in; an error where there are none."""
    folder = Path(folder)
    place = folder if (folder / ABOUT).exists() else folder / FOLDER
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        kind = about["format"]
    except FileNotFoundError:
        raise IsthmusError(
            f"{folder} holds no features: compute them with isthmus.interpretation.features"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise IsthmusError(f"{place / ABOUT} is damaged: compute the features anew") from None
    if kind != FORMAT:
        raise IsthmusError(
            f"{place} was written in format {kind}, and this version reads {FORMAT}: compute the "
            "features anew, or upgrade"
        )
    return Features(place, about)
