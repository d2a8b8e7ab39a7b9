"""Reference triples: stored inputs with their codes and reconstructions, compared at load."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError

ROWS = 8
_TOLERANCE = 1e-3


def reference_triples(model: Autoencoder, rows: Tensor) -> dict[str, Tensor]:
    """Inputs ``(rows, *shape)``, their code's tensors and, with a decoder, reconstructions."""
    code = model.encode(rows, code=True)
    triple = {"input": rows.cpu(), **{f"code.{k}": v for k, v in code.tensors().items()}}
    if model.decoder is not None:
        triple["recon"] = torch.as_tensor(model.reconstruct(rows))
    return {name: tensor.contiguous().clone() for name, tensor in triple.items()}


def verify(model: Autoencoder, stored: dict[str, Tensor], where: str) -> None:
    """Recompute the triples and compare, to a relative error of 1e-3 per tensor.

    Other processors round differently, so equality is too much to ask; a wrong transpose, scale
    or bias is far outside.
    """
    fresh = reference_triples(model, stored["input"])
    if set(fresh) != set(stored):
        raise IsthmusError(
            f"{where} loads as another kind of model than was saved: use the version of isthmus "
            "that wrote it"
        )
    fresh, stored = _ordered(fresh), _ordered(stored)
    for name, tensor in stored.items():
        same = fresh[name].shape == tensor.shape
        gap = (fresh[name].double() - tensor.double()).norm() if same else torch.tensor(1.0)
        if not same or not bool(gap <= _TOLERANCE * (tensor.double().norm() + 1e-6)):
            raise IsthmusError(
                f"{where} does not reproduce its stored {name}: its weights do not belong to this "
                "model, or this version of isthmus computes something else"
            )


def _ordered(triples: dict[str, Tensor]) -> dict[str, Tensor]:
    """A sparse code by ascending latent: processors return the k largest in different orders."""
    if not {"code.values", "code.indices"} <= set(triples):
        return triples
    indices, order = triples["code.indices"].sort(-1)
    values = triples["code.values"].gather(-1, order)
    return {**triples, "code.values": values, "code.indices": indices}
