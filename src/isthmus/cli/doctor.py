"""``isthmus doctor``: what serves on this machine, and why."""

import os
import platform
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isthmus.cli.common import out
from isthmus.errors import IsthmusError
from isthmus.threads import waiting


def doctor(
    build: Annotated[bool, typer.Option("--build", help="compile the native kernels now")] = False,
) -> None:
    """Say which kernels serve on this machine, and why."""
    if build:
        build_kernels()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in findings().items():
        table.add_row(f"[bold]{name}[/]", escape(text))
    out.print(table)


def findings() -> dict[str, str]:
    """Each thing looked at, and what was found, in one line each."""
    import torch

    from isthmus.kernels import path_in_use
    from isthmus.kernels.allocator import keep_freed_memory
    from isthmus.kernels.library import explain, native
    from isthmus.kernels.native_backend import NativeBackend

    path, library = path_in_use(), native()
    why = {
        "native": f"compiled kernels, {explain()}",
        "torch": f"PyTorch alone: {explain()}; isthmus doctor --build compiles the kernels",
        "reference": "plain dense PyTorch, as chosen by isthmus.kernels.use",
    }
    if library is not None and path == "torch":
        why["torch"] = "PyTorch alone, as chosen by isthmus.kernels.use"
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    data = os.environ.get("ISTHMUS_DATA")
    return {
        "sparse kernels": f"{path} ({why[str(path)]})",
        "selection": (
            NativeBackend(library).screening()
            if path == "native" and library is not None
            else "exact products in blocks"
        ),
        "freed memory": "kept for the next step" if keep_freed_memory() else "left to the system",
        "PyTorch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "threads wait": waiting(),
        "accelerator": accelerator,
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "data folder": data or "none (set ISTHMUS_DATA to read the named data sets)",
    }


def build_kernels() -> None:
    """Compile the native kernels; why that cannot be done is an :class:`IsthmusError`."""
    from isthmus.kernels.library import BuildError, rebuild

    try:
        rebuild()
    except BuildError as problem:
        raise IsthmusError(f"the native kernels cannot be built: {problem}") from None
    except OSError as problem:
        raise IsthmusError(
            f"the native kernels cannot be written: {problem.strerror}; install isthmus where you "
            "may write"
        ) from None
