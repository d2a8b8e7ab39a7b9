"""Square weights, whose shape does not say what are latents: told by what both halves share.

The rows that a trained dictionary reads resemble the atoms that it writes, more so than chance; of
both transposed that says nothing, but many are trained with atoms of one length.
"""

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found

_SURE = 6.0
"""Standard deviations of the mean cosine of random rows."""


_ROUNDING = 1e-3
_UNTOLD = (
    "its weights are square, and neither shape nor agreement says which axis is that of the "
    "latents: they were read as the format has them"
)


@torch.no_grad()
def check_orientation(found: Found) -> None:
    """An error where square weights fit better another way round; a note where none tells."""
    record = found.record
    if record.d_sae != record.d_in or record.d_in != record.d_out:
        return
    if "W_enc" not in found.weights:
        record.notes.append(_UNTOLD)
        return
    reads, atoms = found.weights["W_enc"].read(), found.weights["W_dec"].read()
    agreement = _agreement(reads, atoms)
    others = {
        "the encoder transposed": _agreement(reads.T, atoms),
        "the decoder transposed": _agreement(reads, atoms.T),
        "both transposed": _agreement(reads.T, atoms.T),
    }
    way, best = max(others.items(), key=lambda item: item[1])
    chance = _SURE / record.d_in  # the mean of d cosines of d elements each
    if best > agreement + chance:
        raise IsthmusError(
            f"{record.source} has square weights that agree with each other only with {way} (mean "
            f"cosine {best:.2f}, as they stand {agreement:.2f}): encoder and decoder may be "
            "swapped or transposed, write them as their format has them"
        )
    if _unit(reads.T) and not _unit(atoms):
        raise IsthmusError(
            f"{record.source} has square weights, and rows of length 1 where the encoder stands, "
            "none where the atoms do: encoder and decoder may be swapped, write them as their "
            "format has them"
        )
    if _even(atoms.T) and not _even(atoms):
        raise IsthmusError(
            f"{record.source} has square weights whose atoms have one length only with the decoder "
            "transposed: encoder and decoder may both be, write them as their format has them"
        )
    if agreement < chance:
        record.notes.append(_UNTOLD)


def _unit(rows: Tensor) -> bool:
    return bool(((rows.norm(dim=1) - 1).abs() < _ROUNDING).all())


def _even(rows: Tensor) -> bool:
    """Whether all rows have one length, as kept in training, which no columns have by chance."""
    norms = rows.norm(dim=1)
    return bool(((norms - norms.mean()).abs() < _ROUNDING * norms.mean()).all())


def _agreement(reads: Tensor, atoms: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(reads, atoms, dim=1).nan_to_num().mean())
