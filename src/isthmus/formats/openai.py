"""The dictionaries of GPT-2 by OpenAI: a ``.pt`` of a ``state_dict``, ReLU or TopK."""

from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

_WEIGHTS = {"pre_bias", "encoder.weight", "latent_bias", "decoder.weight"}
_COUNTS = {"stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"}
_VALUES = {"activation", "activation_state_dict.k", "activation_state_dict.postact_fn"}


def recognises(place: Location) -> bool:
    """Whether there is one file with this library's four tensors."""
    return len(place.tensors) == 1 and {*place.opened(place.tensors[0]).entries} >= _WEIGHTS


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary of one layer; TopK ones normalise each row, as the authors' code infers."""
    file = place.opened(place.tensors[0])
    known = _WEIGHTS | _COUNTS | _VALUES
    only(place, known, [*file.entries, *file.values], "entries", ignore)
    weights = linear(place, file, W_enc=("encoder.weight", False), b_enc="latent_bias",
                     W_dec=("decoder.weight", True), b_dec="pre_bias")  # fmt: skip
    d_sae, d_in = weights["W_enc"].shape
    activation = str(file.values.get("activation", "ReLU"))
    inner = file.values.get("activation_state_dict.postact_fn", "ReLU")
    if activation not in ("ReLU", "TopK") or inner not in ("ReLU", None):
        raise IsthmusError(
            f"{place} says activation={activation!r} with {inner!r}, and ReLU and TopK alone are "
            "known here"
        )
    record = Record(
        format="openai",
        activation="topk" if activation == "TopK" else "relu",
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_in,
        subtract_bias=True,
        model_name="gpt2",
    )
    if activation == "TopK":
        k = file.values.get("activation_state_dict.k")
        if k is None and "activation_state_dict.k" in file:
            k = int(file.read("activation_state_dict.k"))
        if not isinstance(k, int) or k < 1:
            raise IsthmusError(f"{place} says k={k!r}, and so many latents cannot be on: mend k")
        record.k = k
        record.row_norm = "layer_norm"
    return Found(record, weights)
