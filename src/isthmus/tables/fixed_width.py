"""Files whose columns are aligned by blanks: where the cells begin and end."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from isthmus.errors import IsthmusError

Cuts = tuple[tuple[int, int | None], ...]
"""First letter and the one after the last of each cell; None to the end of the line."""
_FEWEST = 3


def cuts_of(lines: Sequence[str]) -> Cuts | None:
    """The cells of aligned lines, by the places that are blank in all of them; None for others."""
    whole = [line.rstrip() for line in lines if line.strip()]
    if len(whole) < _FEWEST or any("\t" in line for line in whole):
        return None
    wide = max(map(len, whole))
    blank = [
        all(place >= len(line) or line[place] == " " for line in whole) for place in range(wide)
    ]
    starts = [p for p in range(wide) if not blank[p] and (p == 0 or blank[p - 1])]
    # What has no name above it belongs to the cell on its left: a word with a blank in it.
    stops = [*starts[1:], wide]
    starts = [p for p, stop in zip(starts, stops, strict=True) if whole[0][p:stop].strip()]
    if len(starts) < 2:
        return None
    # Numbers may grow to the left of what was seen: a cell begins where the one before ended.
    ends = [
        max(q for q in range(p, following) if not blank[q]) + 1
        for p, following in zip(starts, [*starts[1:], wide], strict=True)
    ]
    firsts = [0, *ends[:-1]]
    return tuple(zip(firsts, [*ends[:-1], None], strict=True))


def cut(line: str, cuts: Cuts) -> list[str]:
    """The cells of a line."""
    return [line[first:last].strip() for first, last in cuts]


class Tabbed(io.RawIOBase):
    """Aligned lines as cells between tabs, in UTF-8: what readers of separated text read."""

    def __init__(
        self, stream: IO[bytes], encoding: str, cuts: Cuts, path: Path, above: int
    ) -> None:
        self._lines = self._written(io.TextIOWrapper(stream, encoding=encoding), cuts, path, above)
        self._rest = b""

    @staticmethod
    def _written(text: io.TextIOWrapper, cuts: Cuts, path: Path, above: int) -> Iterator[bytes]:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
        between = [first for first, _ in cuts[1:]]
        for number, line in enumerate(text, above + 1):
            if line.strip():
                line = line.rstrip()
                if any(line[at - 1 : at + 1].strip() and " " not in line[at - 1 : at + 1]
                       and at < len(line) for at in between):  # fmt: skip
                    raise IsthmusError(
                        f"line {number} of {str(path)!r} is not aligned with the lines above it: "
                        "write the table with ',' between cells"
                    )
                writer.writerow(cut(line, cuts))
            else:
                buffer.write("\n")
            if buffer.tell() > 1 << 16:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue().encode()
        text.detach()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, target) -> int:  # type: ignore[no-untyped-def]
        """Fill a buffer."""
        while not self._rest:
            following = next(self._lines, None)
            if following is None:
                return 0
            self._rest = following
        number = min(len(target), len(self._rest))
        target[:number] = self._rest[:number]
        self._rest = self._rest[number:]
        return number
