"""Tables to files."""

from typing import Any


def as_csv(columns: Any) -> bytes:
    """Columns by name, or a frame, as a file of text in UTF-8."""
    import pandas as pd

    frame = columns if hasattr(columns, "to_csv") else pd.DataFrame(columns)
    return str(frame.to_csv(index=False, lineterminator="\n")).encode()
