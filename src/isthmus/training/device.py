"""What a run computes with: the device, and the number of threads."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from isthmus import notices
from isthmus.errors import IsthmusError


@contextlib.contextmanager
def threads_of(configs: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """As many threads as the run that is gone on with began with: sums of others round otherwise.

    Of several runs of one pass those of the first.
    """
    threads = torch.get_num_threads()
    began = next((c["threads"] for c in configs if "threads" in c), threads)
    if began == threads:
        yield
        return
    notices.say(
        f"the run began with {began} threads and goes on with as many, so that its bits stay the "
        f"same (this process has {threads})"
    )
    torch.set_num_threads(began)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first accelerator there is; an absent one is an error."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise IsthmusError(f"the device {name!r} is not there: use device=auto") from None
    return device
