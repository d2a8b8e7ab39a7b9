"""overcomplete: the ``state_dict`` of a dictionary with a linear encoder, whose rule it lacks.

An encoder that ends in batch normalisation is one matrix at inference: the statistics are
multiplied in. Learnt thresholds show JumpReLU; otherwise how many latents are on has to be said.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from isthmus.formats.found import Found, Given, Stored, Weight, needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.tensor_file import TensorFile

_ATOMS, _FACTOR, _THETA = "dictionary._weights", "dictionary.multiplier", "thresholds"
_LINEAR, _NORM = "encoder.final_block.0.", "encoder.final_block.1."
_STATISTICS = ("weight", "bias", "running_mean", "running_var")
_EPS = 1e-5
"""What PyTorch's batch normalisation adds to the variance."""


def recognises(place: Location) -> bool:
    """Whether there is one file with this library's dictionary layer."""
    return len(place.tensors) == 1 and _ATOMS in place.opened(place.tensors[0])


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary; its k, where it has one, is set by ``from_pretrained(k=...)``."""
    file = place.opened(place.tensors[0])
    needed(place, file, [f"{_LINEAR}weight", f"{_LINEAR}bias", _FACTOR])
    normed = f"{_NORM}running_mean" in file
    known = {_ATOMS, _FACTOR, _THETA, f"{_LINEAR}weight", f"{_LINEAR}bias"}
    if normed:
        known |= {f"{_NORM}{name}" for name in (*_STATISTICS, "num_batches_tracked")}
    only(place, known, file.entries, "tensors", ignore)
    rows, bias = Stored(file, f"{_LINEAR}weight"), file.read(f"{_LINEAR}bias", torch.float64)
    if normed:
        gain, shift, mean, variance = (
            file.read(f"{_NORM}{name}", torch.float64) for name in _STATISTICS
        )
        gain = gain / (variance + _EPS).sqrt()
        bias = (bias - mean) * gain + shift
        rows = Stored(file, rows.name, change=_by_rows(gain))
    d_sae, d_in = rows.shape
    weights: dict[str, Weight] = {
        "W_enc": rows,
        "b_enc": Given(bias),
        "W_dec": Stored(file, _ATOMS, change=_times(file)),
        "b_dec": Given(torch.zeros(d_in)),
    }
    record = Record("overcomplete", "relu", d_in, d_sae, d_in)
    dictionary = Found(record, weights)
    if _THETA in file:
        record.activation, record.threshold = "jumprelu", "per latent"
        dictionary.weights["threshold"] = Stored(file, _THETA, change=torch.exp)
    else:
        dictionary.asks_k = True
    record.notes.append("atoms are taken as they are stored, normalised by the last training step")
    return dictionary


def _by_rows(gain: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda weight: weight.mul_(gain[:, None].to(weight))


def _times(file: TensorFile) -> Callable[[Tensor], Tensor]:
    factor = float(file.read(_FACTOR, torch.float64).exp())
    return lambda weight: weight.mul_(factor)
