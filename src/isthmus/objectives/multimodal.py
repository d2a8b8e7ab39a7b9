"""Bounds on the log-likelihood of several modalities, of which a row may lack some."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, Term
from isthmus.bottlenecks.experts import MixtureCode, ProductCode, precise, present
from isthmus.objectives.importance import Average, Importance, log_prior

Estimator = Literal["dreg", "iwae", "elbo"]


def log_likelihood(
    model: Autoencoder, params: Mapping[str, Tensor], out: Output, weights: Mapping[str, float]
) -> Tensor:
    """``sum_m w_m log p(x_m | z)`` in nats over what is observed, ``(..., rows)``.

    ``params`` are those of some modalities or of all, with leading axes where z has them; a
    modality that ``weights`` does not name has the weight 1.
    """
    values = []
    for name, part_params in params.items():
        mask = out.mask.get(name) if isinstance(out.mask, Mapping) else None
        value = model.likelihood[name].log_prob(precise(part_params), out.target[name], mask)  # type: ignore[index]
        values.append(weights.get(name, 1.0) * value)
    return reduce(add, values)


def kl_of_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """``KL(N(mean, var) || N(0, I))`` in nats, summed over the last axis."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(-1)


class ModalityLikelihood(Term):
    """``-sum_m w_m log p(x_m | z)`` over what is observed, averaged over the draws of z."""

    name = "nll"
    unit = "nats"

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict(weights or {})

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        nll = -log_likelihood(model, out.need_params(), out, self.weights)
        return nll if out.code.samples is None else nll.mean(0)


class SubsetLikelihood(Term):
    """``-sum_S sum_{m in S} w_m log p(x_m | z_S)`` over the subsets S of a product of experts.

    z_S is drawn from the posterior that knows the modalities of S alone (Wu, Goodman 2018,
    equation 5). A modality is rebuilt only for the subsets that it is in.
    """

    name = "subset_nll"
    unit = "nats"
    rebuilds = False  # it decodes other codes than the joint one

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict(weights or {})

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        subsets = out.code_as(ProductCode, "this term").subsets
        total = torch.zeros(out.rows, device=out.device)
        for name in out.target:
            draws = [z for members, z, _, _ in subsets if name in members]
            if draws:
                z = torch.stack(draws)
                flat = model.decoder[name](z.flatten(0, 1))  # type: ignore[index]
                params = {name: flat.unflatten(0, z.shape[:2])}
                total = total - log_likelihood(model, params, out, self.weights).sum(0)
        return total


class SubsetKL(Term):
    """``sum_S KL(q(z | x_S) || N(0, I))`` over the subsets S of a product of experts."""

    name = "subset_kl"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        total = torch.zeros(out.rows, device=out.device)
        for _, _, mean, logvar in out.code_as(ProductCode, "this term").subsets:
            total = total + kl_of_normal(mean, logvar)
        return total


class MixtureKL(Term):
    """``(1/C) sum_c KL(q_c || N(0, I))`` over the C Gaussian components that a row has.

    At least the KL divergence of the mixture, by convexity (Sutter et al. 2021, lemma 1).
    """

    name = "kl"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(MixtureCode, "this term")
        each = kl_of_normal(code.means, 2.0 * code.scales.log())
        return torch.where(code.present, each, 0.0).sum(1) / code.present.sum(1)


class MixtureBound(Term):
    """Minus the mean over the experts m of a row of a bound from K draws of expert m.

    The log-weights of the draws ``z_mk`` are ``sum_n w_n log p(x_n | z) + log p(z) - log q(z | x)``
    with q the whole mixture. ``"elbo"`` averages them (the stratified ELBO), ``"iwae"`` takes the
    log of the average weight of each expert's draws: the authors' looser bound, which no expert
    can leave to the others (Shi et al. 2019); where the experts differ it stays below log p(x)
    however many draws there are. ``"dreg"`` has the value of ``"iwae"`` and the
    authors' gradient: q's own parameters held, each path weighed by its share once more. With one
    draw that is the gradient of the ELBO without its noise; with more it leaves out what the
    mixture's score would add, since the draws are of one expert.

    An expert that a row lacks is no part of the mean, and a row without any counts 0.
    """

    name = "bound"
    unit = "nats"
    rebuilds = False  # it decodes itself, since the gradient by z is weighed anew

    def __init__(self, estimator: Estimator = "dreg", weights: Mapping[str, float] | None = None):
        self.how = estimator
        self.weights = dict(weights or {})

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(MixtureCode, "this term")
        logs, path = self.log_weights(model, out, code)
        # Of a row without anything the prior stands in for an expert, and is not counted.
        seen = (code.present & present(out.target, out.mask).any(1, keepdim=True)).T
        grouped = logs.unflatten(0, (len(seen), -1))
        bound = Average() if self.how == "elbo" else Importance()
        values = torch.stack([bound.value(group) for group in grouped])
        if self.how == "dreg":
            shares = grouped.detach().softmax(1)
            if path.requires_grad:
                wide = shares.flatten(0, 1).unsqueeze(-1)
                path.register_hook(lambda gradient: (gradient * wide).to(gradient.dtype))
            surrogate = (shares * grouped).sum(1)
            values = values.detach() + (surrogate - surrogate.detach())
        counts = seen.sum(0).clamp_min(1)
        return -torch.where(seen, values, 0.0).sum(0) / counts

    def log_weights(
        self, model: Autoencoder, out: Output, code: MixtureCode
    ) -> tuple[Tensor, Tensor]:
        """The log-weight of each draw, ``(draws, rows)``, and the draws that they follow from."""
        path = code.z.view_as(code.z)
        params = model.decode_code(
            code.replaced(z=path), view=out.views[0], batch=out.batch, step=out.step
        )
        if self.how == "dreg":
            code = code.replaced(means=code.means.detach(), scales=code.scales.detach())
        weighted = log_likelihood(model, params, out, self.weights)
        return weighted + log_prior(model, path) - code.log_prob(path), path
