"""The gradient sparse autoencoder: latents are chosen by what they do further on, too."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import (
    Autoencoder,
    Each,
    Look,
    Only,
    Rule,
    Signal,
    SparseCode,
    Step,
    View,
    linear_decoder,
)
from isthmus.anatomy.each import single
from isthmus.bottlenecks import TopK
from isthmus.bottlenecks.dictionary_start import fit_scale, sample_of, start_at_median
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.notices import say
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    Revive,
    SubtractBias,
    UnitRows,
    check_active,
)
from isthmus.recipes.registry import recipe
from isthmus.recipes.sparse.topk import TRAINING


class GradientTopK(TopK):
    """Keeps the k latents of a row with the largest ``z (1 + beta |d . g|)``, rectified.

    ``z`` are the rectified pre-activations, ``d`` a latent's atom and ``g`` the row's gradient, the
    part ``gradient`` of the data, in the model's units. What is kept is z itself. Rows that come
    without gradients keep their largest, which is said.
    """

    def __init__(self, width: int, k: int, dead_after: int, beta: float, gradient: str) -> None:
        super().__init__(width, k, dead_after, fit_scale=True)
        self.beta, self.gradient = beta, gradient

    def forward(
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
        view: View | None = None,
    ) -> SparseCode:
        tree = None if view is None else view.x
        gradient = tree.get(self.gradient) if isinstance(tree, dict) else None
        if self.beta == 0 or gradient is None:
            if self.beta:
                say(
                    "these rows come without gradients, and the latents of each are chosen by "
                    f"size alone: give rows with the part {self.gradient!r} to choose as in "
                    "training"
                )
            return super().forward(h, sample=sample, step=step, model=model)
        assert model is not None
        values, indices = self.chosen(h, gradient, linear_decoder(model).atoms())
        return SparseCode(values, indices, h.width, h if sample else None)

    def chosen(self, h: Preactivations, gradient: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
        """Values and latents ``(rows, k)``, for gradients ``(rows, *shape)``."""
        flat, fixed = gradient.detach().flatten(1), atoms.detach()

        def key(u: Tensor, rows: slice) -> Tensor:
            # In place: two matrices of the size of all pre-activations are enough.
            influence = (flat[rows].to(u.dtype) @ fixed.T.to(u.dtype)).abs_()
            return influence.mul_(self.beta).add_(1.0).mul_(u.clamp_min(0.0))

        values, indices = h.best(self.k, key)
        return torch.relu(values), indices

    def rule(self) -> Rule:
        """That of TopK where gradients do not count; nothing says it where they do."""
        if self.beta:
            raise IsthmusError(
                "latents are chosen by gradients as well as by size, for which other layouts have "
                "no word: train with beta=0, or with topk, for a file that others read"
            )
        return super().rule()

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the decoder's bias at the geometric median of the data, and fit the scale."""
        assert isinstance(model.encoder, Each)
        (read,) = model.encoder.names
        start_at_median(model, look.x[read])
        some = {name: sample_of(part) for name, part in look.x.items()}
        view = View(some)
        code = self(model.encode_view(view), model=model, view=view)
        fit_scale(model, some[read], code)


@recipe(
    "g-sae",
    family="sparse",
    catalogue=58,
    paper="Olmo, Wilson, Forsey, Hepner, Howe, Wingate, Features that make a difference: "
    "leveraging gradients for improved dictionary learning, 2024, arXiv:2411.10397",
    formula="z = ReLU(W_e (x - b) + b_e),  f = z at the k largest of z o (1 + beta |W_d^T g|) with "
    "g = dL/dx,  x^ = W_d f + b,  L_sae = |x - x^|^2 / d + (1/32) |e - e^|^2 / |e|^2",
    claim="Latents that are chosen by their effect on the model's loss beside their size rebuild "
    "activations from which the model loses less, at the same k, and fewer latents are dead.",
    training=TRAINING,
    scaling="global",
    kinds=("collection",),
)
def g_sae(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    beta: Annotated[
        NonNegative,
        Field(
            description="weight of a latent's influence on the loss where latents are chosen, for "
            "gradients whose mean square is 1 (0: by size alone, as topk)"
        ),
    ] = 0.3,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A TopK dictionary that keeps what matters to the network, not what is large alone.

    ``z_i |d_i . g|`` is by how much the loss of the network would change, to first order, without
    what latent i writes: it is added to z where the k latents of a row are chosen, so that
    features that are small but strongly used have latents, too. What is kept is z itself; error and
    AuxK are those of ``topk``.

    The data are a collection of two parts: activations, and the gradient of the loss with respect
    to each of them. A language model gives both in one forward and one backward pass:
    ``lm:resident@layers.1,layers.1:gradient`` (the loss of the next token, summed over the text),
    as training data or with ``isthmus harvest --at``; from any other network pass
    ``{"x": activations, "gradient": gradients}``. The part that is called no gradient, or else the
    first, is read and rebuilt. Rows to be
    encoded need their gradients as well; where a reconstruction takes an activation's place inside
    a running model there are none yet, and latents are chosen by size, which is said.

    Both parts are divided by a factor each, so that an element has a mean square of 1
    (``scaling=global``): the influence ``|d . g|`` of an atom of any direction is then about 1, and
    ``beta`` says how much it counts beside size. The paper's is a number for gradients in units of
    their own, and a loss has none; here it is 0.3, with which most of the features that a readout
    uses were found on planted data (of 0.1, 0.3 and 1). With 0 the model is that of ``topk``, bit
    for bit.

    Each latent's influence differs from row to row, so that no latent can be passed over: two dense
    products choose the latents, in blocks that are never kept, and gradients are those of the k
    latents alone. A step takes 2.3 times that of ``topk`` at 256 -> 4096 on a processor with AMX
    and 1.5 times at 64 -> 512 (``python -m benchmarks.sparse.kind_steps``). Training is as in
    ``topk``.
    """
    from isthmus.activations.points import is_gradient  # it loads the language models

    check_active(latent_dim, k=k)
    if len(signal.parts) != 2:
        raise IsthmusError(
            f"g-sae reads activations and their gradients, and the data have {len(signal.parts)} "
            f"parts ({', '.join(signal.parts)}): pass two, the activations first"
        )
    first, second = signal.parts.items()
    if is_gradient(first[0]) and is_gradient(second[0]):
        raise IsthmusError(
            f"both parts, {first[0]!r} and {second[0]!r}, are gradients: pass activations and "
            "their gradients"
        )
    if is_gradient(first[0]):  # parts that say what they are may stand in either order
        first, second = second, first
    (read, reads), (gradient, gradients) = first, second
    if reads.shape != gradients.shape:
        raise IsthmusError(
            f"the activations {read!r} have the shape {tuple(reads.shape)} and their gradients "
            f"{gradient!r} {tuple(gradients.shape)}: pass one gradient for each element"
        )
    dictionary = Dictionary(latent_dim, reads.shape, unit=unit)
    objective, parts = with_help(MSE() * 1.0, dictionary, revive, auxk_weight, k_aux)
    encoder = DictionaryEncoder(dictionary, subtract_bias=subtract_bias)
    return Autoencoder(
        signal,
        encoder=Each({read: encoder}, merge=single),
        bottleneck=GradientTopK(latent_dim, k, dead_after, beta, gradient),
        decoder=dictionary,
        objective=objective,
        target=Only(read),
        parts=parts,
    )
