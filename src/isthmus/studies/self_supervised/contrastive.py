"""The contrastive objective, which needs negatives."""

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, EmbeddingCode, Output, Term
from isthmus.shapes import Float


def info_nce(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "rows width"], temperature: float
) -> Float[Tensor, ""]:
    """NT-Xent in nats, averaged over the 2 rows views: which of all others is the same row's?

    Similarities are cosines over ``temperature``; a view's negatives are all views of the other
    rows (Chen et al. 2020, "A simple framework for contrastive learning", equation 1).
    """
    views = F.normalize(torch.cat((a, b)), dim=1)
    logits = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partner = torch.arange(len(views), device=views.device).roll(len(a))
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)


class InfoNCE(Term):
    """:func:`info_nce` of the two views' embeddings."""

    name = "info_nce"
    unit = "nats"
    per_example = False
    rebuilds = False
    estimator = "the other rows of the batch are the negatives: it grows with their number"

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        first, second = out.codes
        assert isinstance(first, EmbeddingCode)
        assert isinstance(second, EmbeddingCode)
        return info_nce(first.embedding, second.embedding, self.temperature)
