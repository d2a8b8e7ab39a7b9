"""Harvest in parts: which shards of a store a process makes, of several that share the work.

A part is a range of whole shards, so that what it writes are files of the store: no part waits for
another, one that was killed is run again, and merging moves files without reading them. At its two
ends it runs a batch that its neighbour runs, too, of which each keeps its own tokens.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from isthmus.activations.provenance import PARTS, PartFacts
from isthmus.errors import IsthmusError

NORMS = "-norms"
"""Ending of the file with sums of norms, beside that with sums of activations."""


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``of``, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"part {self.number} of {self.of}"

    def folder(self, store: Path) -> Path:
        """Where it is written, for a store in the folder ``store``."""
        digits = len(str(self.of))
        return store / PARTS / f"{self.number:0{digits}d}-of-{self.of}"


def part_named(name: "str | Part | None") -> Part | None:
    """``"3/16"`` is the third of 16 parts; ``"rank"`` is what torchrun says this process is.

    Raises :class:`IsthmusError` for what is no part, and for ``rank`` outside torchrun.
    """
    if name is None or isinstance(name, Part):
        return name
    if name == "rank":
        part = part_of_rank()
        if part is None:
            raise IsthmusError(
                "part=rank is for processes that torchrun starts, which set RANK and WORLD_SIZE: "
                "name the part, as in 3/16"
            )
        return part
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", name)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise IsthmusError(
            f"{name!r} is no part: write which of how many, counted from 1, as in 3/16"
        )
    return Part(int(match[1]), int(match[2]))


def part_of_rank() -> Part | None:
    """The part of this process where torchrun started it beside others; None where it did not."""
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return Part(rank + 1, world) if 0 <= rank < world and world > 1 else None


def device_of_rank(device: str | None) -> str | None:
    """The GPU of this process among those that torchrun started on this machine.

    A device that is named by its number stays, as does every device outside torchrun.
    """
    gpus = torch.cuda.device_count()
    local = os.environ.get("LOCAL_RANK", "")
    if device not in ("cuda", "gpu", "auto") or not gpus or not local.isdecimal():
        return device
    return f"cuda:{int(local) % gpus}"


def facts_of(part: Part, tokens: int, shard_tokens: int, batch: int) -> PartFacts:
    """Which of the ``tokens`` a part takes.

    Whole shards, as evenly as these go, the earlier parts one more; with more parts than shards
    the last ones have none.
    """
    shards = -(-tokens // shard_tokens)
    each, more = divmod(shards, part.of)
    first = each * (part.number - 1) + min(part.number - 1, more)
    last = first + each + (part.number <= more)
    begin, end = (min(tokens, number * shard_tokens) for number in (first, last))
    return PartFacts(part.number, part.of, begin, end, first, batch)


def sums_folder(shard: str) -> str:
    """The folder with what a shard of a part adds to the means."""
    return shard.replace("shard-", "sums-")
