"""Files that stay as they are, and tables that get a header."""

import csv
import io
from collections.abc import Sequence

from isthmus.data.originals.published_files import Originals


def copy(files: Originals) -> bytes:
    """The bytes of the only file."""
    return files.content()


def labelled(files: Originals, labels: dict[str, int], encoding: str = "utf-8") -> bytes:
    """A table of ``label`` and ``text``: the lines of an archive's members, without outer blanks.

    ``labels`` are those of the members, by how their names end, in the order of the table.
    """
    members = files.members()
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["label", "text"])
    for ending, label in labels.items():
        (content,) = (content for name, content in members.items() if name.endswith(ending))
        lines = content.decode(encoding).split("\n")
        table.writerows([label, line.strip()] for line in lines if line.strip())
    return buffer.getvalue().encode()


def header(
    files: Originals,
    names: Sequence[str],
    tags: dict[str, str] | None = None,
    tag: str = "last",
    missing: str | None = None,
    ending: str = "",
    whole: bool = False,
) -> bytes:
    """Comma-separated lines of all files under the columns' ``names``.

    ``tags`` is a value for each file that is put before ("first") or behind ("last") its lines.
    Blanks around cells go, cells that are ``missing`` become empty, and where cells end with
    ``ending`` it goes. ``whole`` lines are taken as they are, quoted cells with commas included.
    """
    lines = [",".join(names)]
    for file in files:
        for line in files.text(file).splitlines():
            if not line.strip():
                continue
            if whole:
                lines.append(line)
                continue
            cells = [cell.strip() for cell in line.split(",")]
            if missing is not None:
                cells = ["" if cell == missing else cell for cell in cells]
            if ending:
                cells = [cell.removesuffix(ending) for cell in cells]
            extra = [] if tags is None else [tags[file]]
            lines.append(",".join([*extra, *cells] if tag == "first" else [*cells, *extra]))
    return ("\n".join(lines) + "\n").encode()
