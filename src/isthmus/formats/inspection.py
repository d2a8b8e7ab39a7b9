"""What a dictionary is, told from its headers and settings: ``isthmus inspect``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.formats.found import Found, Made
from isthmus.formats.header_check import check_headers
from isthmus.formats.location import Location, locate
from isthmus.formats.recognition import read_at
from isthmus.formats.record import NORMS, Record


@dataclass(frozen=True)
class Inspection:
    """A dictionary that was looked at and not loaded.

    ``folded`` are the things that reading would multiply in, scale or normalise, a sentence each;
    ``lacking`` is what reading would need from the user; ``parameters`` their number.
    """

    title: str
    record: Record
    folded: tuple[str, ...]
    lacking: str | None
    parameters: int

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for people, in order."""
        one = self.record
        size = f"{one.d_in} -> {one.d_sae} -> {one.d_out}"
        rule = one.activation + ("" if one.k is None else f", k = {one.k}")
        kind = "transcoder" if one.transcoder else "dictionary"
        where = [one.module, {"in": "its input", "out": "its output", None: None}[one.side]]
        values = {
            "layout": self.title,
            "what": f"{rule} {kind}" + (" with a skip" if one.skip else ""),
            "size": f"{size}, {self.parameters:,} parameters in {one.dtype}",
            "computes": one.formula(),
            "threshold": one.threshold,
            "reads": ", ".join(part for part in where if part),
            "hook": one.hook_name,
            "writes": one.module_out or one.hook_name_out,
            "model": one.model_name,
            "tokens": ", ".join(f"{n}={v}" for n, v in one.tokens.items()),
            "would fold": "; ".join(self.folded) or "nothing",
            "needs": self.lacking,
            "notes": "; ".join(one.notes),
            "not looked at": self._unread(),
        }
        return [(name, str(value)) for name, value in values.items() if value]

    def _unread(self) -> str:
        """What only the weights tell."""
        one, unread = self.record, "whether all weights are numbers"
        if one.d_in == one.d_sae == one.d_out:
            unread += ", and which axis of square ones is that of the latents"
        return unread


def inspect(
    where: str | Path,
    *,
    format: str | None = None,
    ignore: Sequence[str] = (),
    sha256: str | None = None,
) -> Inspection:
    """Look at a folder, a file or ``hf:owner/repository/path@revision`` without reading weights.

    Headers, settings and single numbers are read; errors are those of
    :func:`isthmus.from_pretrained`, as far as they show there. With ``sha256`` files are read, too,
    for their checksum.
    """
    place: Location = locate(where)
    layout, dictionary = read_at(place, format, ignore)
    record = dictionary.record
    record.source, record.revision = str(place), place.revision
    place.check(sha256)
    if isinstance(dictionary, Made):
        return Inspection(layout.title, record, (), None, dictionary.parameters)
    check_headers(dictionary)
    count = sum(math.prod(stored.shape) for stored in dictionary.weights.values())
    return Inspection(layout.title, record, _folded(dictionary), _lacking(dictionary), count)


def _folded(dictionary: Found) -> tuple[str, ...]:
    record, parts = dictionary.record, []
    if dictionary.fold:
        parts.append("lengths of the atoms into the encoder")
    if record.input_scale != 1.0 or record.output_scale != 1.0:
        parts.append(
            f"nothing of the scale {record.input_scale:.6g}: it becomes the model's scaler "
            "(fold_scale() multiplies it in)"
        )
    if record.row_norm != "none":
        parts.append(f"nothing of each row's normalisation, computed as {NORMS[record.row_norm]}")
    return tuple(parts)


def _lacking(dictionary: Found) -> str | None:
    if dictionary.asks_k:
        return "k=, which the file does not say"
    if dictionary.calibrated is not None:
        return f"calibrate=X: the {dictionary.calibrated} is not in the file"
    return None
