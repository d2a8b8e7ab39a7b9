"""What is pushed through a model for its activations: tokens of a text, or rows of a source."""

from collections.abc import Sequence

from torch import nn

from isthmus.activations.feed import Feed, Kept
from isthmus.activations.points import Side
from isthmus.activations.provided_feed import ProvidedFeed, Provider
from isthmus.activations.row_feed import Axis, RowFeed
from isthmus.activations.text_feed import TextFeed
from isthmus.activations.token_feed import TokenFeed, tokens_fingerprint
from isthmus.anatomy import Source
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens
from isthmus.language.devices import device_of

__all__ = [
    "Feed", "Kept", "RowFeed", "TextFeed", "TokenFeed", "device_of", "make_feed",
    "tokens_fingerprint",
]  # fmt: skip


def make_feed(
    model: LanguageModel | nn.Module | Provider,
    data: Tokens | Source,
    at: str | Sequence[str],
    side: Side = "output",
    skip_special: bool = True,
    name: str | None = None,
    axis: Axis = None,
) -> TokenFeed | RowFeed:
    """The feed of tokens for a language model or provider, of rows for any other module."""
    if isinstance(model, Provider):
        if not isinstance(data, Tokens):
            raise IsthmusError(
                f"{model.name} reads tokens, and the data are of type {type(data).__name__}: pass "
                "isthmus.language.pack(documents, model.tokenizer)"
            )
        return ProvidedFeed(model, data, at, skip_special)
    if isinstance(model, LanguageModel):
        if not isinstance(data, Tokens):
            raise IsthmusError(
                f"a language model reads tokens, and the data are of type {type(data).__name__}: "
                "pass isthmus.language.pack(documents, model.tokenizer)"
            )
        return TextFeed(model, data, at, side, skip_special)
    if not isinstance(data, Source):
        raise IsthmusError(
            f"a plain module reads rows, and the data are of type {type(data).__name__}: pass "
            "isthmus.data.as_source(data), or the module as a LanguageModel"
        )
    return RowFeed(model, data, at, side, name, axis)
