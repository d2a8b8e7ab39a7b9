"""Reference triples: stored inputs with their codes and reconstructions, compared at load."""

from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus import notices
from isthmus.anatomy import Autoencoder, Batch, Signal, Tree, tree
from isthmus.errors import IsthmusError

ROWS = 8
_TOLERANCE = 1e-3


def reference_triples(model: Autoencoder, rows: Batch) -> dict[str, Tensor]:
    """Inputs, their code's tensors and, with a decoder, reconstructions, by name.

    The parts of a collection are ``input.part``; masks and what is given stand beside them. Where
    whole numbers are rebuilt, such as tokens, a tie may fall either way: the score is kept instead.
    """
    with notices.tried():  # a few rows say nothing of the data, such as that all images are dim
        return _triples(model, rows.to(torch.device("cpu")))


def _triples(model: Autoencoder, rows: Batch) -> dict[str, Tensor]:
    code = model.encode(rows, code=True)
    triple = {**stored(rows), **{f"code.{k}": v for k, v in code.tensors().items()}}
    leaves = [leaf for _, leaf in tree.leaves(rows.x) if isinstance(leaf, Tensor)]
    whole = any(not leaf.is_floating_point() for leaf in leaves)
    if model.decoder is not None and whole:
        triple["score"] = torch.as_tensor(model.score(rows, kind="error"))
    elif model.decoder is not None:
        triple.update(tree.flattened(model.reconstruct(rows), "recon"))
    return {name: tensor.contiguous().clone() for name, tensor in triple.items()}


def stored(rows: Batch) -> dict[str, Tensor]:
    """A batch as named tensors; :func:`examples` makes it again."""
    tensors = tree.flattened(rows.x, "input")
    tensors.update(tree.flattened(rows.mask, "mask"))
    tensors.update({f"given.{name}": value for name, value in rows.given.items()})
    return tensors


def examples(tensors: Mapping[str, Tensor], signal: Signal) -> Batch:
    """The batch whose tensors were stored."""
    given = {n.removeprefix("given."): t for n, t in tensors.items() if n.startswith("given.")}
    return Batch(_branch(tensors, "input", signal), None, _mask(tensors, signal), given)


def _branch(tensors: Mapping[str, Tensor], name: str, signal: Signal) -> Tree:
    if signal.kind == "collection":
        return {k: _branch(tensors, f"{name}.{k}", part) for k, part in signal.parts.items()}
    if signal.kind != "graph":
        return tensors[name]
    start = f"{name}."
    branch = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    return signal.opaque_class().restored(branch)


def _mask(tensors: Mapping[str, Tensor], signal: Signal) -> Tree:
    if signal.kind != "collection":
        return tensors.get("mask")
    masks = {name: tensors.get(f"mask.{name}") for name in signal.parts}
    return masks if any(mask is not None for mask in masks.values()) else None


def verify(model: Autoencoder, kept: dict[str, Tensor], where: str) -> None:
    """Recompute the triples and compare, to a relative error of 1e-3 per tensor.

    Other processors round differently, so equality is too much to ask; a wrong transpose, scale
    or bias is far outside.
    """
    fresh = reference_triples(model, examples(kept, model.signal))
    if set(fresh) != set(kept):
        raise IsthmusError(
            f"{where} loads as another kind of model than was saved: use the version of isthmus "
            "that wrote it"
        )
    fresh, kept = _ordered(fresh), _ordered(kept)
    for name, tensor in kept.items():
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
