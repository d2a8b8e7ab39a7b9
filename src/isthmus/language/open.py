"""Open a language model by name."""

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from isthmus.errors import IsthmusError
from isthmus.language.fingerprint import fingerprint
from isthmus.language.host import LanguageModel, Tokenizer


def open_model(spec: str) -> LanguageModel:
    """The language model that a name stands for, in evaluation mode and float32.

    - ``resident``: the one that ships in the package
    - a folder, or a name on the Hugging Face hub: a causal or masked model of ``transformers``
      (needs ``isthmus[lm]``)
    - ``package.module:factory``: a function without arguments that returns a ``LanguageModel``, or
      an ``nn.Module`` with an attribute ``tokenizer`` (also looked for: ``context``, else 256;
      ``causal``, else True; ``unembedding``; ``layers``)

    Raises ``IsthmusError`` where there is no such model.
    """
    if spec == "resident":
        from isthmus.language.resident import resident

        return resident()
    place = Path(spec).expanduser()
    if place.exists() or ":" not in spec:
        from isthmus.language.hub import open_hub

        return open_hub(spec, place if place.is_dir() else None)
    return _made(spec)


def _made(spec: str) -> LanguageModel:
    module, _, name = spec.rpartition(":")
    found: Any = _imported(module, spec)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise IsthmusError(f"{module!r} has no {name!r}: check the name after the colon") from error
    is_factory = callable(found) and not isinstance(found, nn.Module)
    made = found() if is_factory else found
    if isinstance(made, LanguageModel):
        return made
    if not isinstance(made, nn.Module) or not isinstance(
        getattr(made, "tokenizer", None), Tokenizer
    ):
        raise IsthmusError(
            f"{spec!r} gives neither a LanguageModel nor an nn.Module with a tokenizer that has "
            "encode, decode, pieces, vocabulary, bos and special: return one of these"
        )
    tokenizer: Any = made.tokenizer
    return LanguageModel(
        name=spec,
        revision=fingerprint(made),
        module=made.eval(),
        tokenizer=tokenizer,
        context=int(getattr(made, "context", 256)),
        causal=bool(getattr(made, "causal", True)),
        unembedding=getattr(made, "unembedding", None),
        layers=getattr(made, "layers_path", None) or blocks(made),
    )


def _imported(module: str, spec: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path  # console scripts do not look in the current folder
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise IsthmusError(
            f"{spec!r} cannot be imported ({error}): write it as 'package.module:factory', and "
            "run where Python finds the package"
        ) from error
    finally:
        if added:
            sys.path.remove(here)


def blocks(module: nn.Module, number: int | None = None) -> str:
    """Path pattern of a model's blocks: ``model.layers.*``, ``transformer.h.*``.

    They are the longest list of equal modules, or the one with that ``number`` of them; of equal
    ones the outermost.
    """
    lists = [
        (len(part), -path.count("."), path)
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        and len({type(child) for child in part}) == 1
        and any(True for _ in part.parameters())
    ]
    fitting = [entry for entry in lists if number is None or entry[0] == number] or lists
    if not fitting:
        return "*"
    path = max(fitting, key=lambda entry: entry[:2])[2]
    return f"{path}.*" if path else "*"
