"""Groups of latents whose decoder directions are near each other, and what each group rebuilds."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Array, Code, SparseCode
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import cosines


def direction_clusters(
    directions: Array, *, neighbours: int = 2, cosine: float = 0.5
) -> list[np.ndarray]:
    """Connected groups of a graph that joins each latent to its nearest ones.

    The graph of Engels et al. (2024, Not All Language Model Features Are Linear, appendix F): an
    edge from each row of ``directions`` ``(latents, elements)`` to the ``neighbours`` rows of the
    largest cosine with it, where that exceeds ``cosine``. Groups of two latents or more, each as
    sorted numbers, the largest group first. Cosines are computed in pieces. Fewer than two rows,
    NaN and infinity are an :class:`IsthmusError`.
    """
    rows = torch.as_tensor(directions).detach().float()
    if rows.ndim != 2 or len(rows) < 2 or not bool(torch.isfinite(rows).all()):
        raise IsthmusError(
            f"directions of the shape {tuple(rows.shape)} cannot be grouped: pass (latents, "
            "elements), two rows or more of finite numbers"
        )
    unit, count = F.normalize(rows, dim=1), min(neighbours, len(rows) - 1)
    edges: list[tuple[np.ndarray, np.ndarray]] = []
    for start, part in cosines(unit, unit):
        part.diagonal(start).fill_(-2.0)
        near, which = part.topk(count, dim=1)
        at, place = torch.nonzero(near > cosine, as_tuple=True)
        edges.append(((at + start).numpy(), which[at, place].numpy()))
    begin, end = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = csr_array((np.ones(len(begin)), (begin, end)), shape=(len(rows), len(rows)))
    member = connected_components(graph, directed=False)[1]
    groups = [np.flatnonzero(member == i) for i in np.flatnonzero(np.bincount(member) > 1)]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))


def rebuilt_by(code: Code, directions: Tensor, latents: Sequence[int] | np.ndarray) -> Tensor:
    """What ``latents`` alone rebuild, of the rows in which one of them fires.

    ``code`` is of ``(rows, all latents)``, ``directions`` ``(all latents, elements)``; the result
    is ``(rows that fire, elements)``, without any bias.
    """
    index = torch.as_tensor(np.asarray(latents), dtype=torch.int64)
    if not isinstance(code, SparseCode):
        z = code.z[:, index]
        return z[(z != 0).any(1)] @ directions[index]
    place = torch.full((code.width,), -1)
    place[index] = torch.arange(len(index))
    column = place[code.indices]
    mine = (column >= 0) & (code.values != 0)
    rows = mine.any(1)
    z = code.values.new_zeros(int(rows.sum()), len(index) + 1)
    z.scatter_add_(1, torch.where(mine, column, len(index))[rows], code.values[rows])
    return z[:, :-1] @ directions[index]
