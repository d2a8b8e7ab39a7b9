"""Observation models: each a part with its unit, masks for missing entries and a sampler.

The contract is :class:`isthmus.anatomy.Likelihood`.
"""

from isthmus.anatomy.likelihood import Bernoulli, Gaussian, Likelihood
from isthmus.likelihoods.categorical import Categorical
from isthmus.likelihoods.continuous_bernoulli import ContinuousBernoulli
from isthmus.likelihoods.counts import NegativeBinomial, Poisson
from isthmus.likelihoods.discretised_logistic import DiscretisedLogistic
from isthmus.likelihoods.gaussian import FullGaussian, LearnedGaussian
from isthmus.likelihoods.laplace import Laplace
from isthmus.likelihoods.mixed import Mixed
from isthmus.likelihoods.multinomial import Multinomial
from isthmus.likelihoods.zero_inflated import (
    ZeroInflated,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

__all__ = [
    "Bernoulli", "Categorical", "ContinuousBernoulli", "DiscretisedLogistic", "FullGaussian",
    "Gaussian", "Laplace", "LearnedGaussian", "Likelihood", "Mixed", "Multinomial",
    "NegativeBinomial", "Poisson", "ZeroInflated", "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]  # fmt: skip
