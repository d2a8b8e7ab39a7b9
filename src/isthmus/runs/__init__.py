"""Everything about a run and its folder: fit, load, save, resume, encode, evaluate, and many.

The names are loaded when they are first used, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.runs.building import build
    from isthmus.runs.data import DataLike, check_fit, kind_of, opened
    from isthmus.runs.encoding import encode
    from isthmus.runs.evaluating import evaluate, held_out_source
    from isthmus.runs.fitting import fit
    from isthmus.runs.folder import write_atomically
    from isthmus.runs.graph import export
    from isthmus.runs.loading import load, save
    from isthmus.runs.many import fit_many, resume_many
    from isthmus.runs.record import described, title_of
    from isthmus.runs.resuming import reopened, resume

_FROM = {
    "DataLike": "data",
    "build": "building",
    "check_fit": "data",
    "described": "record",
    "encode": "encoding",
    "evaluate": "evaluating",
    "export": "graph",
    "fit": "fitting",
    "fit_many": "many",
    "held_out_source": "evaluating",
    "kind_of": "data",
    "load": "loading",
    "opened": "data",
    "reopened": "resuming",
    "resume": "resuming",
    "resume_many": "many",
    "save": "loading",
    "title_of": "record",
    "write_atomically": "folder",
}


def _loaded(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)


if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__ = _loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})


__all__ = [
    "DataLike", "build", "check_fit", "described", "encode", "evaluate", "export", "fit",
    "fit_many", "held_out_source", "kind_of", "load", "opened", "reopened", "resume",
    "resume_many", "save", "title_of", "write_atomically",
]  # fmt: skip
