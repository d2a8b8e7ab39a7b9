"""The topological autoencoder."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Output, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import MSE
from isthmus.recipes.options import Hidden, LatentDim, Network, NonNegative, OwnModule
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float, Int

PairsName = Literal["persistent", "random"]


def persistence_pairs(points: Float[Tensor, "rows dim"]) -> Int[Tensor, "edges 2"]:
    """The edges of a minimum spanning tree of the rows of ``points``, by Euclidean distances.

    They are the pairs of 0-dimensional persistence of the Vietoris-Rips filtration: their lengths
    are the distances at which components merge.
    """
    with torch.no_grad():
        exact = points.detach().cpu()
        distances = torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist")
    from isthmus.evaluation.persistence import spanning_tree  # which brings SciPy

    edges, _ = spanning_tree(len(points), distances.numpy().__getitem__)
    return torch.from_numpy(edges).to(points.device)


def random_pairs(rows: int) -> Int[Tensor, "edges 2"]:
    """As many pairs as a spanning tree has, of different rows drawn at random."""
    if rows < 2:
        return torch.zeros(0, 2, dtype=torch.int64)
    first = torch.randint(rows, (rows - 1,))
    return torch.stack([first, (first + torch.randint(1, rows, (rows - 1,))) % rows], 1)


def lengths(
    points: Float[Tensor, "rows dim"], pairs: Int[Tensor, "edges 2"]
) -> Float[Tensor, " edges"]:
    """The distances of these pairs; the gradient of a distance of zero is zero."""
    return torch.linalg.vector_norm(points[pairs[:, 0]] - points[pairs[:, 1]], dim=1)


class Topology(Term):
    """``(|A^x[pi^x] - A^z[pi^x]|^2 + |A^z[pi^z] - A^x[pi^z]|^2) / rows``.

    ``A^x`` are the distances within the batch of data, divided by ``largest``, or where that is
    None by the largest among them; ``A^z`` those of the codes, divided by a learnt ``scale``;
    ``pi`` the persistence pairs of each (Moor et al. 2020, equations 1 to 3). Gradients pass
    through the selected distances, not through the selection.
    """

    name = "topology"
    unit = "squared distance relative to the largest, per row"
    per_example = False
    rebuilds = False
    estimator = (
        "spanning trees of the batch alone: the more rows, the shorter their edges and the finer "
        "the scale that is compared"
    )

    def __init__(self, pairs: PairsName = "persistent", largest: float | None = None) -> None:
        super().__init__()
        self.pairs, self.largest = pairs, largest
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        x, z = out.x.flatten(1), out.code.z
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        if self.pairs == "persistent":
            of_x, of_z = persistence_pairs(x), persistence_pairs(z)
        else:
            of_x, of_z = (random_pairs(len(x)).to(x.device) for _ in range(2))
        largest = self.largest or _diameter(x)
        squares = [
            (lengths(x, pairs) / largest - lengths(z, pairs) / self.scale).square().sum()
            for pairs in (of_x, of_z)
        ]
        return (squares[0] + squares[1]) / len(x)


def _diameter(x: Tensor) -> float:
    """The largest distance between rows; 1 where all are the same."""
    return float(torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").max()) or 1.0


@recipe(
    "topological",
    family="clustering",
    catalogue=169,
    paper="Moor, Horn, Rieck, Borgwardt, Topological Autoencoders, ICML 2020, arXiv:1906.00722",
    formula="L = |x - x^|^2 / n_elements + (weight / rows) (|A^x[pi^x] - A^z[pi^x]|^2 + "
    "|A^z[pi^z] - A^x[pi^z]|^2),  A distances in the batch, pi the edges of their spanning trees",
    claim="The topological loss keeps the connectivity of the data at several scales in codes of "
    "two dimensions (nested spheres stay nested), better than an autoencoder, t-SNE or UMAP by "
    "density measures, at little cost of reconstruction.",
    training={"epochs": 100, "lr": 2.7e-4, "batch_size": 28, "weight_decay": 1e-5},
)
def topological(
    signal: Signal,
    *,
    latent_dim: LatentDim = 2,
    weight: Annotated[NonNegative, Field(description="lambda, the weight of the topology")] = 0.43,
    pairs: Annotated[
        PairsName,
        Field(description="distances compared: the spanning trees', or random ones (a control)"),
    ] = "persistent",
    network: Network = "mlp",
    hidden: Hidden = (32, 32),
    norm: Annotated[
        Literal["batch", "layer"] | None, Field(description="normalisation of the hidden layers")
    ] = "batch",
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Make the codes of a batch merge into components at the distances at which the data do.

    The connected components of a set of points, at every scale at once, are told by its minimum
    spanning tree. The edges of the data's tree should be as long among the codes, and those of the
    codes' tree as long among the data; lengths are compared relative to the largest distance of
    the batch (for images of known range, to the largest possible), and divided among the codes by
    a learnt number. Nothing is said of distances that no tree selects. ``pairs=random`` compares
    as many random distances instead, which tells whether the topology matters.

    Published, for the Spheres data: two latents, hidden layers of 32 and 32 with batch
    normalisation, weight 0.43, batches of 28, Adam at 2.7e-4 with decay 1e-5, up to 100 epochs
    (stopped early, by ``validation=0.1 patience=10``). For MNIST: a weight near 0.5 and
    ``hidden=1000,500,250``. Vectors are standardised, as everywhere in this library
    (``scaling=none`` leaves them as they are, as in the paper).
    """
    largest = None
    if signal.kind == "image" and signal.low is not None and signal.high is not None:
        largest = (signal.high - signal.low) * signal.numel**0.5
    objective = MSE() * 1.0
    if weight:  # else its scale would follow weight decay alone, to zero
        objective = objective + weight * Topology(pairs, largest)
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden, norm=norm),
        bottleneck=Identity(),
        decoder=decoder or decoder_for(signal, latent_dim, network, hidden=hidden, norm=norm),
        objective=objective,
    )
