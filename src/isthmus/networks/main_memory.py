"""Whether there is room for what is about to be made: a process that takes more is killed."""

from pathlib import Path

import torch

from isthmus.errors import IsthmusError

_MEMINFO = Path("/proc/meminfo")


def free_bytes(meminfo: Path = _MEMINFO) -> float | None:
    """What processes may still take, swap with it; None where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return 1024.0 * sum(int(lines[n].split()[0]) for n in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        return None


def check_room(width: int, d: int) -> None:
    """An error for a dictionary that is larger than what is free, before anything is taken.

    Counted are ``2 width d`` numbers: its weight, and what it is drawn from or the encoder's.
    """
    if torch.get_default_device().type != "cpu":
        return
    size, free = 2.0 * width * d * torch.get_default_dtype().itemsize, free_bytes()
    if free is not None and size > free:
        raise IsthmusError(
            f"a dictionary of {width:,} latents of {d:,} elements takes {size / 1e9:,.3g} GB to "
            f"set up, and {free / 1e9:,.3g} GB of memory are free: ask for fewer latents"
        )
