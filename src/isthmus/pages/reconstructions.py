"""A few inputs beside their reconstructions, and samples from the prior."""

from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Batch, Source
from isthmus.pages.drawn_rows import first_rows, inputs_of
from isthmus.pages.kit.blocks import Binary, packed
from isthmus.pages.latents_from_rows import DRAWN

SHOWN, SHOWN_VECTORS = 12, 4


def gallery(model: Autoencoder, source: Source) -> tuple[dict[str, Any], str] | None:
    """What the page draws in its overview, and the packed block that it lies in.

    None for a model without a decoder, one that rebuilds something else than its input, and for
    signals that cannot be drawn.
    """
    if model.decoder is None or model.target is not None or model.signal.kind not in DRAWN:
        return None
    image = model.signal.kind == "image"
    # Spread over the rows: the first ones often come from one class or one document.
    every = max(1, len(source) // SHOWN)
    rows = first_rows(source, SHOWN * every)[::every][: SHOWN if image else SHOWN_VECTORS]
    inputs = inputs_of(model, rows, source)
    batch = Batch(torch.from_numpy(np.ascontiguousarray(rows)))
    shown = {"input": rows, "rebuilt": np.asarray(model.reconstruct(batch, as_read=True))}
    if model.prior is not None:
        shown["drawn from the prior"] = np.asarray(model.sample(len(rows), seed=0, as_read=True))
    binary = Binary()
    strips = {name: binary.add(inputs.drawn(part)) for name, part in shown.items()}
    return {**inputs.setting(), "count": len(rows), "strips": strips}, packed({}, binary.bytes())
