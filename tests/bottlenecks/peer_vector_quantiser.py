"""What the package vector-quantize-pytorch makes of the inputs of test_vector_quantiser.py.

``pip install vector-quantize-pytorch`` in an environment of its own, then from this folder
``python peer_vector_quantiser.py`` writes ``vector_quantize_pytorch.json`` anew. The peer's
smoothing of the averages is switched off (``eps=0``): the paper has none.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

ENTRIES, DIM, POSITIONS, ROWS, STEPS = 7, 3, 4, 10, 6
DECAY, COMMITMENT, LR = 0.9, 0.25, 0.5
STORED = Path(__file__).with_name("vector_quantize_pytorch.json")


def inputs():
    """First codebook ``(entries, dim)``; encodings and what comes from above, for each step."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(ENTRIES, DIM)).astype(np.float32)
    values[-1] += 20.0  # never chosen
    x = rng.normal(size=(STEPS, ROWS, POSITIONS, DIM)).astype(np.float32)
    upstream = rng.normal(size=x.shape).astype(np.float32)
    return values, x, upstream


def steps_of_the_peer(**options):
    import vector_quantize_pytorch as peer

    values, x, upstream = inputs()
    quantiser = peer.VectorQuantize(
        DIM, ENTRIES, rotation_trick=False, eps=0.0, commitment_weight=COMMITMENT, **options
    )
    book = quantiser._codebook
    with torch.no_grad():
        book.embed.copy_(torch.from_numpy(values)[None])
        book.embed_avg.copy_(torch.from_numpy(values)[None])
    parameters = list(quantiser.train().parameters())
    optimiser = torch.optim.SGD(parameters, lr=LR) if parameters else None
    steps = []
    for h, above in zip(x, upstream, strict=True):
        h = torch.from_numpy(h).requires_grad_()
        z, indices, loss = quantiser(h)
        ((z * torch.from_numpy(above)).sum() + loss.sum()).backward()
        if optimiser is not None:
            optimiser.step()
            optimiser.zero_grad()
        step = {"grad": h.grad, "values": book.embed[0], "uses": book.cluster_size[0]}
        rounded = {n: np.round(t.detach().double().numpy(), 7).tolist() for n, t in step.items()}
        steps.append({"indices": indices.tolist(), "loss": loss.item(), **rounded})
    return steps


if __name__ == "__main__":
    made = {
        "made_by": f"vector-quantize-pytorch {version('vector-quantize-pytorch')}, "
        f"torch {torch.__version__}",
        "average": steps_of_the_peer(decay=DECAY),
        "gradient": steps_of_the_peer(ema_update=False, learnable_codebook=True),
    }
    STORED.write_text(json.dumps(made) + "\n")
