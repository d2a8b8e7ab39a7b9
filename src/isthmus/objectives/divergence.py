"""How far the posterior is from the prior."""

from torch import Tensor

from isthmus.anatomy import Autoencoder, GaussianCode, Output, Term


def kl_to_standard_normal(code: GaussianCode) -> Tensor:
    """``KL(N(mean, var) || N(0, I))`` per row and dimension, in nats, ``(rows, latent)``.

    Kingma, Welling 2013, appendix B.
    """
    return 0.5 * (code.mean.square() + code.logvar.exp() - 1.0 - code.logvar)


def gaussian(out: Output) -> GaussianCode:
    """The Gaussian code of an output; an :class:`IsthmusError` if it has another kind."""
    return out.code_as(GaussianCode, "this term")


class KL(Term):
    """KL divergence of the Gaussian posterior from the standard normal prior."""

    name = "kl"
    unit = "nats"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return kl_to_standard_normal(gaussian(out)).sum(1)
