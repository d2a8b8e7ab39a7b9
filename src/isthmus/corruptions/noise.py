"""Noise on single elements: Gaussian, masking, salt and pepper, Bernoulli draws."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Look, Part, View
from isthmus.corruptions import arguments as check
from isthmus.errors import IsthmusError
from isthmus.shapes import Float


class GaussianNoise(nn.Module):
    """``x + sigma * noise``, the noise standard normal; ``sigma`` is in the model's units."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = check.at_least("sigma", sigma)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        return View(torch.randn_like(x).mul_(self.sigma).add_(x))


class MaskingNoise(nn.Module):
    """Sets elements to zero, each with probability ``share`` (Vincent et al. 2008, section 2.3).

    The paper draws a fixed number for each example; independent draws have the same expectation
    and cost no sorting. What remains is not rescaled.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = check.share("share", share)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        return View(x * (torch.rand_like(x) >= self.share))


class SaltAndPepper(nn.Module):
    """Sets elements to ``low`` or ``high``, at even odds, each with probability ``share``.

    The two extremes of the value range, as in Vincent et al. (2010).
    """

    def __init__(self, share: float, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.share = check.share("share", share)
        self.low, self.high = low, high

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        # One draw decides both: below share/2 is pepper, between that and share is salt.
        draw = torch.rand_like(x)
        salted = torch.where(draw < self.share, self.high, x)
        return View(torch.where(draw < 0.5 * self.share, self.low, salted))


class Binarise(Part):
    """Draws each element from the Bernoulli distribution whose mean it is, afresh at each call.

    Dynamic binarisation (Salakhutdinov and Murray 2008; Burda et al. 2015). The draw is the data:
    it is also what is to be rebuilt. Elements must lie in [0, 1], which is checked on the sample
    that ``prepare`` sees.
    """

    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Check the data's range before the first step."""
        low, high = float(look.tensor.min()), float(look.tensor.max())
        if low < 0.0 or high > 1.0:
            raise IsthmusError(
                f"Binarise reads elements as probabilities, and the data range from {low:g} to "
                f"{high:g}: scale them to [0, 1] first"
            )

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        drawn = (torch.rand_like(x) < x).to(x.dtype)
        return View(drawn, target=drawn)
