"""Cells of text that are longer than the standard library's reader allows by itself."""

import contextlib
import csv
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def long_cells() -> Iterator[None]:
    """A cell may be longer than 128 KB while this is open."""
    limit = csv.field_size_limit(sys.maxsize // 2**32)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
