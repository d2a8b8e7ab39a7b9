"""The JumpReLU sparse autoencoder."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Linear, Output, Signal, SparseCode, Term, ThresholdCode
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, JumpReLUBottleneck
from isthmus.bottlenecks.jumprelu import Step
from isthmus.objectives import SquaredError
from isthmus.recipes.options import LatentDim, NonNegative, Positive
from isthmus.recipes.registry import recipe


class L0(Term):
    """The number of active latents, with a gradient to the thresholds only."""

    name = "l0"
    unit = "active latents"

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code
        assert isinstance(code, (SparseCode, ThresholdCode))
        assert code.gates is not None
        active: Tensor = Step.apply(*code.gates, self.bandwidth)  # type: ignore[no-untyped-call]
        return active.sum(1)


@recipe(
    "jumprelu",
    family="sparse",
    catalogue=163,
    paper="Rajamanoharan, Lieberum, Sonnerat, Conmy, Varma, Kramar, Nanda, Jumping Ahead: "
    "Improving Reconstruction Fidelity with JumpReLU Sparse Autoencoders, 2024, arXiv:2407.14435",
    formula="z = u H(u - theta),  u = W_e x + b_e,  x^ = W_d z + b_d,  "
    "L = |x - x^|^2 + lambda sum_i H(u_i - theta_i)",
    claim="At equal L0, JumpReLU rebuilds as well as or better than Gated and TopK dictionaries, "
    "with no loss of interpretability.",
    training={
        "steps": 100_000,
        "lr": 7e-5,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.0, 0.999]},
        "warmup": 1000,
    },
    scaling="norm",
)
def jumprelu(
    signal: Signal,
    *,
    latent_dim: LatentDim = 4096,
    sparsity: Annotated[
        NonNegative, Field(description="lambda: price of one active latent")
    ] = 1e-3,
    sparsity_steps: Annotated[
        int, Field(gt=0, description="steps over which lambda rises (at most 0.8 of the run)")
    ] = 10_000,
    threshold: Annotated[Positive, Field(description="initial threshold")] = 0.001,
    bandwidth: Annotated[
        Positive, Field(description="width eps of the kernel that estimates gradients")
    ] = 0.001,
    subtract_bias: Annotated[
        bool, Field(description="subtract the decoder's bias before encoding")
    ] = True,
) -> Autoencoder:
    """A dictionary whose latents each learn the threshold below which they are off.

    The L0 penalty itself is trained, not a proxy: a kernel of width eps around the threshold
    estimates how the expected loss changes with it. Gradients of the penalty reach the thresholds
    alone. Inputs are scaled to a mean squared norm of 1 (``scaling=norm``), on which threshold,
    bandwidth and lambda depend; decoder rows keep norm 1.

    Published: threshold and bandwidth 0.001, Adam with beta1 = 0 at 7e-5 after 1000 steps of
    warm-up, lambda rising over 10,000 steps, batches of 4096; lambda is swept. With few steps a
    bandwidth of 0.001 gives the thresholds hardly any gradient: widen it.
    """
    dictionary = Dictionary(latent_dim, signal.shape)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=JumpReLUBottleneck(latent_dim, threshold, bandwidth),
        decoder=dictionary,
        objective=SquaredError() + Linear(0.0, sparsity, sparsity_steps) * L0(bandwidth),
    )
