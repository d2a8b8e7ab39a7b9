"""The language model that ships in the package."""

import json
from functools import cache
from importlib.resources import as_file, files

from safetensors.torch import load_file

from isthmus.errors import IsthmusError
from isthmus.language.decoder import Decoder, Shape
from isthmus.language.host import LanguageModel
from isthmus.language.tokenizer import ByteTokenizer
from isthmus.language.weight_fingerprint import fingerprint


@cache
def resident(name: str = "resident") -> LanguageModel:
    """A small transformer trained on English classics and MASC; the default of every example.

    ``name`` "circuits" is a wider one that was taught generated facts, too
    (:mod:`isthmus.language.knowledge`).

    Four blocks of width 192, a context of 256 and 4,096 tokens; its weights are stored in float16
    and computed in float32. How it was trained, and how good it is: docs/resident.md.
    """
    try:
        with as_file(files("isthmus.language") / name) as folder:
            about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "model.safetensors")
            tokenizer = ByteTokenizer.read(folder / "tokenizer.json")
        module = Decoder(Shape(**about["shape"]))
        module.load_state_dict({name: value.float() for name, value in weights.items()})
    except OSError as error:
        raise IsthmusError(
            f"the files of the model {name!r} are not in this installation: install isthmus again"
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
