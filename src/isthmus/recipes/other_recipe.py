"""A trained model as one of another recipe, which is saved and opened as any other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.anatomy.randomness import drawing
from isthmus.recipes.registry import get_recipe


@torch.no_grad()
def as_other(
    name: str,
    signal: Signal,
    options: Mapping[str, Any],
    parts: Mapping[str, nn.Module],
    device: torch.device,
    data: Any = None,
) -> Autoencoder:
    """A model of the recipe ``name`` for ``signal``, with the weights of ``parts`` by their names.

    ``options`` are the recipe's, ``data`` what a run's record says of its data. In evaluation mode.
    """
    page = get_recipe(name)
    parsed, _ = page.parse(options)
    with drawing(torch.device("cpu"), 0):
        model = page.build(signal, parsed).to(device)
    for part, source in parts.items():
        getattr(model, part).load_state_dict(source.state_dict())
    model.signal, model.prepared = signal, {0}
    model.config = {
        "recipe": page.name,
        "options": parsed,
        "training": {},
        "signal": signal.to_dict(),
        "data": data,
    }
    return model.eval()
