"""The BatchTopK sparse autoencoder."""

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import BatchTopK
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Revive,
    SubtractBias,
    UnitRows,
    check_active,
)
from isthmus.recipes.registry import recipe


@recipe(
    "batchtopk",
    family="sparse",
    paper="Bussmann, Leask, Nanda, BatchTopK Sparse Autoencoders, 2024, arXiv:2412.06410",
    formula="z = BatchTopK(W_e (x - b) + b_e) (the k n largest of a batch of n),  x^ = W_d z + b,  "
    "L = |x - x^|^2 / d + (1/32) |e - e^|^2 / |e|^2;  at inference z = u H(u - theta)",
    claim="Letting each example use as many latents as it needs rebuilds better than TopK at the "
    "same average L0.",
    training={
        "steps": 10_000,
        "lr": 1.2e-3,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.9, 0.99]},
    },
    scaling="global",
)
def batchtopk(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A wide dictionary that uses k atoms per example on average, and more where they are needed.

    In training the k n largest activations of a batch of n examples stay. At inference a latent is
    on where it exceeds one threshold for all: the smallest activation kept, averaged over the
    batches of training and saved with the weights. An example's code therefore does not depend on
    what else is in the batch. The number of latents per example is k on average only, and on other
    data than the training's not even that.

    Published: Adam at 3e-4 with betas (0.9, 0.99), batches of 4096, AuxK with 512 latents and
    weight 1/32, a latent dead after five batches, random initialisation with the encoder tied to
    the decoder. Here: four times that rate, as for TopK (docs/benchmarks.md); latents dead after 10
    million rows (at most a tenth of the run);
    the decoder's bias starts at the geometric median of the data, and the encoder scaled so that
    the first reconstruction is best; losses are relative to the
    data's mean square (``scaling=global``); and the threshold is an average over the last 100
    batches or so (at most a twentieth of the run), because those before had other thresholds.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    objective = MSE() * 1.0
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=BatchTopK(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
