"""One encoder, decoder, likelihood, scaler or target for each name of a tree."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy.likelihood import Likelihood
from isthmus.anatomy.part import Part
from isthmus.anatomy.scaler import Scaler
from isthmus.anatomy.signature import ask, function_of, wanted
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

Merge = Callable[[dict[str, Any]], Any]


class Each(Part):
    """A part for each name: ``Each({"image": conv, "text": mlp})``.

    Given a tree, each part gets the branch of its name; given one tensor (a code, say), each part
    gets it whole. The result is a tree of the parts' names, or what ``merge`` makes of it
    (:func:`added`, :func:`side_by_side`, or a function of the dictionary). Branches without a part
    are left out. Each part asks for what it reads as it would alone; ``mask`` and ``given`` are
    the mask of its own branch and all that is given.

    ``Each`` of likelihoods is a likelihood, of scalers a scaler.
    """

    def __new__(cls, parts: Mapping[str, Any] | None = None, merge: Merge | None = None) -> Any:
        if cls is Each and parts:
            if all(isinstance(part, Likelihood) for part in parts.values()):
                return super().__new__(EachLikelihood)
            if all(isinstance(part, Scaler) for part in parts.values()):
                return super().__new__(EachScaler)
        return super().__new__(cls)

    def __init__(self, parts: Mapping[str, nn.Module], merge: Merge | None = None) -> None:
        nn.Module.__init__(self)
        if not parts:
            raise IsthmusError("Each needs one part or more: pass a mapping of names to parts")
        self.each = nn.ModuleDict({key_of(name): part for name, part in parts.items()})
        self.names = tuple(parts)
        self.merge = merge

    def __getitem__(self, name: str) -> Any:
        return self.each[key_of(name)]

    def items(self) -> list[tuple[str, Any]]:
        """Names and parts."""
        return [(name, self[name]) for name in self.names]

    def forward(
        self,
        x: Tree = None,
        *,
        view: Any = None,
        batch: Any = None,
        mask: Any = None,
        given: Any = None,
        step: Any = None,
        model: Any = None,
        code: Any = None,
        sample: bool = False,
        generator: Any = None,
    ) -> Any:
        if isinstance(x, Mapping):
            lacking = [name for name in self.names if name not in x]
            if lacking:
                raise tree_error(lacking, x)
        if x is None and code is not None and any(self._needs_z(name) for name in self.names):
            x = code.z
        results = {}
        for name in self.names:
            results[name] = ask(
                self[name],
                x[name] if isinstance(x, Mapping) else x,
                view=view,
                batch=batch,
                mask=mask.get(name) if isinstance(mask, Mapping) else mask,
                given=given,
                step=step,
                model=model,
                code=code,
                sample=sample,
                generator=generator,
            )
        return results if self.merge is None else self.merge(results)

    def _needs_z(self, name: str) -> bool:
        return wanted(function_of(self[name])).positional


class EachLikelihood(Each, Likelihood):
    """The product of a likelihood for each name: log-probabilities add up."""

    name = "each"

    @property
    def discrete(self) -> bool:  # type: ignore[override]
        """Whether every part is."""
        return all(part.discrete for _, part in self.items())

    def mean(self, params: Tree) -> Tree:
        """The reconstruction of each name."""
        return {name: part.mean(params[name]) for name, part in self.items()}

    def log_prob(self, params: Tree, x: Tree, mask: Tree = None) -> Tensor:
        """log p in nats, of all names together; a name that a row lacks adds nothing."""
        total = None
        for name, part in self.items():
            part_mask = mask.get(name) if isinstance(mask, Mapping) else mask
            more = {} if part_mask is None else {"mask": part_mask}
            value = part.log_prob(params[name], x[name], **more)
            total = value if total is None else total + value
        assert total is not None
        return total

    def sample(self, params: Tree, *, generator: torch.Generator | None = None) -> Tree:
        """One draw of each name."""
        return {n: part.sample(params[n], generator=generator) for n, part in self.items()}

    def check(self, x: Tree, mask: Tree = None) -> None:
        """Refuse values of any name that its likelihood cannot score."""
        for name, part in self.items():
            part.check(x[name], mask.get(name) if isinstance(mask, Mapping) else mask)


class EachScaler(Each, Scaler):
    """A scaler for each name; a name without one stays as it is."""

    mode = "each"  # type: ignore[assignment]

    def fit(self, x: Tree, mask: Tree = None) -> None:
        """Estimate each from its own rows."""
        lacking = [name for name in self.names if name not in x]
        if lacking:
            raise tree_error(lacking, x)
        for name, part in self.items():
            try:
                part.fit(x[name], mask.get(name) if isinstance(mask, Mapping) else mask)
            except IsthmusError as problem:
                raise IsthmusError(f"of the part {name!r}, {problem}") from problem

    def forward(self, x: Tree = None, **_: Any) -> Tree:
        return {name: self[name](x[name]) if name in self.names else x[name] for name in x}

    def inverse(self, x: Tree, of: Tree = None) -> Tree:
        """Back to the user's units, for whichever names there are."""
        return {name: self[name].inverse(x[name]) if name in self.names else x[name] for name in x}


def tree_error(lacking: list[str], x: Mapping[str, Any]) -> IsthmusError:
    """What to say where parts have names that the data lack."""
    return IsthmusError(
        f"the model has a part for {', '.join(map(repr, lacking))}, and the data have "
        f"{', '.join(map(repr, x))}: give both the same names"
    )


def added(found: dict[str, Any]) -> Any:
    """The sum of all, as a merge of :class:`Each`."""
    values = list(found.values())
    return sum(values[1:], start=values[0])


def side_by_side(found: dict[str, Tensor]) -> Tensor:
    """All side by side along the last axis, as a merge of :class:`Each`."""
    return torch.cat(list(found.values()), -1)


def single(found: dict[str, Any]) -> Any:
    """The only one, as a merge of :class:`Each`: of a model that reads one part of its data."""
    (value,) = found.values()
    return value


def sole(part: Any) -> Any:
    """The part itself, where :class:`Each` holds but one; anything else as it is."""
    if isinstance(part, Each) and len(part.names) == 1:
        return part[part.names[0]]
    return part


class Only(nn.Module):
    """One branch of a tree, or some of its branches: a target, or the first step of an encoder."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, x: Tree) -> Tree:
        if not isinstance(x, Mapping):
            raise IsthmusError(
                f"the model wants {', '.join(map(repr, self.names))} of the data by name, and they "
                "are a single array: pass a mapping of names to arrays"
            )
        lacking = [name for name in self.names if name not in x]
        if lacking:
            raise tree_error(lacking, x)
        if len(self.names) == 1:
            return x[self.names[0]]
        return {name: x[name] for name in self.names}

    def __repr__(self) -> str:
        return f"Only({', '.join(map(repr, self.names))})"


def key_of(name: str) -> str:
    """A name as :class:`Each` stores its part by.

    Points of networks are called by dotted paths, and parts may be called like methods of
    :class:`~torch.nn.ModuleDict`: values, items, train, type.
    """
    key = name.replace(".", "·")
    return f"{key}·" if not key or hasattr(nn.ModuleDict, key) else key


def select(mask: Tree, target: Tree) -> Tree:
    """Of a mask those branches that the target has; a mask of a single target as it is."""
    if not isinstance(mask, Mapping):
        return mask
    if isinstance(target, Mapping):
        return {name: mask.get(name) for name in target}
    return None
