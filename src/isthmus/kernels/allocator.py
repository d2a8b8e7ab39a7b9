"""Keep freed memory for the next step instead of handing it back to the system.

glibc maps every large tensor afresh and unmaps it when it is freed; each step then pays a page
fault for every 4 KiB it writes. Asking it to keep what was freed costs no more memory than one step
needs and needs no environment variable.
"""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEEP = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Tell the C library, once per process; False where it is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _KEEP)
    )
