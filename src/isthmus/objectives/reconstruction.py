"""How far the reconstruction is from the target."""

from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, Term


class MSE(Term):
    """Squared error, averaged over the elements of each example (those observed, of all parts)."""

    name = "mse"
    unit = "squared error per element, in the model's units"
    by_latent = ()

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return out.squared_error() / out.elements()


class SquaredError(Term):
    """Squared error, summed over the elements of each example."""

    name = "squared_error"
    unit = "squared error per example, in the model's units"
    by_latent = ()

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return out.squared_error()


class NegativeLogLikelihood(Term):
    """``-log p(x | z)`` of what is observed, averaged over the draws of z."""

    name = "nll"
    unit = "nats"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        seen = {} if out.mask is None else {"mask": out.mask}
        nll = -model.likelihood.log_prob(out.need_params(), out.target, **seen)
        return nll if out.code.samples is None else nll.mean(0)
