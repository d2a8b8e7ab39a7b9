"""Attention heads and the latents of dictionaries on what they mix.

The point is the input of attention's output projection, ``layers.1.attention.out:in``: what the
heads mixed, side by side, before it is written to the residual stream (Kissane et al. 2024,
arXiv:2406.17759).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder, evaluating
from isthmus.errors import IsthmusError
from isthmus.language import Decoder, LanguageModel
from isthmus.language.decoder import Attention, rotated


def head_shares(dictionary: Autoencoder | Tensor, heads: int) -> Tensor:
    """How much of each latent belongs to each head, ``(latents, heads)``; rows add up to 1.

    ``|W_d[i, block h]|`` over the sum of these over h (Kissane et al. 2024).
    ``dictionary`` is an autoencoder with one row for each latent, or the rows themselves,
    ``(latents, heads * elements)``. A row of zeros has shares of zero. A width that ``heads`` does
    not divide is an :class:`IsthmusError`.
    """
    rows: Tensor | None
    if isinstance(dictionary, Autoencoder):
        rows = dictionary.atoms()
        if rows is None:
            raise IsthmusError(
                "the autoencoder's decoder is no dictionary of one row for each latent: pass rows "
                "(latents, elements)"
            )
    else:
        rows = dictionary
    if heads < 1 or rows.shape[1] % heads:
        raise IsthmusError(
            f"rows of {rows.shape[1]} elements are not those of {heads} heads side by side: pass "
            "the number of heads of the layer"
        )
    norms = rows.detach().unflatten(1, (heads, -1)).norm(dim=2)
    total = norms.sum(1, keepdim=True)
    return norms / torch.where(total > 0, total, 1.0)


def head_map(attention: Attention, head: int) -> Tensor:
    """What a head writes of what it reads at one place: ``x @ head_map``, ``(width, width)``.

    The product of value and output weights, without the weight of the attention pattern.
    """
    if not 0 <= head < attention.heads:
        raise IsthmusError(f"there is no head {head}: name one from 0 to {attention.heads - 1}")
    value = attention.qkv.weight.chunk(3)[2].chunk(attention.heads)[head]
    out = attention.out.weight.chunk(attention.heads, dim=1)[head]
    return value.T @ out.T


@torch.no_grad()
def attention_pattern(module: Decoder, layer: int, x: Tensor) -> Tensor:
    """The weights of a layer's heads, float64 ``(heads, places, places)``.

    ``x`` ``(places, width)`` is what the layer's attention reads; a row says how much each earlier
    place counts.
    """
    attention = module.get_submodule(f"layers.{layer}.attention")
    assert isinstance(attention, Attention)
    query, key, _ = _parts(attention, x)
    rotation = module.rotation(layer, 0, len(x))
    query, key = (rotated(part[None], rotation)[0].double() for part in (query, key))
    scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    later = torch.ones(len(x), len(x), dtype=torch.bool, device=x.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where the pre-activation of a latent comes from, by direct feature attribution.

    ``by_head`` float64 ``(places, heads, places)`` is what each head brings to each place from
    each source; the sum over heads and sources, and the ``constant``, are the pre-activation.
    """

    by_head: Tensor
    constant: float

    @property
    def by_source(self) -> Tensor:
        """Heads added up, ``(places, places)``."""
        return self.by_head.sum(1)

    @property
    def pre_activations(self) -> Tensor:
        """``(places,)``."""
        return self.by_head.sum((1, 2)) + self.constant


@torch.no_grad()
def direct_attribution(
    model: LanguageModel, layer: int, dictionary: Autoencoder, latent: int, tokens: Tensor
) -> Sources:
    """Which earlier tokens bring what a latent of an attention dictionary reads.

    What the heads mix is linear in their values at fixed weights, so that a pre-activation is a
    sum over heads and source tokens, ``sum_h sum_s A_ts v_s . W_e[i, block h]`` (Kissane et al.
    2024). ``dictionary`` is on ``layers.{layer}.attention.out:in``, ``tokens`` int64
    ``(places,)`` a row without padding. Only for models of this library's own architecture.
    """
    module = model.module
    if not isinstance(module, Decoder):
        raise IsthmusError(
            f"{model.name} is a {type(module).__name__}, whose heads are not known here: use the "
            "resident model"
        )
    readout = dictionary.read_rows()
    if readout is None:
        raise IsthmusError("the encoder is not linear: pass a sparse dictionary")
    rows, bias = readout
    if not 0 <= latent < len(rows):
        raise IsthmusError(f"there is no latent {latent}: name one from 0 to {len(rows) - 1}")
    point = f"layers.{layer}.attention:in"
    with evaluating(module, gradients=True):
        x = Activations(module, point)(tokens[None])[point][0]
    attention = module.get_submodule(f"layers.{layer}.attention")
    assert isinstance(attention, Attention)
    values = _parts(attention, x)[2].double()
    blocks = rows[latent].double().view(attention.heads, -1)
    contributions = torch.einsum("hse,he->hs", values, blocks)
    by_head = attention_pattern(module, layer, x) * contributions[:, None]
    return Sources(by_head.transpose(0, 1), float(bias[latent]))


def _parts(attention: Attention, x: Tensor) -> Tensor:
    """Queries, keys and values, ``(3, heads, places, elements)``, without positions."""
    parts: Tensor = attention.qkv(x)
    return parts.view(len(x), 3, attention.heads, -1).permute(1, 2, 0, 3)
