"""Dictionaries of attention outputs by Kissane and Krzyzanowski: ``NAME.pt`` and ``NAME_cfg.json``.

They read all heads of ``hook_z`` side by side.
"""

from collections.abc import Sequence

from isthmus.formats.found import Found, linear, only, setting
from isthmus.formats.location import Location
from isthmus.formats.record import Record

_NAMES = {"W_enc", "W_dec", "b_enc", "b_dec"}


def _config(place: Location) -> str | None:
    if len(place.tensors) != 1:
        return None
    name = place.tensors[0].removesuffix(".pt") + "_cfg.json"
    return name if name in place.names else None


def recognises(place: Location) -> bool:
    """Whether there is one file of weights with its settings beside it."""
    return _config(place) is not None


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary, whose decoder's bias is subtracted before encoding."""
    name = _config(place)
    assert name is not None
    cfg, file = place.settings(name), place.opened(place.tensors[0])
    only(place, _NAMES, file.entries, "tensors", ignore)
    weights = linear(place, file, W_enc=("W_enc", True), b_enc="b_enc", W_dec=("W_dec", False),
                     b_dec="b_dec")  # fmt: skip
    d_in, d_sae = setting(place, cfg, "act_size", int), setting(place, cfg, "dict_size", int)
    record = Record("hook-z", "relu", d_in, d_sae, d_in, subtract_bias=True)
    record.hook_name, record.metadata = cfg.get("act_name"), dict(cfg)
    record.notes.append("it reads all heads of hook_z side by side: pass rows that are flat")
    return Found(record, weights)
