"""Which latents of a linear encoder are active, found without keeping all pre-activations."""

import ctypes
import threading

import torch
from torch import Tensor

from isthmus.kernels.dispatch import native_for
from isthmus.kernels.library import ABOVE, TOP, TOP_MAGNITUDE, Library, Selection, pointer, threads

_BLOCK = 1 << 22
"""Pre-activations that are held at once where they have to be stored."""
_GROUP = 32
_WITH_VNNI = 3
_LONGEST_IN_INT8 = 1 << 17
"""Elements of an example up to which it is screened in 8 bits: ``127^2 d`` then stays below 2^31,
which the sums hold."""
_local = threading.local()


def select_top(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    *,
    magnitude: bool = False,
    priority: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k largest of ``u = x W^T + b`` in each row: values and latents, both ``(rows, k)``.

    ``x`` is ``(rows, d)``, ``weight`` ``(width, d)``, ``bias`` ``(width,)``. ``magnitude`` compares
    ``|u|``, ``priority`` ``(width,)`` compares ``u priority``; the values are u either way. Latents
    ascend within a row on the native path and are in no order otherwise. No derivatives.
    """
    library = native_for(x, weight, bias, priority)
    if library is not None:
        mode = TOP_MAGNITUDE if magnitude else TOP
        values, indices, _ = _native(library, x, weight, bias, mode, k, priority=priority)
        return values, indices
    rows = [
        _top_of(u, k, magnitude, priority) for u in _blocks(x, weight, bias)
    ]  # each block's result is small
    return torch.cat([v for v, _ in rows]), torch.cat([i for _, i in rows])


def select_above(
    x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """All ``u = x W^T + b > cutoff``: values and latents ``(rows, most)``, counts ``(rows,)``.

    ``cutoff`` is ``(width,)``. Places beyond a row's count hold the value 0 and the latent 0.
    None where some row has more than ``room`` of them: then a dense product is the better way.
    """
    if len(x) == 0:
        return None
    library = native_for(x, weight, bias, cutoff)
    if library is not None:
        values, indices, counts = _native(library, x, weight, bias, ABOVE, room, cutoff=cutoff)
        if int(counts.min()) < 0:
            return None
        most = max(1, int(counts.max()))
        return values[:, :most].contiguous(), indices[:, :most].contiguous(), counts.long()
    parts = []
    for u in _blocks(x, weight, bias):
        active = u > cutoff
        counts = active.sum(1)
        most = int(counts.max())
        if most > room:
            return None
        values, indices = torch.where(active, u, -torch.inf).topk(max(1, most), dim=1)
        pad = torch.arange(max(1, most), device=u.device) >= counts[:, None]
        parts.append((values.masked_fill_(pad, 0.0), indices.masked_fill_(pad, 0), counts))
    widest = max(v.shape[1] for v, _, _ in parts)
    wide = [
        (_padded(values, widest), _padded(indices, widest), counts)
        for values, indices, counts in parts
    ]
    values, indices, counts = (torch.cat(list(column)) for column in zip(*wide, strict=True))
    return values, indices, counts


def _padded(values: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))


def _blocks(x: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    step = max(1, _BLOCK // max(1, weight.shape[0]))
    return [torch.addmm(bias, part, weight.T) for part in x.split(step)]


def _top_of(u: Tensor, k: int, magnitude: bool, priority: Tensor | None) -> tuple[Tensor, Tensor]:
    """Exact top-k of each row, the maxima of groups of columns first.

    The k largest lie within the k groups whose maxima are largest, so that only these groups have
    to be searched.
    """
    key = u.abs() if magnitude else u
    key = key if priority is None else key * priority
    n, width = key.shape
    groups = width // _GROUP
    if k * 4 > groups:
        return _at(u, key.topk(k, dim=1, sorted=False).indices)
    whole = groups * _GROUP
    # A group is a set of strided columns: its maximum is then a maximum of contiguous rows.
    maxima = key[:, :whole].view(n, _GROUP, groups).amax(1)
    best = maxima.topk(k, dim=1, sorted=False).indices
    places = (best[:, None, :] + torch.arange(_GROUP, device=u.device)[:, None] * groups).flatten(1)
    if whole < width:
        rest = torch.arange(whole, width, device=u.device).expand(n, -1)
        places = torch.cat([places, rest], 1)
    winners = key.gather(1, places).topk(k, dim=1, sorted=False).indices
    return _at(u, places.gather(1, winners))


def _at(u: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    return u.gather(1, indices), indices


# --- the native path -------------------------------------------------------------------------


def _native(
    library: Library,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mode: int,
    k: int,
    *,
    cutoff: Tensor | None = None,
    priority: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
    rows, width = len(x), len(weight)
    values = x.new_empty(rows, k)
    indices = torch.empty(rows, k, dtype=torch.int64)
    counts = torch.empty(rows, dtype=torch.int32)
    cutoff = None if cutoff is None else cutoff.contiguous()
    priority = None if priority is None else priority.contiguous()

    def job(start: int, stop: int) -> Selection:
        return Selection(
            pointer(x[start:stop]), pointer(weight), pointer(bias), pointer(cutoff),
            pointer(priority), stop - start, width, x.shape[1], k, mode, threads(),
            pointer(values[start:stop]), pointer(indices[start:stop]), pointer(counts[start:stop]),
        )  # fmt: skip

    fits_int8 = 4 * k <= width and x.shape[1] <= _LONGEST_IN_INT8
    if library.level >= _WITH_VNNI and not _has_bf16_tiles() and fits_int8:
        packed = _scratch("packed", library.packed_bytes(width, x.shape[1]), torch.uint8)
        step, norm, rounding = (_scratch(name, width) for name in ("step", "norm", "rounding"))
        library.pack(
            pointer(weight), width, x.shape[1], pointer(packed), pointer(step), pointer(norm),
            pointer(rounding), threads(),
        )  # fmt: skip
        library.select_int8(
            ctypes.byref(job(0, rows)),
            pointer(packed),
            pointer(step),
            pointer(norm),
            pointer(rounding),
        )
        return values, indices, counts
    rounded = _has_bf16_tiles()
    dtype = torch.bfloat16 if rounded else torch.float32
    norms = weight.norm(dim=1) if rounded else None
    factor = weight.to(dtype).T
    block = max(1, min(rows, _BLOCK // width))
    buffer = _scratch("products", block * width, dtype).view(block, width)
    for start in range(0, rows, block):
        stop = min(rows, start + block)
        products = buffer[: stop - start]
        torch.mm(x[start:stop].to(dtype), factor, out=products)
        library.select_products(
            ctypes.byref(job(start, stop)), pointer(products), int(rounded), pointer(norms)
        )
    return values, indices, counts


def screening() -> str:
    """How the native path finds the active latents on this processor."""
    library = native_for()
    if library is None:
        return "no native kernels"
    if _has_bf16_tiles():
        return "products in bfloat16 (AMX), what may be active again in float32"
    if library.level >= _WITH_VNNI:
        return "products in 8 bits (VNNI), what may be active again in float32"
    return "products in float32"


def _has_bf16_tiles() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware (AMX)."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())


def _scratch(name: str, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A buffer that is kept from call to call, for each thread its own."""
    held: dict[str, Tensor] = _local.__dict__.setdefault("held", {})
    buffer = held.get(name)
    if buffer is None or buffer.dtype != dtype or not size <= buffer.numel() <= 4 * size:
        buffer = held[name] = torch.empty(size, dtype=dtype)
    return buffer[:size]
