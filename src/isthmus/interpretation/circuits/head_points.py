"""Where the attention heads of a language model are, and what each of them writes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus.activations import Activations
from isthmus.activations.points import resolve
from isthmus.anatomy import evaluating
from isthmus.errors import IsthmusError
from isthmus.language import Decoder, LanguageModel
from isthmus.language.calling import call_arguments

At = Literal["last", "mean"]


@dataclass(frozen=True)
class Heads:
    """The heads of a model: the inputs of the output projections, and how many heads each has.

    ``points`` has one for each layer, at which the heads' values lie side by side.
    """

    points: tuple[str, ...]
    count: int

    def block(self, head: int, width: int) -> slice:
        """The elements of a head, of ``width`` of a layer."""
        size = width // self.count
        return slice(head * size, (head + 1) * size)


def heads_of(model: LanguageModel, points: str | None = None, count: int | None = None) -> Heads:
    """The heads of a model.

    points
        A pattern of the inputs of the layers' output projections, such as
        ``transformer.h.*.attn.c_proj:in`` of GPT-2 and ``model.layers.*.self_attn.o_proj:in`` of
        Llama. Not needed for models of this library's own architecture.
    count
        Heads of a layer; None: what the model's ``config.num_attention_heads`` says.

    What is neither given nor known, and a width that the heads do not divide, is an
    :class:`IsthmusError`.
    """
    module = model.module
    if points is None:
        if not isinstance(module, Decoder):
            raise IsthmusError(
                f"where the heads of {model.name!r} are is not known: pass points=, the inputs of "
                "its attention's output projections, such as 'transformer.h.*.attn.c_proj:in'"
            )
        points = "layers.*.attention.out:in"
    if count is None:
        config = getattr(module, "config", None)
        known = module.shape.heads if isinstance(module, Decoder) else None
        count = known or getattr(config, "num_attention_heads", None)
    if not isinstance(count, int) or count < 1:
        raise IsthmusError(f"how many heads {model.name!r} has is not known: pass count=")
    places = resolve(module, points)
    for place in places:
        if place.side != "input":
            raise IsthmusError(
                f"{place.name!r} is an output, in which heads are added up: name the input of the "
                "output projection, with ':in'"
            )
    return Heads(tuple(place.name for place in places), count)


def values_at(model: LanguageModel, heads: Heads, tokens: Tensor) -> dict[str, Tensor]:
    """What the heads mix, side by side: by point ``(prompts, places, heads * elements)``."""
    if tokens.ndim != 2 or not len(tokens):
        raise IsthmusError(
            f"prompts have the shape {tuple(tokens.shape)}: pass (prompts, places), one at least"
        )
    module = model.module
    args, kwargs = call_arguments(module, tokens.to(model.device), None)
    with evaluating(module), torch.no_grad():
        values = Activations(module, list(heads.points))(*args, **kwargs)
    for point, x in values.items():
        if x.ndim != 3 or x.shape[-1] % heads.count:
            raise IsthmusError(
                f"{point!r} has activations of shape {tuple(x.shape)}, which are not those of "
                f"{heads.count} heads side by side: pass the input of the output projection"
            )
    return values


@torch.no_grad()
def head_outputs(
    model: LanguageModel, tokens: Tensor, *, at: At = "last", heads: Heads | None = None
) -> Tensor:
    """What each head writes to the residual stream, float32 ``(prompts, layers, heads, width)``.

    tokens
        int64 ``(prompts, places)`` of one length, without padding; prompts of other lengths go
        through calls of their own.
    at
        "last": at the last place; "mean": the mean over places.
    heads
        See :func:`heads_of`.

    A head's part is the projection of its values alone less that of none, so that biases are left
    out and any linear module will do.
    """
    heads = heads or heads_of(model)
    layers = []
    for point, x in values_at(model, heads, tokens).items():
        z = x[:, -1] if at == "last" else x.mean(1)
        alone = z.new_zeros(heads.count, *z.shape)
        for head in range(heads.count):
            block = heads.block(head, z.shape[1])
            alone[head, :, block] = z[:, block]
        project = _projection(model, point)
        layers.append((project(alone) - project(torch.zeros_like(z))).transpose(0, 1))
    return torch.stack(layers, 1).float().cpu()


def _projection(model: LanguageModel, point: str) -> nn.Module:
    return resolve(model.module, point)[0].module
