"""A trained TopK dictionary as a JumpReLU one."""

import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, Source, View
from isthmus.anatomy.drawing import drawing
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, JumpReLUBottleneck, TopK
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.recipes.registry import get_recipe


@torch.no_grad()
def to_jumprelu(model: Autoencoder, X: Array | Source, *, batch_size: int = 1024) -> Autoencoder:
    """The model with thresholds in the place of k (He et al. 2024, Llama Scope, section 3).

    One threshold theta for all is where k latents exceed it on average over the rows of ``X``: the
    k-th largest of all ``h_i |d_i|`` pooled, per row. Latent i is then on where ``h_i`` exceeds
    ``theta / |d_i|`` (``theta`` where k was chosen without regard to the norms). ``X`` is in the
    user's units; some ten thousand rows are plenty, and ``k`` numbers are held for each of them.

    The result is a model of the recipe ``jumprelu``, in evaluation mode, that can be saved. Its
    latents and atoms are the model's own, and where it is trained further decoder rows keep norm 1
    only if they did so before. Anything but a trained TopK dictionary with non-negative codes is an
    :class:`IsthmusError`.
    """
    bottleneck, encoder = model.bottleneck, model.encoder
    if (
        not isinstance(bottleneck, TopK)
        or bottleneck.magnitude
        or not isinstance(encoder, DictionaryEncoder)
    ):
        raise IsthmusError(
            "only a TopK dictionary with non-negative codes becomes JumpReLU: fit topk or "
            "llama-scope"
        )
    decoder = model.part_as("decoder", Dictionary, "the conversion to JumpReLU")
    norms = torch.ones_like(encoder.bias)
    if bottleneck.weigh:
        norms = decoder.weight.norm(dim=1)
    theta = _pooled(model, X, bottleneck.k, norms, batch_size)
    page = get_recipe("jumprelu")
    options, _ = page.parse(
        {
            "latent_dim": bottleneck.width,
            "threshold": theta,
            "subtract_bias": encoder.subtract_bias,
            "unit": decoder.unit,
            "scaling": model.scaler.mode.removesuffix("-norm"),
        }
    )
    with drawing(torch.device("cpu"), 0):
        made = page.build(model.signal, options).to(model.device)
    for part in ("encoder", "decoder", "scaler"):
        getattr(made, part).load_state_dict(getattr(model, part).state_dict())
    thresholds = made.part_as("bottleneck", JumpReLUBottleneck, "the conversion to JumpReLU")
    least = torch.finfo(norms.dtype).tiny
    thresholds.log_threshold.copy_((theta / norms.double().clamp_min(least)).log())
    made.signal, made.reference_rows = model.signal, model.reference_rows
    made.prepared = {0}
    made.config = {
        "recipe": page.name,
        "options": options,
        "training": {},
        "signal": model.signal.to_dict(),
        "data": model.config.get("data"),
    }
    return made.eval()


def _pooled(model: Autoencoder, X: Array | Source, k: int, norms: Tensor, batch_size: int) -> float:
    """A number that exactly ``k`` weighed pre-activations a row exceed, on average over ``X``.

    It lies halfway to the next smaller one; where fewer are positive, all of these exceed it.
    """
    wanted = k * len(X)
    largest = torch.empty(0, device=model.device)
    for batch in model.batches(X, batch_size):
        h: Preactivations = model.encode_view(View(model.scaler(batch.x)))
        weighed = (h.dense() * norms).flatten()
        floor = largest.min() if len(largest) > wanted else 0.0
        largest = torch.cat([largest, weighed[weighed > floor]])
        largest = largest.topk(min(len(largest), wanted + 1), sorted=False).values
    if len(largest) == 0:
        raise IsthmusError("no latent is positive on these rows: pass rows like the training data")
    ordered = largest.double().sort(descending=True).values
    if len(ordered) <= wanted:
        return float(ordered[-1] / 2)
    return float(ordered[wanted - 1] + ordered[wanted]) / 2
