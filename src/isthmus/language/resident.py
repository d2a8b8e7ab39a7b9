"""The language models that ship in the package."""

import json
from functools import cache
from importlib.resources import as_file, files

from safetensors.torch import load_file

from isthmus.errors import IsthmusError, unknown
from isthmus.language.decoder import Decoder, Shape
from isthmus.language.host import LanguageModel
from isthmus.language.tokenizer import ByteTokenizer
from isthmus.language.weight_fingerprint import fingerprint

RESIDENTS = {"resident": "resident", "resident-circuits": "resident_circuits"}
"""The folder of each, by what :func:`isthmus.language.open_model` calls it."""
_SHORT = {"small": "resident", "circuits": "resident-circuits"}


def resident(which: str = "small") -> LanguageModel:
    """A small transformer of the library's own, which ships in the package.

    ``"small"`` (``open_model("resident")``) is every example's default. It was trained on English
    classics and MASC: four blocks of width 192, docs/resident.md. ``"circuits"``
    (``open_model("resident-circuits")``) was taught generated text beside the same English, so that
    what it knows is known: induction, calendars, names with and without facts, two domains,
    spelling (:mod:`isthmus.language.knowledge`); six blocks of width 256. How much of each is in
    it: docs/resident-circuits.md. Both have a context of 256 and the same 4,096 tokens; their
    weights are stored in float16 and computed in float32.

    Raises ``IsthmusError`` for any other name.
    """
    name = _SHORT.get(which, which)
    if name not in RESIDENTS:
        raise unknown("resident model", which, [*_SHORT, *RESIDENTS])
    return _opened(name)


@cache
def _opened(name: str) -> LanguageModel:
    try:
        with as_file(files("isthmus.language")) as language:
            folder = language / RESIDENTS[name]
            about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "model.safetensors")
            tokenizer = ByteTokenizer.read(language / "resident" / "tokenizer.json")
        module = Decoder(Shape(**about["shape"]))
        module.load_state_dict({name: value.float() for name, value in weights.items()})
    except OSError as error:
        raise IsthmusError(
            f"the weights of the model {name!r} are not in this installation: install isthmus again"
        ) from error
    module.eval().requires_grad_(False)
    return LanguageModel(
        name=name,
        revision=fingerprint(module),
        module=module,
        tokenizer=tokenizer,
        context=module.shape.context,
        unembedding=module.embed.weight * module.norm.weight,
    )
