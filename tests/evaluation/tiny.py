"""Autoencoders of a few lines, with every kind of code, for the tests of ``evaluate``."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Code,
    DiscreteCode,
    EmbeddingCode,
    Gaussian,
    GaussianCode,
    Likelihood,
    LinearDecoder,
    Scaler,
    Signal,
    SparseCode,
    Term,
    ThresholdCode,
)

FEATURES = 5


class Nothing(Term):
    name = "nothing"
    unit = "none"

    def __call__(self, model, out):
        return torch.zeros(len(out.x))


class Dense(nn.Module):
    def forward(self, h: Tensor, *, sample: bool = False) -> Code:
        return Code(h)


class Posterior(nn.Module):
    """The mean is ``h``; the variance is one number for all."""

    def __init__(self, logvar: float = -1.0) -> None:
        super().__init__()
        self.logvar = logvar

    def forward(self, h: Tensor, *, sample: bool = False) -> GaussianCode:
        return GaussianCode(h, h, torch.full_like(h, self.logvar))


class NoDenseCode(SparseCode):
    """A sparse code that may not be made dense."""

    @property
    def z(self) -> Tensor:
        raise AssertionError("the dense code was built")


class TopK(nn.Module):
    def __init__(self, k: int, kind: type[SparseCode] = SparseCode) -> None:
        super().__init__()
        self.k, self.kind = k, kind

    def forward(self, h: Tensor, *, sample: bool = False) -> SparseCode:
        values, indices = torch.topk(h, self.k)
        return self.kind(values.relu(), indices, h.shape[1])


class SparseDecoder(LinearDecoder, nn.Module):
    """Reads the code itself, so that a sparse one stays sparse."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(width, features, generator=generator))

    def atoms(self) -> Tensor:
        return self.weight

    @property
    def offset(self) -> Tensor:
        return torch.zeros(self.weight.shape[1])

    def forward(self, *, code: SparseCode) -> Tensor:
        return (code.values[..., None] * self.weight[code.indices]).sum(-2)


class Threshold(nn.Module):
    def forward(self, h: Tensor, *, sample: bool = False) -> ThresholdCode:
        return ThresholdCode(h * (h > 0.5), h)


class Signs(nn.Module):
    """Each position chooses between two entries by the sign."""

    def forward(self, h: Tensor, *, sample: bool = False) -> DiscreteCode:
        z = h.sign()
        return DiscreteCode(z, (h > 0).long(), z, h, codebook_size=2, per_position=True)


class Embedding(nn.Module):
    def forward(self, h: Tensor, *, sample: bool = False) -> EmbeddingCode:
        return EmbeddingCode(h, h)


def tiny(
    bottleneck: nn.Module,
    *,
    latent: int = 3,
    features: int = FEATURES,
    decoder: nn.Module | str | None = "linear",
    likelihood: Likelihood | None = None,
    scaler: Scaler | None = None,
    encoder: nn.Module | None = None,
    signal: Signal | None = None,
    target=None,
    prior=None,
) -> Autoencoder:
    """A linear autoencoder with fixed random weights and that bottleneck."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = nn.Linear(latent, features) if decoder == "linear" else decoder
        return Autoencoder(
            signal or Signal("vector", (features,)),
            encoder=encoder or nn.Linear(features, latent),
            bottleneck=bottleneck,
            decoder=built,
            objective=Nothing(),
            likelihood=likelihood or Gaussian(0.5),
            scaler=scaler,
            target=target,
            prior=prior,
        )
