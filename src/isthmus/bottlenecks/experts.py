"""Posteriors put together from one expert for each modality, where any modality may be missing.

Each bottleneck reads ``{name: (rows, 2 latent)}``, the mean and the log-variance (or what stands in
its place) of every expert, and leaves out those of modalities that a row lacks by the batch's mask.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Code, GaussianCode, Prior, unstored
from isthmus.errors import IsthmusError

Family = Literal["normal", "laplace"]

LOGVAR_LIMIT = 20.0
"""Log-variances stay within this of 0, so that their exponentials are finite in float32."""

_LEAST_SCALE = 1e-6
MOST_PRODUCTS = 10
"""Modalities of which every subset can be a component: 1023 of them."""


def present(parts: Mapping[str, Tensor], mask: Any) -> Tensor:
    """Which modalities a row has anything of, bool ``(rows, modalities)``, in the order of `parts`.

    ``mask`` is that of a :class:`~isthmus.anatomy.Batch`: a modality of which a row has some
    entries and lacks others is there.
    """
    columns = []
    for name, part in parts.items():
        part_mask = mask.get(name) if isinstance(mask, Mapping) else None
        seen = torch.ones(part.shape[0], dtype=torch.bool, device=part.device)
        columns.append(
            seen if part_mask is None else part_mask.reshape(part_mask.shape[0], -1).any(1)
        )
    return torch.stack(columns, 1)


def product(means: Tensor, logvars: Tensor, members: Tensor, prior: Tensor | float = 1.0) -> Any:
    """Mean and log-variance ``(rows, latent)`` of a product of Gaussians and of N(0, I)^prior.

    ``means`` and ``logvars`` are ``(rows, experts, latent)``; ``members`` bool ``(rows, experts)``
    says which take part. Precisions add up, and the mean is that of the means weighed by them
    (Wu, Goodman 2018, section 2.2). ``prior`` is 1 or 0, or a tensor of these ``(rows, 1)``; a
    product of nothing is N(0, I).
    """
    precisions = torch.where(members.unsqueeze(-1), (-logvars).exp(), 0.0)
    total = precisions.sum(1)
    alone = ~members.any(1, keepdim=True)
    total = total + torch.where(alone, 1.0, torch.as_tensor(prior, device=total.device))
    return (precisions * means).sum(1) / total, -total.log()


def _stacked(h: Mapping[str, Tensor], mask: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Means and what follows them ``(rows, experts, latent)``, and who is there."""
    halves = [precise(part).chunk(2, dim=-1) for part in h.values()]
    means, rest = (torch.stack(parts, 1) for parts in zip(*halves, strict=True))
    return means, rest, present(h, mask)


def precise(values: Tensor) -> Tensor:
    """At least float32: sums of exponentials in half precision would be lost."""
    return values if values.dtype == torch.float64 else values.float()


def _drawn(mean: Tensor, logvar: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * (0.5 * logvar).exp()


# --- a product ---------------------------------------------------------------------------------


@dataclass(eq=False)
class ProductCode(GaussianCode):
    """A product of experts, a Gaussian; on the training path with those of subsets as well.

    Each of ``subsets`` is ``(members, z, mean, logvar)``: the names of its modalities, a draw and
    the moments, all ``(rows, latent)``.
    """

    subsets: Any = unstored(())


class ProductOfExperts(nn.Module):
    """The product of the experts that are there and of the prior N(0, I) (Wu, Goodman 2018).

    A row without any modality gets the prior. On the training path the code also has the
    posteriors of every single modality, with ``unimodal``, and of ``subsets`` random ones of two
    or more (but not of all), drawn anew for each batch.
    """

    def __init__(self, *, unimodal: bool = True, subsets: int = 0) -> None:
        super().__init__()
        self.unimodal, self.subsets = unimodal, subsets

    def forward(
        self, h: Mapping[str, Tensor], *, sample: bool = False, mask: Any = None
    ) -> ProductCode:
        means, logvars, presence = _stacked(h, mask)
        logvars = logvars.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)
        mean, logvar = product(means, logvars, presence)
        if not sample:
            return ProductCode(mean, mean, logvar)
        single: list[tuple[int, ...]] = [(i,) for i in range(len(h))] if self.unimodal else []
        subsets = single + random_subsets(len(h), self.subsets)
        z, parts, names = _drawn(mean, logvar), [], list(h)
        for members in subsets:
            membership = torch.zeros_like(presence)
            membership[:, list(members)] = True
            moments = product(means, logvars, presence & membership)
            parts.append((tuple(names[i] for i in members), _drawn(*moments), *moments))
        return ProductCode(z, mean, logvar, subsets=tuple(parts))


def random_subsets(count: int, number: int) -> list[tuple[int, ...]]:
    """``number`` different subsets of ``count`` modalities, uniformly: two or more, but not all."""
    number = min(number, max(0, 2**count - count - 2))
    subsets: dict[tuple[int, ...], None] = {}
    while len(subsets) < number:
        members = tuple((torch.rand(count) < 0.5).nonzero().flatten().tolist())
        if 2 <= len(members) < count:
            subsets[members] = None
    return list(subsets)


# --- mixtures ----------------------------------------------------------------------------------


@dataclass(eq=False)
class MixtureCode(Code):
    """A mixture, in equal parts, of those of its components that are there.

    ``means`` and ``scales`` (standard deviations; of the Laplace family the mean absolute
    deviations) are ``(rows, components, latent)``, ``present`` bool ``(rows, components)``. ``z``
    is one vector where the code is deterministic, else draws, with a leading axis where
    ``samples`` is set.
    """

    z: Tensor
    means: Tensor
    scales: Tensor
    present: Tensor
    family: str = "normal"
    samples: int | None = None

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats, ``(draws, rows, latent)`` to ``(draws, rows)``."""
        far = (z.unsqueeze(-2) - self.means) / self.scales
        if self.family == "laplace":
            logs = -far.abs() - self.scales.log() - math.log(2.0)
        else:
            logs = -0.5 * far.square() - self.scales.log() - 0.5 * math.log(2 * math.pi)
        each = logs.sum(-1).masked_fill(~self.present, -math.inf)
        return each.logsumexp(-1) - self.present.sum(-1).log()

    def draw(self, samples: int) -> "MixtureCode":
        """The same mixture with ``samples`` fresh draws on a leading axis."""
        which = torch.multinomial(self.present.float(), samples, replacement=True).T
        index = which[:, :, None, None].expand(-1, -1, 1, self.means.shape[-1])
        means, scales = (
            part.expand(samples, *part.shape).gather(2, index).squeeze(2)
            for part in (self.means, self.scales)
        )
        return self.replaced(z=means + scales * noise(means, self.family), samples=samples)

    def drawn_at(self, noise: Tensor) -> tuple[Code, Tensor]:
        """Draws of every component at ``noise`` ``(draws, latent)``, and their weights.

        The components that a row has weigh alike (a stratified average), the others nothing.
        """
        if self.family == "laplace":
            # The quantile of a Laplace distribution where the normal one has its own.
            half = 1.0 - torch.special.erf(noise.abs() / math.sqrt(2.0))
            noise = -noise.sign() * half.clamp_min(1e-12).log()
        z = self.means + noise[:, None, None] * self.scales
        share = self.present / (self.present.sum(1, keepdim=True) * len(noise))
        draws = z.permute(2, 0, 1, 3).flatten(0, 1)
        weights = share.T.repeat_interleave(len(noise), 0)
        return self.replaced(z=draws, samples=len(draws)), weights


def noise(like: Tensor, family: str) -> Tensor:
    """Draws of N(0, 1), or of the Laplace distribution of scale 1, of a tensor's shape."""
    if family == "normal":
        return torch.randn_like(like)
    # The difference of two exponentials, without the infinity that an inverse may give.
    return torch.empty_like(like).exponential_() - torch.empty_like(like).exponential_()


def _mixture(
    z: Tensor, means: Tensor, scales: Tensor, presence: Tensor, family: str = "normal"
) -> MixtureCode:
    """A mixture whose absent components are standard ones, and of which one is always there."""
    means = torch.where(presence.unsqueeze(-1), means, 0.0)
    scales = torch.where(presence.unsqueeze(-1), scales, 1.0)
    presence = presence | (
        ~presence.any(1, keepdim=True) & (torch.arange(presence.shape[1]).to(z.device) == 0)
    )
    return MixtureCode(z, means, scales, presence, family)


class MixtureOfExperts(nn.Module):
    """The mixture, in equal parts, of the experts that are there (Shi et al. 2019).

    A row without any modality gets N(0, I), or its Laplace counterpart. The deterministic code is
    the mixture's mean. On the training path ``samples`` are drawn from *every* expert: ``z`` is
    ``(experts * samples, rows, latent)``, one expert after another; those of an expert that a row
    lacks are standard noise, to be left out.

    Of the family ``"laplace"`` scales are the softmax over the latents of what the encoder gives,
    times their number, so that they have mean 1 (as the authors do); of ``"normal"`` the encoder
    gives log-variances.
    """

    def __init__(self, samples: int = 1, family: Family = "normal") -> None:
        super().__init__()
        self.samples, self.family = samples, family

    def forward(
        self, h: Mapping[str, Tensor], *, sample: bool = False, mask: Any = None
    ) -> MixtureCode:
        means, rest, presence = _stacked(h, mask)
        if self.family == "laplace":
            scales = even_scales(rest)
        else:
            scales = (0.5 * rest.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)).exp()
        seen = presence.unsqueeze(-1)
        z = torch.where(seen, means, 0.0).sum(1) / seen.sum(1).clamp_min(1)
        code = _mixture(z, means, scales, presence, self.family)
        if not sample:
            return code
        wide = code.means.expand(self.samples, *code.means.shape)
        draws = wide + code.scales * noise(wide, self.family)
        z = draws.permute(2, 0, 1, 3).flatten(0, 1)
        return code.replaced(z=z, samples=len(z))


class MixtureOfProducts(nn.Module):
    """The mixture of the products of all subsets of experts (Sutter et al. 2021).

    A row has those subsets of which it has every modality; without any it gets N(0, I). As in the
    authors' code the prior takes part in the product of all modalities alone. The deterministic
    code is the mean of the product of all that a row has, the authors' choice for generation. On
    the training path one component is drawn for each row, and a code from it.
    """

    members: Tensor

    def __init__(self, modalities: int) -> None:
        super().__init__()
        self.register_buffer("members", subset_members(modalities), persistent=False)

    def forward(
        self, h: Mapping[str, Tensor], *, sample: bool = False, mask: Any = None
    ) -> MixtureCode:
        means, logvars, presence = _stacked(h, mask)
        logvars = logvars.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)
        whole = product(means, logvars, presence, presence.all(1, keepdim=True).float())[0]
        available = (presence.unsqueeze(1) | ~self.members).all(2)
        moments = []
        for members, prior in zip(self.members, self.members.all(1).float(), strict=True):
            moments.append(product(means, logvars, members.expand(means.shape[0], -1), prior))
        centres, logs = (torch.stack(parts, 1) for parts in zip(*moments, strict=True))
        code = _mixture(whole, centres, (0.5 * logs).exp(), available)
        if not sample:
            return code
        drawn = code.draw(1)
        return drawn.replaced(z=drawn.z[0], samples=None)


def subset_members(count: int) -> Tensor:
    """All subsets but the empty one, the smaller ones first: bool ``(2^count - 1, count)``."""
    if count > MOST_PRODUCTS:
        raise IsthmusError(
            f"{count} modalities have {2**count - 1} subsets, too many for a mixture of their "
            f"products: pass at most {MOST_PRODUCTS}, or use mvae or mmvae"
        )
    subsets = [s for size in range(1, count + 1) for s in combinations(range(count), size)]
    return torch.stack([F.one_hot(torch.tensor(s), count).sum(0).bool() for s in subsets])


# --- a prior for the mixture -------------------------------------------------------------------


def even_scales(logits: Tensor) -> Tensor:
    """Positive scales over the last axis whose mean is 1."""
    return logits.softmax(-1) * logits.shape[-1] + _LEAST_SCALE


class LaplacePrior(Prior):
    """Independent Laplace latents around 0 with scales of mean 1, all alike unless ``learnt``."""

    logits: Tensor

    def __init__(self, latent_dim: int, *, learnt: bool = False) -> None:
        super().__init__()
        start = torch.zeros(latent_dim)
        if learnt:
            self.logits = nn.Parameter(start)
        else:
            self.register_buffer("logits", start)

    def scales(self) -> Tensor:
        """The mean absolute deviation of each latent, ``(latent,)``."""
        return even_scales(self.logits.float())

    def sample(self, n: int) -> Tensor:
        # Drawn in main memory, so that a seed gives the same codes on every device.
        drawn = noise(torch.empty(n, len(self.logits)), "laplace")
        return drawn.to(self.logits.device) * self.scales()

    def log_prob(self, z: Tensor) -> Tensor:
        scales = self.scales()
        return (-z.abs() / scales - scales.log() - math.log(2.0)).sum(-1)
