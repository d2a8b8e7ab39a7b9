"""Terms of codebooks: what draws entries and latents to each other, and how many are in use."""

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, DiscreteCode, Output, Term


class Quantise(Term):
    """``|sg(z) - zq|^2``: draws the chosen values to the latents; averaged over the latents.

    van den Oord, Vinyals, Kavukcuoglu 2017, equation 3, second term.
    """

    name = "quantise"
    unit = "squared latent units, per latent"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(DiscreteCode, self)
        return (code.continuous.detach() - code.quantised).square().mean(1)


class Commit(Term):
    """``|z - sg(zq)|^2``: draws the latents to the chosen values; averaged over the latents.

    van den Oord, Vinyals, Kavukcuoglu 2017, equation 3, third term.
    """

    name = "commit"
    unit = "squared latent units, per latent"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(DiscreteCode, self)
        return (code.continuous - code.quantised.detach()).square().mean(1)


class Perplexity(Term):
    """How many entries a batch uses: exp of the entropy of its choices, a mean over codebooks."""

    name = "perplexity"
    unit = "entries"
    per_example = False
    estimator = "of the batch's own choices, hence too low for few of them"
    rebuilds = False

    @torch.no_grad()
    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(DiscreteCode, self)
        tables = code.indices.T if code.per_position else code.indices.reshape(1, -1)
        share = F.one_hot(tables, code.codebook_size).float().mean(1)
        return torch.special.entr(share).sum(1).exp().mean()
