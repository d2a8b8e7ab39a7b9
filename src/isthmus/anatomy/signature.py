"""How a part says what it wants: by the keyword-only parameters of its ``forward``.

A part's first argument is the thing it works on: ``x`` of an encoder, ``h`` of a bottleneck, ``z``
of a decoder. What else it needs it names, out of one vocabulary. A decoder that reads the whole
code instead of z takes no positional argument: ``def forward(self, *, code)``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from isthmus.errors import IsthmusError, unknown

WORDS: Mapping[str, str] = {
    "view": "the View that is encoded: x, mask, visible patches, target",
    "batch": "the Batch as the source gave it, in the user's units; None where there is none",
    "mask": "which entries of x are observed; None where all are",
    "given": "labels, conditions and the like, by name",
    "step": "the Step: clock, player; None outside a run",
    "model": "the Autoencoder that the part belongs to",
    "sample": "whether to draw: True on the training path",
    "code": "the Code that is decoded",
    "generator": "a torch.Generator to draw from; None on the training path",
    "look": "the Look at the data before the first step",
    "source": "the Source that is trained on",
    "out": "the Output of the step",
    "optimiser": "the torch.optim.Optimizer of the part's player",
}

ALWAYS = ("batch", "given", "step", "model")
ROLES: Mapping[str, tuple[str, ...]] = {
    "corruption": (*ALWAYS, "mask"),
    "encoder": (*ALWAYS, "mask", "view"),
    "bottleneck": (*ALWAYS, "mask", "view", "sample"),
    "decoder": (*ALWAYS, "mask", "view", "code", "generator"),
    "target": (*ALWAYS, "mask"),
}
"""What each part of the model may ask for."""

ORDINARY = ("mask", "batch")
"""Words that modules written for elsewhere have as an ordinary argument, meaning their own."""

HOOK_ARGUMENTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prepare": (("model", "look"), ()),
    "observe": (("out", "step"), ("model",)),
    "before_update": ((), ("model", "step")),
    "after_update": ((), ("model", "step", "optimiser")),
    "constrain": ((), ("model",)),
    "every_epoch": (("model", "source", "step"), ()),
    "finish": (("model", "source"), ()),
}
"""What each hook is called with, and what it may ask for besides."""


@dataclass(frozen=True)
class Wanted:
    """What a function asks for: its keyword-only parameters, and whether it takes a first one."""

    words: tuple[str, ...]
    positional: bool


_known: WeakKeyDictionary[Callable[..., Any], Wanted] = WeakKeyDictionary()
"""What functions ask for. Weak: a function may hold a model, or data, alive."""


def wanted(function: Callable[..., Any]) -> Wanted:
    """What ``function`` asks for."""
    wants = _known.get(function)
    if wants is None:
        wants = _known[function] = _read(function)
    return wants


def _read(function: Callable[..., Any]) -> Wanted:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of a function without a signature, such as a built-in
        return Wanted((), True)
    words = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    arguments = [p for p in parameters if p.name != "self"]
    positional = any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in arguments
    )
    return Wanted(words, positional)


def function_of(part: Any) -> Callable[..., Any]:
    """The function that says what a part asks for: ``forward`` of a module."""
    if isinstance(part, nn.Module):
        # A module may have had its forward replaced, on itself alone.
        return vars(part).get("forward") or type(part).forward
    if inspect.ismethod(part):
        return part.__func__
    return part if inspect.isroutine(part) else type(part).__call__


def ask(part: Any, *main: Any, **offers: Any) -> Any:
    """Call a part with its first argument and with those of the offers that it asks for."""
    wants = wanted(function_of(part))
    if not wants.words:
        return part(*main)
    keywords = {word: offers[word] for word in wants.words if word in offers}
    return part(*main, **keywords) if wants.positional else part(**keywords)


def check_role(part: Any, role: str) -> None:
    """An error where a part asks for a word that does not exist, or that its role does not have."""
    if isinstance(vars(type(part)).get("reads"), str):
        raise IsthmusError(
            f"{_called(part)}.reads is not looked at: name what the {role} wants as keyword-only "
            f"parameters of its forward ({', '.join(ROLES[role])})"
        )
    function = function_of(part)
    for parameter in _keywords(function):
        if parameter.name in ROLES[role] or _own_option(parameter):
            continue
        article = "an" if role[0] in "aeiou" else "a"
        if parameter.name in WORDS:
            raise IsthmusError(
                f"the {role} {_called(part)} asks for {parameter.name!r}, which {article} {role} "
                f"cannot have: it may ask for {', '.join(ROLES[role])}"
            )
        raise unknown(f"word that the {role} {_called(part)} asks for", parameter.name, ROLES[role])
    _check_ordinary(part, role)


def _check_ordinary(part: Any, role: str) -> None:
    """An error where a word is an ordinary argument, which would never be passed."""
    if type(part).__module__.partition(".")[0] == "torch":
        return
    try:
        called = inspect.signature(part.forward if isinstance(part, nn.Module) else part)
    except (TypeError, ValueError):
        return
    ordinary = [
        p
        for p in called.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    for number, parameter in enumerate(ordinary):
        mandatory = parameter.default is parameter.empty
        if number and (
            mandatory or (parameter.name in ROLES[role] and parameter.name not in ORDINARY)
        ):
            why = (
                "is called with its first argument alone" if mandatory else "is never passed it so"
            )
            raise IsthmusError(
                f"the {role} {_called(part)} has {parameter.name!r} as an ordinary argument and "
                f"{why}: write it behind a *, as in forward({ordinary[0].name}, *, "
                f"{parameter.name})"
            )


def check_hook(function: Any, owner: str) -> None:
    """The same for a method of a part that is called at certain moments.

    Also where it could not be called as it is, or would take one argument for another.
    """
    hook = owner.rpartition(".")[2]
    main, words = HOOK_ARGUMENTS[hook]
    if not callable(function):
        raise IsthmusError(f"{owner} is no method: define it with def, or leave it out")
    several = " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
    may = f", with {several} behind a * where it asks for them" if words else ""
    for parameter in _keywords(function):
        if parameter.name in words:
            continue
        if parameter.name in WORDS:
            raise IsthmusError(
                f"{owner} asks for {parameter.name!r}, which it cannot have: write def "
                f"{hook}({', '.join(('self', *main))}){may}"
            )
        if not _own_option(parameter):
            raise unknown(f"word that {owner} asks for", parameter.name, WORDS)
    keywords = {p.name: None for p in _keywords(function) if p.name in words}
    passed = main if not keywords or wanted(function).positional else ()
    try:
        binding = inspect.signature(function).bind("self", *passed, **keywords)
    except TypeError:
        binding = None
    except ValueError:  # of a function without a signature
        return
    # Each was bound to its own name, so that a swap of two shows.
    swapped = binding is not None and any(
        name != value and name in passed for name, value in binding.arguments.items()
    )
    if binding is None or swapped:
        raise IsthmusError(
            f"{owner} is called with ({', '.join(main)}): write def "
            f"{hook}({', '.join(('self', *main))}){may}"
        )


def needed_words(part: nn.Module) -> tuple[str, ...]:
    """The words that a module asks for and cannot do without."""
    arguments = [p for p in _keywords(function_of(part)) if p.default is p.empty]
    return tuple(p.name for p in arguments if p.name in WORDS)


def _own_option(parameter: inspect.Parameter) -> bool:
    """Whether a part does without it: it has a default, and is no misspelt word."""
    if parameter.default is parameter.empty:
        return False
    return parameter.name in WORDS or not get_close_matches(parameter.name, WORDS, n=1, cutoff=0.75)


def _keywords(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def _called(part: Any) -> str:
    callee = part if inspect.isroutine(part) else type(part)
    return str(getattr(callee, "__name__", callee))
