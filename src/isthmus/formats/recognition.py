"""Whose layout a folder or a file has, by the names of its files and the shapes of its tensors."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from isthmus.errors import IsthmusError, unknown
from isthmus.formats import (
    circuit_tracer,
    clt_training,
    crosscoders,
    dictionary_learning,
    gemma_scope,
    gemma_scope_layers,
    goodfire,
    hook_z,
    layer_set,
    llamascopium,
    openai,
    overcomplete,
    qwen_scope,
    saelens,
    sparsify,
    temporal_files,
)
from isthmus.formats.found import Found, Made
from isthmus.formats.location import Location
from isthmus.training.checkpoint import CONFIG, MODEL

Reader = Callable[[Location, Sequence[str]], Found | Made]


@dataclass(frozen=True)
class Format:
    """A layout: its name, whose it is, and who recognises and who reads it."""

    name: str
    title: str
    recognises: Callable[[Location], bool]
    read: Reader


_ALL = (
    ("saelens", "SAELens", saelens.recognises, saelens.read),
    ("sparsify", "sparsify", sparsify.recognises, sparsify.read),
    (
        "clt-training",
        "clt-training (EleutherAI), cross-layer",
        clt_training.recognises,
        clt_training.read,
    ),
    ("llamascopium", "Llama Scope, llamascopium", llamascopium.recognises, llamascopium.read),
    ("gemma-scope", "Gemma Scope", gemma_scope.first_recognises, gemma_scope.read_first),
    (
        "gemma-scope-2-layers",
        "Gemma Scope 2, cross-layer",
        gemma_scope_layers.recognises,
        gemma_scope_layers.read,
    ),
    ("gemma-scope-2", "Gemma Scope 2", gemma_scope.second_recognises, gemma_scope.read_second),
    (
        "circuit-tracer-layers",
        "circuit-tracer, cross-layer",
        layer_set.recognises,
        layer_set.read,
    ),
    ("circuit-tracer", "circuit-tracer, mwhanna", circuit_tracer.recognises, circuit_tracer.read),
    (
        "crosscoders",
        "crosscoders (jkminder, Kissane)",
        crosscoders.recognises,
        crosscoders.read,
    ),
    ("temporal", "temporal", temporal_files.recognises, temporal_files.read),
    ("qwen-scope", "Qwen Scope", qwen_scope.recognises, qwen_scope.read),
    ("hook-z", "hook_z (Kissane, Krzyzanowski)", hook_z.recognises, hook_z.read),
    ("openai", "OpenAI", openai.recognises, openai.read),
    ("goodfire", "Goodfire", goodfire.recognises, goodfire.read),
    ("overcomplete", "overcomplete", overcomplete.recognises, overcomplete.read),
    (
        "dictionary_learning",
        "dictionary_learning, andyrdt",
        dictionary_learning.recognises,
        dictionary_learning.read,
    ),
)
FORMATS = {one[0]: Format(*one) for one in _ALL}
"""All layouts that are read, the more particular ones first."""


def read_at(
    place: Location, asked: str | None = None, ignore: Sequence[str] = ()
) -> tuple[Format, Found | Made]:
    """The layout of what lies there, and what its reader finds; no weight is read yet.

    An error where files of another layout lie beside those that it reads, unless it was ``asked``
    for.
    """
    layout = format_of(place, asked)
    dictionary = layout.read(place, ignore)
    if asked is None:
        check_alone(place, place.used & {*place.tensors}, layout.title)
    return layout, dictionary


def check_alone(place: Location, weights: Iterable[str], title: str) -> None:
    """An error where a folder holds a dictionary besides the one of these files of ``weights``."""
    weights = sorted(weights)
    rest = place.without(weights)
    if place.only is not None or not weights or not rest.tensors:
        return
    for one in FORMATS.values():
        try:
            also = one.title != title and one.recognises(rest)
        except IsthmusError:  # what is no file of tensors, such as the state of an optimiser
            continue
        if also:
            others = ", ".join(sorted(rest.used & {*rest.tensors}) or rest.tensors[:4])
            raise IsthmusError(
                f"{place} holds two dictionaries, one of {title} ({', '.join(weights)}) and one of "
                f"{one.title} ({others}): move one into another folder, or say which by format="
            )


def format_of(place: Location, asked: str | None = None) -> Format:
    """The layout of what lies there, or the one ``asked`` for.

    An error where it is none that is known, with what was found.
    """
    if asked is not None:
        if asked not in FORMATS:
            raise unknown("format", asked, FORMATS)
        return FORMATS[asked]
    for one in FORMATS.values():
        if one.recognises(place):
            return one
    if {CONFIG, MODEL} <= {*place.names} and "recipe" in place.settings(CONFIG):
        raise IsthmusError(
            f"{place} is a run of this library, not another's dictionary: isthmus.load and isthmus "
            "report read the folder"
        )
    inner = _several(place)
    if inner:
        examples = ", ".join(inner[:4]) + (", ..." if len(inner) > 4 else "")
        raise IsthmusError(
            f"{place} holds {len(inner)} folder{'s' * (len(inner) > 1)} and no dictionary of its "
            f"own: name one of them ({examples})"
        )
    names = ", ".join(place.names[:6]) or "no file"
    raise IsthmusError(
        f"{place} is in no layout that is known here (it has {names}): known are "
        f"{', '.join(FORMATS)}; format= names one"
    )


def _several(place: Location) -> list[str]:
    return [] if place.only is not None else place.folders
