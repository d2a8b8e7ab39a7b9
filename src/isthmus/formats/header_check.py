"""What headers and settings tell of a dictionary that contradicts itself: no weight is read."""

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found

_HALF = ("float16", "bfloat16")
_TYPES = (*_HALF, "float32", "float64")
"""What weights are stored in."""


def check_headers(found: Found) -> None:
    """An error where sizes, types or numbers contradict each other; a note where they may matter.

    Sets the record's ``dtype``.
    """
    record, weights = found.record, found.weights
    f, d, o = record.d_sae, record.d_in, record.d_out
    shapes = {"W_enc": (f, d), "W_dec": (f, o), "b_enc": (f,), "b_dec": (o,), "r_mag": (f,),
              "b_mag": (f,), "W_skip": (o, d)}  # fmt: skip
    for name, stored in weights.items():
        if name in shapes and stored.shape != shapes[name]:
            raise IsthmusError(
                f"{record.source} has {stored.name} of shape {stored.shape} where {shapes[name]} "
                f"is wanted, for {f} latents, {d} elements read and {o} written: encoder and "
                "decoder may be swapped or transposed"
            )
        if stored.dtype not in _TYPES:
            raise IsthmusError(
                f"{record.source} has {stored.name} of type {stored.dtype}, and weights are "
                f"{', '.join(_TYPES)}: fetch it again, or convert it to what it stands for"
            )
    if record.k is not None and record.k > f and record.activation != "matching_pursuit":
        raise IsthmusError(
            f"{record.source} says k={record.k} and has {f} latents, of which so many cannot be "
            "on: they are of two dictionaries, fetch both again"
        )
    record.dtype = weights["W_dec"].dtype
    if record.dtype in _HALF:
        record.notes.append(f"weights are stored in {record.dtype} and computed with in float32")
    threshold = weights.get("threshold")
    if threshold is None:
        return
    if threshold.shape not in ((), (1,), (f,)):
        raise IsthmusError(
            f"{record.source} has thresholds of shape {threshold.shape} for {f} latents: fetch it "
            "again"
        )
    if threshold.dtype in _HALF:
        record.notes.append(
            f"thresholds are stored in {threshold.dtype}: latents within its rounding of them may "
            "be on or off"
        )
