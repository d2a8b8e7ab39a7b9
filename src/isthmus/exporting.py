"""Commands that write what a model makes of data to files: encode, decode."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from isthmus.errors import IsthmusError, unknown

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run")]
FILES = (".csv", ".npz")


def add_to(app: typer.Typer, out: Console) -> None:
    """Register the commands; what they need is imported when they run."""

    @app.command()
    def encode(
        folder: Folder,
        data: Annotated[str, typer.Argument(help="a name, a file or a folder")],
        output: Annotated[
            Path, typer.Option("-o", "--output", metavar="FILE", help="codes as .npz or .csv")
        ],
        id_column: Annotated[
            str | None,
            typer.Option("--id", metavar="COLUMN", help="of the table, to name the rows"),
        ] = None,
    ) -> None:
        """Write the codes of data to a file.

        An .npz has one array for each part of the code, and the rows' ids or the names of their
        files as "id"; a .csv a row for each row of the data, with a column for each latent,
        after these.
        """
        codes, rows = encoded(folder, data, output, id_column)
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in codes.items())
        out.print(f"{escape(str(output))}: {shapes}" + (f", {rows}" if rows else ""))

    @app.command()
    def decode(
        folder: Folder,
        codes: Annotated[Path, typer.Argument(help="codes as encode wrote them, .npz or .csv")],
        output: Annotated[
            Path, typer.Option("-o", "--output", metavar="FILE", help=".csv, .npz or .npy")
        ],
    ) -> None:
        """Write what codes stand for: a table as .csv for a model of tables, else arrays."""
        found = decoded(folder, codes, output)
        out.print(f"{escape(str(output))}: {found}")


def encoded(
    folder: Path, data: str, output: Path, id_column: str | None = None
) -> tuple[dict[str, Any], str]:
    """Write the codes of data; returns the arrays and what names the rows."""
    import numpy as np

    from isthmus import api
    from isthmus.runs import kind_of, opened, write_atomically

    _check(output, FILES, "codes")
    model = api.load(folder)
    source, _ = opened(data, None, None, model.config, kind=kind_of(model))
    code = model.encode(source, code=True)
    arrays: dict[str, Any] = {name: part.numpy() for name, part in code.tensors().items()}
    head, names = row_names(data, source, id_column)
    if head and len(names) != len(source):
        raise IsthmusError(
            f"{len(names)} names were found for {len(source)} rows of {data}: leave out --id"
        )
    if output.suffix == ".npz":
        own = {"id": as_strings(names)} if head else {}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays, **own)
        write_atomically(output, buffer.getvalue())
        return arrays, f"rows named by {head[0]!r}, as 'id'" if head else ""
    z = code.z.numpy().reshape(len(source), -1)
    columns = dict(zip(head, [names], strict=True)) if head else {}
    for place in range(z.shape[1]):
        columns[f"latent_{place}"] = z[:, place]
    write_atomically(output, as_csv(columns))
    return {"z": z}, f"rows named by {head[0]!r}" if head else ""


def row_names(data: str, source: Any, id_column: str | None) -> tuple[list[str], Any]:
    """What the rows are called: the ids of a table, or the files of a folder."""
    from isthmus import tables
    from isthmus.data.files import located

    if id_column is None:
        import torch

        base, numbers = source.base(torch.arange(len(source)))
        if base.names is None:
            return [], []
        return ["file"], [base.names[place] for place in numbers.tolist()]
    found = located(data)
    if found is None or not tables.is_table(found[0]):
        raise IsthmusError(f"--id {id_column}: {data!r} is no table, and has no columns by name")
    names = tables.header(found[0])
    if id_column not in names:
        raise unknown(f"column of {found[0].name!r}", id_column, names)
    return [id_column], tables.columns(found[0], [id_column])[id_column]


def as_strings(names: Any) -> Any:
    """Names for an archive, whose arrays hold no Python objects: numbers, or text of one length."""
    import numpy as np

    found = np.asarray(names)
    if found.dtype.kind != "O":
        return found
    return np.array(["" if name is None else str(name) for name in found.tolist()])


def decoded(folder: Path, codes: Path, output: Path) -> str:
    """Write what codes stand for; returns what was written, in words."""
    import numpy as np

    from isthmus import api
    from isthmus.runs import write_atomically

    _check(output, (".csv", ".npz", ".npy"), "reconstructions")
    model = api.load(folder)
    found = model.decode(_codes(codes))
    framed = hasattr(found, "to_csv")
    if output.suffix == ".csv":
        if isinstance(found, Mapping):
            raise IsthmusError(
                f"a model of several parts gives no single table: write {_npz(output)}"
            )
        columns = found if framed else _columns(model, np.asarray(found), output)
        write_atomically(output, as_csv(columns))
        return f"{len(found):,} rows of {len([*columns])} columns"
    if framed or isinstance(found, (list, str)):
        raise IsthmusError("what these codes stand for is no array of numbers: write a .csv")
    buffer = io.BytesIO()
    if isinstance(found, Mapping):
        if output.suffix == ".npy":
            raise IsthmusError(
                f"a model of several parts gives several arrays: write {_npz(output)}"
            )
        arrays: dict[str, Any] = {name: np.asarray(part) for name, part in found.items()}
        np.savez_compressed(buffer, **arrays)
        said = ", ".join(f"{name} {np.asarray(part).shape}" for name, part in found.items())
    else:
        array = np.asarray(found)
        if output.suffix == ".npy":
            np.save(buffer, array)
        else:
            np.savez_compressed(buffer, x=array)
        said = str(array.shape)
    write_atomically(output, buffer.getvalue())
    return said


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


def as_csv(columns: Any) -> bytes:
    """Columns by name, or a frame, as a file of text in UTF-8."""
    import pandas as pd

    frame = columns if hasattr(columns, "to_csv") else pd.DataFrame(columns)
    return str(frame.to_csv(index=False, lineterminator="\n")).encode()


def _check(output: Path, endings: tuple[str, ...], what: str) -> None:
    if output.suffix not in endings:
        raise IsthmusError(
            f"{output} should end in {', '.join(endings[:-1])} or {endings[-1]}: {what} are "
            "written in these forms"
        )
