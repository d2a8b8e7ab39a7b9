"""Every likelihood with parameters and data that suit it, for the tests that hold for all."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
    FullGaussian,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    Mixed,
    Multinomial,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

SHAPE = (4, 3)
MIXED = (0, 3), (3, 4), (4, 7), (7, 8)


def mixed() -> Mixed:
    parts = Gaussian(0.7), Categorical(5), Multinomial(), NegativeBinomial(dispersion="decoder")
    return Mixed(dict(zip(MIXED, parts, strict=True)))


@dataclass(frozen=True)
class Case:
    """``data(generator, rows, shape)`` draws float64 rows within the support."""

    name: str
    make: Callable[[], Likelihood]
    data: Callable[[torch.Generator, tuple[int, ...]], Tensor]
    shape: tuple[int, ...] = SHAPE

    def params_shape(self, rows: int, lead: tuple[int, ...] = ()) -> tuple[int, ...]:
        likelihood = self.make()
        if isinstance(likelihood, Mixed):
            return (*lead, rows, likelihood.width)
        last = (likelihood.numbers,) if likelihood.numbers > 1 else ()
        return (*lead, rows, *self.shape, *last)

    def drawn(self, rows: int = 5, lead: tuple[int, ...] = ()) -> tuple[Likelihood, Tensor, Tensor]:
        """The likelihood in float64, params ``(*lead, rows, ...)`` and x ``(rows, *shape)``."""
        generator = torch.Generator().manual_seed(3)
        shape = self.params_shape(rows, lead)
        params = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.make().double(), params, self.data(generator, (rows, *self.shape))


def normal(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def unit(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def binary(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return unit(generator, shape).round()


def bytes_(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    levels = (unit(generator, shape) * 256).floor() / 255.0
    levels.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return levels


def counts(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return (unit(generator, shape) * 6).floor()


def ids(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, 5, shape, generator=generator)


def table(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    rows = shape[0]
    one_hot = torch.eye(3, dtype=torch.float64)[torch.randint(0, 3, (rows,), generator=generator)]
    kinds = normal(generator, (rows, 3)), ids(generator, (rows, 1)), one_hot
    return torch.cat([*kinds, counts(generator, (rows, 1))], 1)


CASES = [
    Case("gaussian", lambda: Gaussian(0.6), normal),
    Case("learned", lambda: LearnedGaussian(sigma=0.4), normal),
    Case("learned-each", lambda: LearnedGaussian(SHAPE, 1.3), normal),
    Case("full", FullGaussian, normal),
    Case("laplace", lambda: Laplace(0.8), normal),
    Case("laplace-decoder", lambda: Laplace(None), normal),
    Case("bernoulli", Bernoulli, binary),
    Case("continuous-bernoulli", ContinuousBernoulli, unit),
    Case("categorical", lambda: Categorical(5), ids),
    Case("multinomial", Multinomial, counts),
    Case("poisson", Poisson, counts),
    Case("negative-binomial", NegativeBinomial, counts),
    Case("negative-binomial-decoder", lambda: NegativeBinomial(dispersion="decoder"), counts),
    Case("zip", ZeroInflatedPoisson, counts),
    Case("zinb", lambda: ZeroInflatedNegativeBinomial(SHAPE), counts),
    Case("zinb-decoder", lambda: ZeroInflatedNegativeBinomial(dispersion="decoder"), counts),
    Case("discretised-logistic", DiscretisedLogistic, bytes_),
    Case("mixed", mixed, table, (8,)),
]
