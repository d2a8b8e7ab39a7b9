"""How a table is prepared, as far as a user may choose."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from isthmus.errors import IsthmusError, unknown


@dataclass(frozen=True)
class PrepareOptions:
    """quantiles
        Map numbers and times to a standard normal by their quantiles.
    rare
        Values of a column of text in fewer rows are joined: a share below 1, or a number of rows.
    levels
        A column of text with more values than these (after joining) is left out.
    text
        Columns of numbers that are to be read as text.
    numbers
        Columns of digits with leading zeros that are to be read as numbers all the same.
    """

    quantiles: bool = False
    rare: float = 0.01
    levels: int = 30
    text: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any) -> "PrepareOptions":
        """From a mapping; an unknown name or a wrong value is an :class:`IsthmusError`."""
        if isinstance(given, cls):
            return given
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise IsthmusError(
                "prepare says how a table is prepared, by name: prepare={'quantiles': True}, or "
                "prepare.quantiles=true on the command line"
            )
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown("option of prepare", str(name), names)
        options = dict(given)
        for name in ("text", "numbers"):
            if isinstance(options.get(name), str):
                options[name] = [one.strip() for one in options[name].split(",")]
            if name in options:
                options[name] = tuple(str(one) for one in options[name])
        for name, kind, least in (("rare", (int, float), 0), ("levels", (int,), 1)):
            value = options.get(name, least)
            if isinstance(value, bool) or not isinstance(value, kind) or not value >= least:
                raise IsthmusError(f"prepare {name}={value!r} is no number from {least} on")
        if not isinstance(options.get("quantiles", False), bool):
            raise IsthmusError("prepare quantiles is true or false")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`of` reads it back."""
        return {**asdict(self), "text": list(self.text), "numbers": list(self.numbers)}
