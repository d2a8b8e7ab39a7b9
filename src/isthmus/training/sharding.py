"""A sparse dictionary cut by latents: which tensors have a row a latent, and whether it can be."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Gaussian, Term
from isthmus.anatomy.objective import Watch
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary
from isthmus.ranks import Shard

_OTHERS = ("corruption", "target", "prior", "solver")


def width_of(model: Autoencoder) -> int:
    """How many latents a dictionary has."""
    decoder = model.decoder
    assert isinstance(decoder, Dictionary)
    return len(decoder.weight)


def unshardable(model: Autoencoder) -> str | None:
    """Why a model cannot be cut by latents: what is in it that computes with all of them at once.

    None where it can be. A part or term that can says so by ``by_latent``, in its own class.
    """
    if not isinstance(model.decoder, Dictionary):
        return "its decoder is no dictionary of one array"
    if model.stages or len(model.critics) or len(model.parts):
        return "it has stages, critics or further parts"
    for role in _OTHERS:
        if getattr(model, role) is not None:
            return f"it has a {role} of its own"
    if type(model.likelihood) is not Gaussian:
        return f"its likelihood is {type(model.likelihood).__name__}"
    for part in (model.encoder, model.bottleneck, model.decoder):
        for module in part.modules():
            if "by_latent" not in vars(type(module)):
                return f"{type(module).__name__} looks at all latents at once"
    for weighted in model.objective:
        term: Term = weighted.term
        term = term.term if isinstance(term, Watch) else term
        if "by_latent" not in vars(type(term)):
            return f"the term {term.name} looks at all latents at once"
    return None


def check_shardable(model: Autoencoder, ranks: int) -> None:
    """An error for a model that cannot be cut by latents, or not into so many pieces."""
    why = unshardable(model)
    if why is not None:
        raise IsthmusError(f"this model cannot be cut by latents, since {why}: leave out ranks=")
    width = width_of(model)
    if ranks > width:
        raise IsthmusError(
            f"{ranks} ranks are more than the {width} latents: ask for {width} or fewer"
        )


def sliced(model: Autoencoder) -> set[str]:
    """The names in the state of a model of tensors with one row a latent."""
    return {
        f"{prefix}.{name}"
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name in getattr(type(module), "by_latent", None) or ()
    }


@torch.no_grad()
def shard_model(model: Autoencoder, shard: Shard) -> None:
    """Leave the model with the rows of a shard alone, in place; weights that are tied stay so."""
    _replaced(model, lambda name, tensor: shard.rows(tensor))


@torch.no_grad()
def make_whole(model: Autoencoder, tensors: Mapping[str, Tensor]) -> None:
    """Give a model that was cut all rows again, by their names in its state."""
    _replaced(model, lambda name, tensor: tensors[name].to(tensor))


def gathered(
    tensors: Mapping[str, Tensor], names: set[str], shard: Shard
) -> Iterator[tuple[str, Tensor]]:
    """Each tensor whole, by name: of those in ``names`` the rows of all ranks, one by one."""
    for name, tensor in tensors.items():
        if name not in names:
            yield name, tensor
            continue
        sent = tensor.new_zeros((shard.most, *tensor.shape[1:]))
        sent[: len(tensor)] = tensor
        every = shard.gather(sent)
        lengths = [
            shard.width * (rank + 1) // shard.count - shard.width * rank // shard.count
            for rank in range(shard.count)
        ]
        yield name, torch.cat([rows[:n] for rows, n in zip(every, lengths, strict=True)])


def _replaced(model: Autoencoder, make: Callable[[str, Tensor], Tensor]) -> None:
    new: dict[int, Tensor] = {}
    for prefix, module in model.named_modules():
        for name in getattr(type(module), "by_latent", None) or ():
            tensor = getattr(module, name)
            if id(tensor) not in new:
                rows = make(f"{prefix}.{name}", tensor.detach())
                learnt = isinstance(tensor, nn.Parameter)
                new[id(tensor)] = nn.Parameter(rows, tensor.requires_grad) if learnt else rows
            setattr(module, name, new[id(tensor)])
