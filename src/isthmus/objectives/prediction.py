"""Predicting the embedding of one view from that of another."""

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, EmbeddingCode, Output, Term
from isthmus.shapes import Float


def cosine_distance(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "rows width"]
) -> Float[Tensor, " rows"]:
    """``2 - 2 cos(a, b)`` of each row: the squared distance of the two as unit vectors."""
    if a.dtype != torch.float64:
        a, b = a.float(), b.float()
    return 2.0 - 2.0 * F.cosine_similarity(a, b, dim=1)


class CrossPrediction(Term):
    """The cosine distance of each view's predicted embedding from the other's; both are added.

    ``d(q(z1), sg(t2)) + d(q(z2), sg(t1))`` with :func:`cosine_distance`, the part ``predictor`` as
    q, and no gradient to the targets t: Grill et al. 2020, equation 2. The first two codes of an
    output are z1 and z2, the last two t1 and t2. A teacher's are the codes of two further views;
    without one the targets are z1 and z2 themselves, held fixed (Chen, He 2021, algorithm 1, whose
    loss is a quarter of this one, less 1).
    """

    name = "prediction"
    unit = "squared distance of unit vectors, of two predictions"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        predictor = model.parts["predictor"]
        embeddings = [
            out.code_as(EmbeddingCode, self, view=view).embedding for view in (0, 1, -2, -1)
        ]
        first, second = (predictor(embedding) for embedding in embeddings[:2])
        first_target, second_target = (embedding.detach() for embedding in embeddings[2:])
        return cosine_distance(first, second_target) + cosine_distance(second, first_target)
