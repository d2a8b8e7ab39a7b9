"""Dictionaries by the names of their folders, with the host and the point that they belong to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus import notices, runs
from isthmus.activations.spec import model_behind, places_named, relocated
from isthmus.anatomy import Autoencoder
from isthmus.dictionary_benchmark.examined import Examined
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import decoder_rows
from isthmus.formats import from_pretrained
from isthmus.interpretation.encoding import parts_read
from isthmus.interpretation.splice import one_point
from isthmus.language import LanguageModel, open_model
from isthmus.training.checkpoint import CONFIG, read_config

Dictionaries = Sequence[str | Path] | Mapping[str, Autoencoder | str | Path]
"""Folders of runs, or what :func:`isthmus.from_pretrained` reads; or these, or models, by name."""


def open_dictionaries(
    dictionaries: Dictionaries, host: str | LanguageModel | None, at: str | None
) -> tuple[LanguageModel, list[Examined]]:
    """All dictionaries with the one host that they belong to.

    ``host`` and ``at`` (a point) are for those that do not say it themselves; a host that is given
    is taken for all. Dictionaries of several hosts, of other widths than their point's, and models
    that are no dictionary of one point are an :class:`IsthmusError`.
    """
    named = _named(dictionaries)
    given = open_model(host) if isinstance(host, str) else host
    opened: list[Examined] = []
    common = given
    for name, one in named.items():
        model, its_host, point = _opened(one, look=given is None or at is None)
        its_host = given or its_host
        where = at or point
        if its_host is None or where is None:
            lacking = "--host and --at" if its_host is None and where is None else "--at"
            lacking = "--host" if its_host is None and where is not None else lacking
            raise IsthmusError(
                f"{name} does not say which activations it reads: name them with {lacking}"
            )
        if common is not None and (its_host.name, its_host.revision) != (
            common.name,
            common.revision,
        ):
            raise IsthmusError(
                f"{name} belongs to {its_host.name} and others to {common.name}: compare "
                "dictionaries of one host, or name it with --host"
            )
        common = its_host
        point_name = one_point(its_host.module, where).name
        if point is not None and one_point(its_host.module, point).name != point_name:
            raise IsthmusError(
                f"{name} says that it reads {point}, and --at {point_name}: leave --at out"
            )
        opened.append(Examined(name, model, point_name))
    assert common is not None
    for examined in opened:
        _check(examined)
    return common, opened


def _each_once(dictionaries: Sequence[str | Path]) -> list[str | Path]:
    """Without those that are one folder under another name."""
    places: dict[Path, str | Path] = {}
    for one in dictionaries:
        place = Path(one).expanduser().resolve()
        if place in places:
            notices.say(f"{one} is {places[place]} again: it is measured once")
        else:
            places[place] = one
    return list(places.values())


def _named(dictionaries: Dictionaries) -> dict[str, Autoencoder | str | Path]:
    if isinstance(dictionaries, (str, Path)):
        raise IsthmusError("one name was given where a list is wanted: write [name]")
    if isinstance(dictionaries, Mapping):
        named = {str(name): one for name, one in dictionaries.items()}
    else:
        dictionaries = _each_once(dictionaries)
        short = [str(one).rstrip("/").rpartition("/")[2] for one in dictionaries]
        names = [
            str(one) if short.count(name) > 1 else name
            for name, one in zip(short, dictionaries, strict=True)
        ]
        named = dict(zip(names, dictionaries, strict=True))
    if not named:
        raise IsthmusError("no dictionary was named: give the folder of a run")
    return named


def _opened(
    one: Autoencoder | str | Path, look: bool
) -> tuple[Autoencoder, LanguageModel | None, str | None]:
    """The model, and what it says of its host and point where that is to be looked at."""
    if isinstance(one, Autoencoder):
        return one, None, None
    folder = Path(one).expanduser()
    if (folder / CONFIG).is_file() and "data" in read_config(folder):
        model = runs.load(folder)
        spec = (read_config(folder).get("data") or {}).get("spec")
        if spec is not None and spec.startswith(("lm:", "store:")):
            if not look:
                return model, None, _point_in(spec)
            host, points = model_behind(relocated(spec, folder))
            return model, host, points[0] if len(points) == 1 else None
    else:
        model = from_pretrained(str(one))
    return model, *_published(model.config.get("published") or {}, look)


def _point_in(spec: str) -> str | None:
    """The one point that a spec names, without opening its model; None where it names several."""
    _, points = places_named(spec) or ("", ())
    return points[0] if len(points) == 1 and "*" not in points[0] else None


def _published(record: Mapping[str, Any], look: bool) -> tuple[LanguageModel | None, str | None]:
    """Host and point as the file of a published dictionary has them."""
    module, name = record.get("module"), record.get("model_name")
    point = None if module is None else f"{module}:in" if record.get("side") == "in" else module
    return (open_model(name) if look and name else None), point


def _check(examined: Examined) -> None:
    model, name = examined.model, examined.name
    if parts_read(model) or model.signal.kind != "vector":
        raise IsthmusError(
            f"{name} does not rebuild the activations of one point, which is what is measured "
            "here: name dictionaries of one point, no transcoder or crosscoder"
        )
    if model.scaler_of("written").by_row:
        raise IsthmusError(
            f"{name} scales each row by itself, so that its latents have no fixed atoms, which "
            "several tasks need: name dictionaries without scaling=rows"
        )
    decoder_rows(model)
