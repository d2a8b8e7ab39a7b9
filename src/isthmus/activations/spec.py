"""Activations as data by name.

``lm:MODEL@POINT[,POINT...][?text=SPEC&tokens=N&...]``
    a language model's activations, harvested while they are used: :class:`Streamed`
    ``dtype`` and ``device`` are the model's (bf16, cuda), ``max_norm`` the factor of the median
    norm beyond which tokens are left out (or none)
``store:FOLDER@POINT[,POINT...][?order=blocks]``
    activations on disk: :class:`Store`

Several points make a collection, by their names; ``layers.1:gradient`` is the gradient of the next
token's loss with respect to ``layers.1``. In a value ``%26`` is ``&``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from isthmus.activations.harvest import text_tokens
from isthmus.activations.norms import MaxNorm, checked_norm
from isthmus.activations.points import resolve
from isthmus.activations.relocation import found_again
from isthmus.activations.store import Store
from isthmus.activations.streamed import MEMORY, Streamed
from isthmus.anatomy import Source
from isthmus.data import schemes
from isthmus.errors import IsthmusError, unknown
from isthmus.language import LanguageModel, default_text, open_model
from isthmus.storage import is_remote

TOKENS = 200_000
"""Tokens of text that ``lm:`` reads where nothing is said."""

_LM: dict[str, Callable[[str], Any]] = {
    "text": str,
    "tokens": lambda value: None if value == "all" else _whole("tokens", value),
    "context": lambda value: _whole("context", value),
    "batch": lambda value: _whole("batch", value),
    "memory": lambda value: _whole("memory", value),
    "skip_special": lambda value: _flag("skip_special", value),
    "seed": lambda value: _whole("seed", value, least=0),
    "dtype": str,
    "device": str,
    "max_norm": lambda value: norm_named(value),
}
_SAME = {"host_dtype": "dtype", "norm": "max_norm"}
"""Other names of options."""
_NAMES = {
    "resident", "resident-circuits", "gutenberg12", "masc", "training", "held-out", "samples",
    "generated", "circuits-training", "circuits-held-out",
}  # fmt: skip
"""Models and texts that a file of that name does not hide."""
_STORE: dict[str, Callable[[str], Any]] = {"order": str}


def open_lm(rest: str) -> Source:
    """What ``lm:rest`` means."""
    model, points, options = divided("lm", rest, _LM)
    host = _opened(model, options)
    text = absolute(options.get("text") or default_text())
    limit = options.get("tokens", TOKENS)
    tokens = text_tokens(host, text, limit, options.get("context"))
    plain = {key: value for key, value in options.items() if key not in ("text", "tokens")}
    entries = {"text": text, "tokens": "all" if limit is None else limit, **plain}
    spec = f"lm:{absolute(model)}@{','.join(points)}?" + "&".join(
        f"{key}={quote(_written(value), safe='/:,')}" for key, value in entries.items()
    )
    return Streamed(
        host,
        tokens,
        points,
        batch=options.get("batch", 32),
        memory=options.get("memory", MEMORY),
        skip_special=options.get("skip_special", True),
        max_norm=options.get("max_norm", "auto"),
        seed=options.get("seed", 0),
        text=text,
        spec=spec,
    )


def open_store(rest: str) -> Source:
    """What ``store:rest`` means."""
    folder, points, options = divided("store", rest, _STORE)
    remote = is_remote(folder)
    store = Store(folder if remote else Path(folder).expanduser())
    # Row by row, every shard would have to be here at once.
    return store.source(points, options.get("order", "blocks" if remote else "rows"))


def _opened(model: str, options: Mapping[str, Any]) -> LanguageModel:
    return open_model(model, **{k: options[k] for k in ("dtype", "device") if k in options})


def places_named(spec: str) -> tuple[str, tuple[str, ...]] | None:
    """Model or folder of ``lm:`` or ``store:`` data and the points, as they are written there.

    Nothing is opened, and a pattern stays one; None for other data.
    """
    scheme, _, rest = spec.partition(":")
    place, at, listed = rest.partition("?")[0].rpartition("@")
    if scheme not in ("lm", "store") or not at:
        return None
    return place, tuple(point for point in listed.split(",") if point)


def relocated(spec: str, beside: Path) -> str:
    """A spec with the places where its model, text and store are now.

    What is not where it says is looked for around the folder ``beside`` (of a run), which may have
    been moved together with them: see :func:`isthmus.activations.relocation.found_again`.
    """
    scheme, colon, rest = spec.partition(":")
    if not colon or scheme not in ("lm", "store"):
        return found_again(spec, beside)
    whole, question, tail = rest.partition("?")
    place, at, points = whole.rpartition("@")
    pairs = []
    for pair in tail.split("&") if tail else []:
        key, equals, value = pair.partition("=")
        if key == "text":
            value = quote(found_again(unquote(value), beside), safe="/:,")
        pairs.append(key + equals + value)
    return f"{scheme}:{found_again(place, beside)}{at}{points}{question}{'&'.join(pairs)}"


def model_behind(spec: str) -> tuple[LanguageModel, tuple[str, ...]]:
    """The language model of a spec and the points in it; of ``lm:`` no text is needed.

    Raises :class:`IsthmusError` for other data, and for a store whose model is another by now.
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "lm":
        name, points, options = divided("lm", rest, _LM)
        host = _opened(name, options)
        return host, tuple(point.name for point in resolve(host.module, points))
    origin = getattr(open_store(rest), "origin", None) if scheme == "store" else None
    if origin is None or origin.tokens is None:
        raise IsthmusError(
            f"{spec!r} are no activations of a language model: name lm:... or store:... data"
        )
    return origin.open(), origin.points


def divided(
    scheme: str, rest: str, known: Mapping[str, Callable[[str], Any]]
) -> tuple[str, list[str], dict[str, Any]]:
    """Model or folder, points, and options of a spec."""
    whole, _, tail = rest.partition("?")
    place, at, listed = whole.rpartition("@")
    points = [point for point in listed.split(",") if point]
    if not at or not place or not points:
        example = "lm:resident@layers.1" if scheme == "lm" else "store:activations@layers.1"
        raise IsthmusError(
            f"{scheme + ':' + rest!r} does not say where and what: write it as in {example}"
        )
    options: dict[str, Any] = {}
    for pair in tail.split("&") if tail else []:
        key, equals, value = pair.partition("=")
        key = _SAME.get(key.replace("-", "_"), key.replace("-", "_"))
        if not equals or key not in known:
            raise unknown(f"option of {scheme}:", key, known)
        options[key] = known[key](unquote(value))
    return place, points, options


def _whole(name: str, text: str, least: int = 1) -> int:
    try:
        number = int(text.replace("_", ""))
        if number >= least:
            return number
    except ValueError:
        pass
    raise IsthmusError(f"{name}={text!r} is no whole number from {least} on: write one")


def norm_named(text: str | None) -> MaxNorm:
    """``max_norm`` as it is written: a number, ``none`` or ``auto`` (also where nothing is)."""
    plain = "auto" if text is None else text.strip().lower()
    if plain in ("none", "off", "no", "inf"):
        return None
    if plain == "auto":
        return "auto"
    try:
        return checked_norm(float(plain))
    except ValueError:
        return checked_norm(plain)  # type: ignore[arg-type]


def _written(value: Any) -> str:
    if value is None:
        return "none"
    return str(int(value) if isinstance(value, bool) else value)


def _flag(name: str, text: str) -> bool:
    values = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
    if text.lower() not in values:
        raise IsthmusError(f"{name}={text!r} is neither 0 nor 1: write one of them")
    return values[text.lower()]


def absolute(name: str) -> str:
    """A path that is there so that it is found from elsewhere, too; any other name as it is."""
    path, colon, column = name, "", ""
    if name.partition(":")[0] in _NAMES:
        return name
    if not Path(path).expanduser().exists():
        path, colon, column = name.rpartition(":")
        if not (path and Path(path).expanduser().is_file()):
            return name
    return str(Path(path).expanduser().absolute()) + colon + column


schemes.register("lm", open_lm)
schemes.register("store", open_store)
