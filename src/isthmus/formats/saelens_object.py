"""A model of this library as an object of SAELens: ``isthmus.formats.to_saelens``."""

from typing import Any

import torch

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.formats.saelens import described
from isthmus.formats.writers import taken_apart


@torch.no_grad()
def to_saelens(model: Autoencoder) -> Any:
    """The dictionary or transcoder as a ``sae_lens.SAE``, on the model's device, in float32.

    It is of the class that SAELens has for its rule (a threshold for all becomes one a latent of
    its JumpReLU), and has the same codes and outputs for rows in the user's units: it is what
    SAELens would load of the folder that :func:`~isthmus.formats.write` makes, without the folder.
    Its weights are copies. An :class:`IsthmusError` where SAELens is not installed (``pip install
    sae-lens``) or has no such rule.
    """
    try:
        from sae_lens import SAE
    except ImportError:
        raise IsthmusError(
            "an object of SAELens needs the package 'sae-lens': pip install sae-lens, or write the "
            "folder that it loads (isthmus.formats.write)"
        ) from None
    settings, tensors = described(*taken_apart(model))
    sae = SAE.from_dict({**settings, "device": str(model.device)})
    sae.process_state_dict_for_loading(tensors)
    sae.load_state_dict(tensors)
    return sae.eval()
