"""Continue texts with a language model, one token at a time."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError
from isthmus.language.calling import call_arguments, logits_of, signature_of
from isthmus.language.decoder import Cache, Decoder
from isthmus.language.host import LanguageModel
from isthmus.shapes import Float, Int


def generate(
    model: LanguageModel,
    tokens: Int[Tensor, "rows places"],
    new: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Int[Tensor, "rows all"]:
    """The rows and ``new`` further tokens each, ``(rows, places + new)``.

    Rows have no padding. Each token is drawn from the model's distribution at that temperature
    (0: the likeliest token), of the ``top_k`` likeliest tokens where that is given; the same seed
    gives the same text. The resident model and those of ``transformers`` keep keys and values, so
    that hooks on their modules see the whole prompt first and then one new place a step; others,
    recurrent and state-space models among them, are run on the whole text each time.
    """
    if not model.causal:
        raise IsthmusError(f"{model.name!r} is no causal language model: it cannot continue a text")
    if tokens.ndim != 2 or not tokens.shape[1]:
        raise IsthmusError(
            "there is nothing to continue: give tokens as (rows, places), BOS at the least"
        )
    if new < 0 or temperature < 0 or (top_k is not None and top_k < 1):
        raise IsthmusError(
            f"new={new}, temperature={temperature} and top_k={top_k} do not fit: use new and "
            "temperature of at least 0 and top_k of at least 1"
        )
    if tokens.shape[1] + new > model.context:
        raise IsthmusError(
            f"{tokens.shape[1]} tokens and {new} new ones exceed the {model.context} places of "
            f"{model.name!r}: ask for fewer"
        )
    tokens = tokens.to(model.device)
    draw = torch.Generator(tokens.device).manual_seed(seed)
    step = _Stepper(model.module)
    parts = [tokens]
    with torch.no_grad():
        for _ in range(new):
            logits = step(parts[-1])
            parts.append(_drawn(logits, temperature, top_k, draw))
    return torch.cat(parts, 1)


class _Stepper:
    """Feeds new tokens and returns the logits of the last place, ``(rows, vocabulary)``."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.own = Cache() if isinstance(module, Decoder) else None
        # What keeps another state than keys and values gets the text from its beginning.
        self.hub = (
            callable(getattr(module, "prepare_inputs_for_generation", None))
            and "past_key_values" in signature_of(module).names
        )
        self.kept: Any = None

    def __call__(self, new: Tensor) -> Tensor:
        logits: Tensor
        if self.own is not None:
            logits = self.module(new, cache=self.own)
        elif self.hub:
            out = self.module(new, past_key_values=self.kept, use_cache=True)
            self.kept, logits = out.past_key_values, out.logits
        else:
            self.kept = new if self.kept is None else torch.cat((self.kept, new), 1)
            args, kwargs = call_arguments(self.module, self.kept, None)
            logits = logits_of(self.module(*args, **kwargs))
        return logits[:, -1].float()


def _drawn(
    logits: Float[Tensor, "rows vocabulary"],
    temperature: float,
    top_k: int | None,
    draw: torch.Generator,
) -> Int[Tensor, "rows 1"]:
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    which = None
    if top_k is not None and top_k < logits.shape[1]:
        logits, which = logits.topk(top_k, 1)
    # one number a row through the cumulative distribution; multinomial draws one for each token
    levels = (logits.double() / temperature).softmax(1).cumsum(1)
    at = torch.rand(len(logits), 1, dtype=torch.float64, device=logits.device, generator=draw)
    places = torch.searchsorted(levels, at * levels[:, -1:], right=True)
    places = places.clamp(max=logits.shape[1] - 1)
    return places if which is None else which.gather(1, places)
