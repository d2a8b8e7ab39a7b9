"""Goodfire: ``encoder_linear`` and ``decoder_linear`` in a ``.pt``, and the tied ones of R1.

The latter choose latents over whatever batch they are given, 128 a row of mathematics and 64 of
logic; no threshold is stored.
"""

from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, Stored, linear, needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

_LINEAR = {"encoder_linear.weight", "encoder_linear.bias",
           "decoder_linear.weight", "decoder_linear.bias"}  # fmt: skip
_TIED = {"W", "b_enc", "b_dec"}
_K = {"math": 128, "logic": 64}


def _entries(place: Location) -> set[str]:
    return {*place.opened(place.tensors[0]).entries} if len(place.tensors) == 1 else set()


def recognises(place: Location) -> bool:
    """Whether there is one file of either kind."""
    return _entries(place) >= _LINEAR or _entries(place) == _TIED


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary in one file."""
    file = place.opened(place.tensors[0])
    if {*file.entries} == _TIED:
        return _tied(place)
    only(place, _LINEAR, file.entries, "tensors", ignore)
    weights = linear(place, file, W_enc=("encoder_linear.weight", False),
                     b_enc="encoder_linear.bias", W_dec=("decoder_linear.weight", True),
                     b_dec="decoder_linear.bias")  # fmt: skip
    d_sae, d_in = weights["W_enc"].shape
    return Found(Record("goodfire", "relu", d_in, d_sae, d_in), weights)


def _tied(place: Location) -> Found:
    file = place.opened(place.tensors[0])
    needed(place, file, sorted(_TIED))
    k = next((k for word, k in _K.items() if word in place.name.lower()), None)
    if k is None:
        raise IsthmusError(
            f"{place} chooses latents over a batch, and neither file nor name (math, logic) says "
            "how many a row: name the file as it was published"
        )
    rows = Stored(file, "W", transposed=True)
    d_sae, d_in = rows.shape
    weights = {"W_enc": rows, "W_dec": rows, "b_enc": Stored(file, "b_enc"),
               "b_dec": Stored(file, "b_dec")}  # fmt: skip
    record = Record("goodfire", "batchtopk", d_in, d_sae, d_in, k=k)
    record.notes.append("encoder and decoder share one weight in the file, and are two here")
    return Found(record, dict(weights), calibrated="threshold")
