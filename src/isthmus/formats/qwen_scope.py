"""Qwen Scope: ``layerN.sae.pt``, TopK, with k and width in the name of the repository alone."""

import re
from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

_NAMES = {"W_enc", "W_dec", "b_enc", "b_dec"}
_TITLE = re.compile(r"SAE-Res-(?P<model>.+)-W(?P<width>\d+)K-L0_(?P<k>\d+)")


def recognises(place: Location) -> bool:
    """Whether it is one ``.sae.pt`` of four tensors."""
    names = place.tensors
    return (
        len(names) == 1
        and names[0].endswith(".sae.pt")
        and {*place.opened(names[0]).entries} == _NAMES
    )


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The dictionary of one layer's residual stream."""
    file = place.opened(place.tensors[0])
    only(place, _NAMES, file.entries, "tensors", ignore)
    weights = linear(place, file, W_enc=("W_enc", False), b_enc="b_enc", W_dec=("W_dec", True),
                     b_dec="b_dec")  # fmt: skip
    d_sae, d_in = weights["W_enc"].shape
    title = _TITLE.search(f"{place.repo or ''}/{place.folder.absolute()}/{place.name}")
    if title is None:
        return Found(Record("qwen-scope", "topk", d_in, d_sae, d_in), weights, asks_k=True)
    if int(title["width"]) * 1024 != d_sae:
        raise IsthmusError(
            f"{place} is called one of {title['width']}K latents and has {d_sae}: it is another's"
        )
    record = Record("qwen-scope", "topk", d_in, d_sae, d_in, k=int(title["k"]))
    record.model_name = f"Qwen/{title['model']}"
    layer = re.search(r"layer(\d+)", place.tensors[0])
    if layer is not None:
        record.module, record.side = f"model.layers.{layer[1]}", "out"
        record.hook_name = f"blocks.{layer[1]}.hook_resid_post"
    return Found(record, weights)
