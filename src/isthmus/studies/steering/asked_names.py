"""Questions about known and unknown names, as tokens: where the name stands, and what is said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import Activations
from isthmus.interpretation import Steering, spliced
from isthmus.language import Decoder, LanguageModel
from isthmus.language.decoder import rotated, rotations
from isthmus.language.knowledge import Name, Relation
from isthmus.language.knowledge.questions import NOBODY


@dataclass(frozen=True)
class Asked:
    """Questions about names of one kind, all of which are known, or none.

    ``ids`` int64 and ``mask`` bool are ``(questions, places)``, padded behind; ``named`` is True at
    the tokens of the name. ``right`` ``(questions,)`` is the first token of the right answer.
    """

    kind: str
    knows: bool
    ids: Tensor
    mask: Tensor
    named: Tensor
    right: Tensor
    nobody: int

    @property
    def last(self) -> Tensor:
        """The last place of each name, ``(questions,)``."""
        return self.named.shape[1] - 1 - self.named.flip(1).to(torch.int8).argmax(1)

    @property
    def end(self) -> Tensor:
        """The last place of each question, ``(questions,)``."""
        return self.mask.sum(1) - 1

    def said(self, model: LanguageModel, edits: dict[str, Steering] | None = None) -> Tensor:
        """The likeliest first tokens of an answer, ``(questions,)``."""
        with spliced(model, edits or {}):
            logits = model.logits(self.ids, self.mask)
        return logits[torch.arange(len(self.ids)), self.end].argmax(1)

    def right_share(self, model: LanguageModel) -> float:
        """Per cent of the questions that are answered right, by the first token."""
        return 100.0 * float((self.said(model) == self.right).double().mean())

    def refused(self, model: LanguageModel, edits: dict[str, Steering] | None = None) -> float:
        """Per cent of the questions that are answered "nobody knows"."""
        return 100.0 * float((self.said(model, edits) == self.nobody).double().mean())

    def at_name(self, model: LanguageModel, points: Sequence[str]) -> dict[str, Tensor]:
        """Activations at the last token of each name, ``(questions, width)``."""
        activations = Activations(model.module, points)(self.ids)
        rows = torch.arange(len(self.ids))
        return {point: activations[point][rows, self.last] for point in points}


def asked(names: Sequence[Name], relations: Sequence[Relation], model: LanguageModel) -> Asked:
    """All relations asked of each name, all of one kind and known alike."""
    rows = [
        _row(model, relation.asked.format(name=one.text) + " Answer:", one.text)
        for one in names for relation in relations
    ]  # fmt: skip
    long = len(max((row for row, _ in rows), key=len))
    ids, mask = torch.zeros(len(rows), long, dtype=torch.int64), torch.zeros(len(rows), long)
    named = torch.zeros(len(rows), long, dtype=torch.bool)
    for i, (row, where) in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        named[i, where] = True
    answers = [
        one.facts[relation.name] if one.known else NOBODY for one in names for relation in relations
    ]
    right = torch.tensor([model.tokenizer.encode(f" {answer}")[0] for answer in answers])
    nobody = model.tokenizer.encode(f" {NOBODY}")[0]
    return Asked(names[0].kind, names[0].known, ids, mask.bool(), named, right, nobody)


def _row(model: LanguageModel, text: str, name: str) -> tuple[list[int], list[int]]:
    """The tokens of a question, and the places of those that hold letters of the name."""
    tokens = model.tokenizer.encode(text)
    ends = np.cumsum([len(piece) for piece in model.tokenizer.pieces(tokens)])
    begin = text.index(name)
    begins = np.concatenate(([0], ends[:-1]))
    within = np.flatnonzero((ends > begin) & (begins < begin + len(name)))
    first = [] if model.tokenizer.bos is None else [model.tokenizer.bos]
    return first + tokens, [int(i) + len(first) for i in within]


def attention_to_name(
    model: LanguageModel, some: Asked, after: int, edits: dict[str, Steering] | None = None
) -> float:
    """What the last token of a question pays to the name, per cent; the mean over heads.

    The heads are those of the layers behind ``after``; there are none behind the last layer: NaN.
    """
    module = model.module
    assert isinstance(module, Decoder)
    shape, paid = module.shape, []
    points = [f"layers.{i}.attention:in" for i in range(after + 1, shape.layers)]
    if not points:
        return float("nan")
    with spliced(model, edits or {}):
        activations = Activations(module, points)(some.ids)
    rows, places = some.ids.shape
    turned = rotations(places, shape.width // shape.heads, shape.base)
    seen = torch.arange(places) <= some.end[:, None]
    for i, point in enumerate(points, start=after + 1):
        qkv = module.get_submodule(f"layers.{i}.attention.qkv")
        parts = (
            qkv(activations[point]).view(rows, places, 3, shape.heads, -1).permute(2, 0, 3, 1, 4)
        )
        query, key = (rotated(part, turned) for part in parts[:2])
        query = query[torch.arange(rows), :, some.end, None]
        scores = (query * key).sum(-1) / key.shape[-1] ** 0.5
        weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
        paid.append((weights * some.named[:, None]).sum(-1))
    return 100.0 * float(torch.stack(paid).mean())
