"""Texts that the resident model wrote itself: reading matter that needs no data."""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import torch

from isthmus.language.document import Document
from isthmus.language.generate import generate
from isthmus.language.resident import resident

TEMPERATURE = 0.8
_AT_ONCE = 64


def samples(number: int) -> list[Document]:
    """So many texts of one context each (255 tokens), drawn at temperature 0.8.

    The first n of a larger number are the same texts. Those that ship with the model are read;
    beyond these, or with other weights, texts are drawn, which takes about 0.1 s each.
    """
    texts = list(_shipped()[:number])
    texts.extend(written(number, skip=len(texts)))
    return [Document(f"sample {i}", text) for i, text in enumerate(texts)]


def written(number: int, skip: int = 0) -> Iterator[str]:
    """Draw the texts from ``skip`` to ``number``; each 64 have a seed of their own."""
    if skip >= number:
        return
    model = resident()
    begin = torch.full((_AT_ONCE, 1), model.tokenizer.bos or 0)
    for seed in range(skip // _AT_ONCE, -(-number // _AT_ONCE)):
        rows = generate(model, begin, model.context - 1, temperature=TEMPERATURE, seed=seed)
        for i, row in enumerate(rows.tolist(), seed * _AT_ONCE):
            if skip <= i < number:
                yield model.tokenizer.decode(row)


@cache
def _shipped() -> tuple[str, ...]:
    path = files("isthmus.language") / "resident" / "samples.jsonl.xz"
    try:
        lines = lzma.decompress(path.read_bytes()).decode().split("\n")
    except OSError:
        return ()
    if json.loads(lines[0])["revision"] != resident().revision:
        return ()
    return tuple(json.loads(line) for line in lines[1:])
