"""Which latents of a linear encoder are active, found without keeping all pre-activations."""

from torch import Tensor

from isthmus.kernels import operators


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
    ascend within a row on every path but ``torch``, where they are in no order. Gradients reach
    ``x``, ``weight`` and ``bias``.
    """
    values, indices = operators.select_top(x, weight, bias, k, magnitude, priority)
    return values, indices


def select_above(
    x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """All ``u = x W^T + b > cutoff``: values and latents ``(rows, most)``, counts ``(rows,)``.

    ``cutoff`` is ``(width,)``. Places beyond a row's count hold the value 0 and the latent 0.
    None where some row has more than ``room`` of them: then a dense product is the better way.
    """
    if len(x) == 0:
        return None
    values, indices, counts = operators.select_above(x, weight, bias, cutoff, room)
    return (values, indices, counts) if values.shape[1] else None
