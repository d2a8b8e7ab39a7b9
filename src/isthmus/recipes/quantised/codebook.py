"""Codebook features: an activation as the mean of the k codes of highest cosine."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, LinearEncoder, Look, Part, Signal, linear_decoder
from isthmus.bottlenecks import NearestAtom
from isthmus.kernels import Preactivations, preactivations_of
from isthmus.networks import Dictionary
from isthmus.objectives import MSE
from isthmus.recipes.options import ActiveLatents, DictionaryDim, check_active
from isthmus.recipes.registry import recipe

Start = Literal["rows", "normal"]


class Codebook(Dictionary):
    """Codes ``(width, d)`` of any length, and no offset: what is rebuilt is made of codes alone.

    They start at rows of the data, drawn without repetition as far as there are enough
    (``"rows"``), or at standard normal numbers (``"normal"``).
    """

    def __init__(self, width: int, shape: tuple[int, ...], start: Start) -> None:
        super().__init__(width, shape, unit=False)
        self.begin_from = start
        self.bias.requires_grad_(False)
        with torch.no_grad():
            self.weight.normal_()

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start at rows, where that was asked for."""
        self.start(look.tensor.flatten(1))

    @torch.no_grad()
    def start(self, rows: Tensor) -> None:
        """Start at some of ``rows`` ``(n, d)``, in the model's units, where that was asked for."""
        if self.begin_from == "rows":
            order = torch.randperm(len(rows))
            order = order.repeat(-(-len(self.weight) // len(order)))[: len(self.weight)]
            self.weight.copy_(rows[order.to(rows.device)])


class CosineEncoder(LinearEncoder, Part):
    """``<x, c> / |c|`` for every code ``c`` of the model's decoder, whose rows it reads.

    For one row these are in the order of the cosines. No gradient passes.
    """

    by_latent = ("bias",)
    bias: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(width))

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        rows, bias = self.read_rows(model)
        return preactivations_of(x.detach().flatten(1), rows.detach(), bias, None)

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """The codes at length 1, and nothing."""
        return F.normalize(linear_decoder(model).atoms(), dim=1), self.bias


@recipe(
    "codebook",
    family="quantised",
    catalogue=136,
    paper="Tamkin, Taufeeque, Goodman, Codebook Features: Sparse and Discrete Interpretability for "
    "Neural Networks, 2023, arXiv:2310.17230",
    formula="x^ = (1/k) sum_{i in S} c_i,  S = the k codes of highest cosine with x,  "
    "L = |x - x^|^2 / d",
    claim="Networks keep most of their accuracy under k discrete codes a layer; codes match hidden "
    "states better than neurons do, and setting them steers what the network does.",
    training={"steps": 15_000, "lr": 5e-4, "batch_size": 3072},
    scaling="global",
)
def codebook(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 10_000,
    k: ActiveLatents = 8,
    start: Annotated[
        Start, Field(description="what codes start at: rows of the data, or normal numbers")
    ] = "rows",
) -> Autoencoder:
    """An activation becomes the mean of its k nearest codes, all in equal parts.

    Codes are chosen by cosine and there is no amount of a code: an example is told as k whole
    numbers, which can be counted, searched for and set. Codes have lengths of their own, and move
    towards the rows that chose them; no gradient moves the rows (no commitment term). A latent is
    a code, of value 1/k where it is chosen.

    Published: a network and the codebooks in its layers learn together, by the loss of the task,
    whose gradient passes straight through to the activation, and codes by the squared error as
    well. ``isthmus.interpretation.learn_through`` does that, with codebooks of this recipe at the
    points of any network; this recipe by itself is trained on activations that are given, and
    ``isthmus.interpretation.end_to_end`` goes on from there by the loss of a language model that
    stays as it is. On language 10,000 codes for each attention head of which 8 are chosen, 5e-4,
    15,000 steps (of 24 texts of 1024 tokens; here 3072 rows); on a machine of 100 states 1000
    codes of which one is chosen, 1e-3, 20,000 steps of 512 texts of 128 tokens. Adam with a decay
    of 0.01 (here without).

    The authors' code starts codes at standard normal numbers (``start=normal``), behind a layer
    norm of its own before each codebook, which ``learn_through`` has as well. Here nothing is
    normalised but the data by one number, and codes start at rows of the data, near which all of
    them are chosen sometimes.
    """
    check_active(latent_dim, k=k)
    return Autoencoder(
        signal,
        encoder=CosineEncoder(latent_dim),
        bottleneck=NearestAtom(k),
        decoder=Codebook(latent_dim, signal.shape, start),
        objective=MSE(),
    )
