"""``isthmus decode``: what codes stand for, to a file."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.common import Folder, check_ending, out
from isthmus.errors import IsthmusError

EXAMPLES = (".csv", ".npz", ".npy")


def decode(
    folder: Folder,
    codes: Annotated[Path, typer.Argument(help="codes as encode wrote them, .npz or .csv")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help=".csv, .npz or .npy")
    ],
) -> None:
    """Write what codes stand for: a table as .csv for a model of tables, else arrays."""
    summary = decoded(folder, codes, output)
    out.print(f"{escape(str(output))}: {summary}")


def decoded(folder: Path, codes: Path, output: Path) -> str:
    """Write what codes stand for; returns what was written, in words."""
    from isthmus import runs
    from isthmus.anatomy import decodes_latents

    check_ending(output, EXAMPLES, "reconstructions")
    model = runs.load(folder)
    if model.decoder is not None and not decodes_latents(model):
        raise IsthmusError(
            "this model rebuilds from the whole code, not from z alone as a file has it: decode in "
            "Python, model.decode(model.encode(X, code=True))"
        )
    return examples_written(model, model.decode(_codes(codes)), output)


def examples_written(model: Any, found: Any, output: Path) -> str:
    """Write examples that a model made, in the user's units; returns what was written, in words.

    A table, columns of numbers, or texts as .csv, arrays as .npz or .npy.
    """
    import numpy as np

    from isthmus.runs import write_atomically
    from isthmus.tables.writing import as_csv

    check_ending(output, EXAMPLES, "examples")
    framed = hasattr(found, "to_csv")
    texts = isinstance(found, list) and all(isinstance(row, (str, bytes)) for row in found)
    if output.suffix == ".csv":
        if isinstance(found, Mapping):
            raise IsthmusError(
                f"a model of several parts gives no single table: write {_npz(output)}"
            )
        if texts:
            strings = [r.decode(errors="replace") if isinstance(r, bytes) else r for r in found]
            write_atomically(output, as_csv({"text": strings}))
            return f"{len(found):,} texts"
        columns = found if framed else _columns(model, np.asarray(found), output)
        write_atomically(output, as_csv(columns))
        return f"{len(found):,} rows of {len([*columns])} columns"
    if framed or isinstance(found, (list, str)):
        raise IsthmusError("what was made is no array of numbers: write a .csv")
    buffer = io.BytesIO()
    if isinstance(found, Mapping):
        if output.suffix == ".npy":
            raise IsthmusError(
                f"a model of several parts gives several arrays: write {_npz(output)}"
            )
        arrays: dict[str, Any] = {name: np.asarray(part) for name, part in found.items()}
        np.savez_compressed(buffer, **arrays)
        summary = ", ".join(f"{name} {np.asarray(part).shape}" for name, part in found.items())
    else:
        array = np.asarray(found)
        if output.suffix == ".npy":
            np.save(buffer, array)
        else:
            np.savez_compressed(buffer, x=array)
        summary = str(array.shape)
    write_atomically(output, buffer.getvalue())
    return summary


def _npz(output: Path) -> str:
    return f"to {output.with_suffix('.npz').name!r}"


def _codes(path: Path) -> Any:
    """The latents in a file that encode wrote, float32 ``(rows, latent)``."""
    import numpy as np

    from isthmus import tables
    from isthmus.data.files import npz_member, opened_npz

    if not path.exists():
        raise IsthmusError(f"there is no file {str(path)!r}: check the path")
    if path.suffix == ".npz":
        with opened_npz(path) as archive:
            if "z" in archive.files:
                return npz_member(path, archive, "z")
            raise IsthmusError(
                f"{str(path)!r} has no member 'z': sparse codes are decoded in Python, by "
                "model.decode(code), or from the .csv that encode writes"
            )
    if not tables.is_table(path):
        raise IsthmusError(
            f"{str(path)!r} holds no codes that can be read: pass the .npz or .csv that encode "
            "wrote"
        )
    table = tables.read(path)
    latents = [name for name in table.names if name.startswith("latent_")]
    numeric = latents or [name for name in table.names if table[name].is_number]
    if not numeric:
        raise IsthmusError(f"{str(path)!r} has no columns of numbers: pass what encode wrote")
    with np.errstate(over="ignore"):  # infinities are said where latents are read
        return np.stack([table[name].doubles() for name in numeric], 1).astype(np.float32)


def _columns(model: Any, rows: Any, output: Path) -> dict[str, Any]:
    """Rows of numbers as columns, by the names that the model's columns have."""
    if rows.ndim != 2:
        raise IsthmusError(f"examples of shape {rows.shape[1:]} are no rows of a table: write "
                           f"{_npz(output)}")  # fmt: skip
    part = (getattr(model.preparation, "parts", None) or {}).get("")
    names = getattr(part, "columns", None) or [str(place) for place in range(rows.shape[1])]
    return {name: rows[:, place] for place, name in enumerate(names)}
