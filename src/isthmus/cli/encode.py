"""``isthmus encode``: the codes of data, to a file."""

import io
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.common import Data, Folder, check_ending, out
from isthmus.errors import IsthmusError

FILES = (".csv", ".npz")


def encode(
    folder: Folder,
    data: Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="codes as .npz or .csv")
    ],
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="of the table, to name the rows"),
    ] = None,
) -> None:
    """Write the codes of data to a file.

    An .npz has one array for each part of the code, and the rows' ids or the names of their files
    as "id"; a .csv a row for each row of the data, with a column for each latent, after these.
    """
    codes, rows = encoded(folder, data, output, id_column)
    shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in codes.items())
    out.print(f"{escape(str(output))}: {shapes}" + (f", {rows}" if rows else ""))


def encoded(
    folder: Path, data: str, output: Path, id_column: str | None = None
) -> tuple[dict[str, Any], str]:
    """Write the codes of data; returns the arrays and what names the rows."""
    import numpy as np

    from isthmus import runs
    from isthmus.data.naming import as_strings, row_names
    from isthmus.runs import kind_of, opened, write_atomically
    from isthmus.tables.writing import as_csv

    check_ending(output, FILES, "codes")
    model = runs.load(folder)
    source, _ = opened(data, None, None, model.config, kind=kind_of(model))
    code = model.encode(source, code=True)
    arrays: dict[str, Any] = {name: part.numpy() for name, part in code.tensors().items()}
    head, names = row_names(data, source, id_column)
    if head and len(names) != len(source):
        raise IsthmusError(
            f"{len(names)} names were found for {len(source)} rows of {data}: leave out --id"
        )
    if output.suffix == ".npz":
        ids: dict[str, Any] = {"id": as_strings(names)} if head else {}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays, **ids)
        write_atomically(output, buffer.getvalue())
        return arrays, f"rows named by {head[0]!r}, as 'id'" if head else ""
    z = code.z.numpy().reshape(len(source), -1)
    columns = dict(zip(head, [names], strict=True)) if head else {}
    for place in range(z.shape[1]):
        columns[f"latent_{place}"] = z[:, place]
    write_atomically(output, as_csv(columns))
    return {"z": z}, f"rows named by {head[0]!r}" if head else ""
