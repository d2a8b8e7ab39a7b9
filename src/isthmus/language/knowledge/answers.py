"""What a model answers: the option that it finds most likely."""

from collections.abc import Sequence

import numpy as np
import torch

from isthmus.language.host import LanguageModel
from isthmus.language.knowledge.questions import Question


@torch.no_grad()
def option_nats(
    model: LanguageModel, asked: Sequence[Question], batch: int = 128
) -> list[np.ndarray]:
    """Minus the logarithm of each option's probability after the prompt, by question.

    An option of several tokens has the sum of theirs.
    """
    tokenizer = model.tokenizer
    begin = [] if tokenizer.bos is None else [tokenizer.bos]
    rows = [
        (number, [*begin, *tokenizer.encode(question.prompt)], tokenizer.encode(option))
        for number, question in enumerate(asked)
        for option in question.options
    ]
    nats = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]) + len(rows[i][2]))
    for start in range(0, len(rows), batch):
        some = order[start : start + batch]
        longest = max(len(rows[i][1]) + len(rows[i][2]) for i in some)
        ids = torch.zeros(len(some), longest, dtype=torch.int64)
        mask = torch.zeros(len(some), longest, dtype=torch.bool)
        counted = torch.zeros(len(some), longest, dtype=torch.bool)
        for row, i in enumerate(some):
            _, prompt, option = rows[i]
            ids[row, : len(prompt) + len(option)] = torch.tensor(prompt + option)
            mask[row, : len(prompt) + len(option)] = True
            counted[row, len(prompt) : len(prompt) + len(option)] = True
        logits = model.logits(ids, mask)[:, :-1].float().log_softmax(-1)
        each = -logits.gather(2, ids[:, 1:, None].to(logits.device))[:, :, 0].cpu()
        nats[some] = (each * counted[:, 1:]).sum(1).double().numpy()
    whose = np.array([number for number, _, _ in rows])
    return np.split(nats, np.flatnonzero(np.diff(whose)) + 1)


def answered(model: LanguageModel, asked: Sequence[Question]) -> np.ndarray:
    """Whether the most likely option of each question is its answer, bool ``(questions,)``.

    Options that differ in length are compared by the probability of all their tokens.
    """
    all_nats = option_nats(model, asked)
    return np.array(
        [q.options[int(nats.argmin())] == q.answer for q, nats in zip(asked, all_nats, strict=True)]
    )
