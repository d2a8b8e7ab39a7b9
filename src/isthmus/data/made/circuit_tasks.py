"""Small tasks for small language models, with corrupted prompts: what circuits are looked for in.

Each prompt has a twin of the same length in which what the answer follows from is missing: the
first occurrence of the last word (Olsson et al. 2022, arXiv:2209.11895), the year (Hanna, Liu,
Variengien 2023, arXiv:2305.00586), the name that is there twice (Wang et al. 2022,
arXiv:2211.00593).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.data.made.words import BOS, Words
from isthmus.errors import unknown

STRING, LETTERS, REPEATS = 6, 16, 4
"""Words of a string of induction, words that there are, and repetitions in a lesson."""
YEARS, NOUNS = 20, 12
NAMES, ROOMS = 16, 12
UNTAUGHT = -100
"""The target at places where nothing is to be learnt; PyTorch's cross-entropy leaves it out."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of one length, their corrupted twins, and which next words are right and wrong.

    ``tokens`` and ``corrupted`` are int64 ``(prompts, places)``, ``right`` and ``wrong`` bool
    ``(prompts, vocabulary)``.
    """

    tokens: Tensor
    corrupted: Tensor
    right: Tensor
    wrong: Tensor


Lesson = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """A task by name.

    words
        Its vocabulary; token 0 begins each row.
    prompts
        ``prompts(count, rng)`` draws prompts independently.
    lesson
        ``lesson(count, rng)`` draws rows to learn from: tokens, and at each place the next token,
        or :data:`UNTAUGHT`; both int64 ``(count, places)``. They are prompts, taught at their last
        place by one of the right words; those of induction go on with other words of the string
        and what follows them.
    """

    name: str
    words: Words
    prompts: Callable[[int, np.random.Generator], Prompts]
    lesson: Callable[[int, np.random.Generator], Lesson]


def circuit_task(name: str) -> Task:
    """The task "induction", "greater-than" or "copy-name".

    induction
        Six different words, then one of them: the word that followed it before is next. Corrupted:
        the last word is new.
    greater-than
        ``NOUN lasted from YEAR to``: any later year is next. Corrupted: the first year of all, as
        in the paper.
    copy-name
        ``NAME and NAME at ROOM , NAME gives to``: the name that is there once is next, where one
        of the first two is there again. Corrupted: the third name is another one.
    """
    if name not in _TASKS:
        raise unknown("task", name, _TASKS)
    return _TASKS[name]


def _distinct(rows: int, count: int, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``count`` different words for each row, in any order."""
    order = rng.random((rows, len(among))).argsort(1)[:, :count]
    return np.asarray(among[order])


def _prompts(
    tokens: np.ndarray, corrupted: np.ndarray, right: np.ndarray, wrong: np.ndarray
) -> Prompts:
    return Prompts(*(torch.from_numpy(part) for part in (tokens, corrupted, right, wrong)))


def _induction(words: Words) -> Callable[[int, np.random.Generator], Prompts]:
    letters = words.numbers("w")

    def draw(count: int, rng: np.random.Generator) -> Prompts:
        drawn = _distinct(count, STRING + 1, letters, rng)
        string, new = drawn[:, :STRING], drawn[:, STRING:]
        rows, at = np.arange(count), rng.integers(0, STRING - 1, count)
        begin = np.full((count, 1), BOS)
        tokens = np.hstack([begin, string, string[rows, at][:, None]])
        right = np.zeros((count, words.vocabulary), bool)
        right[rows, string[rows, at + 1]] = True
        wrong = np.zeros_like(right)
        wrong[:, letters] = True
        return _prompts(tokens, np.hstack([begin, string, new]), right, wrong & ~right)

    return draw


def _induction_lesson(words: Words) -> Callable[[int, np.random.Generator], Lesson]:
    letters = words.numbers("w")

    def teach(count: int, rng: np.random.Generator) -> Lesson:
        string = _distinct(count, STRING, letters, rng)
        at = rng.integers(0, STRING - 1, (count, REPEATS))
        again, follows = (np.take_along_axis(string, at + i, 1) for i in (0, 1))
        pairs = np.stack([again, follows], 2).reshape(count, -1)
        tokens = np.hstack([np.full((count, 1), BOS), string, pairs[:, :-1]])
        target = np.full_like(tokens, UNTAUGHT)
        target[:, STRING + 1 :: 2] = follows
        return torch.from_numpy(tokens), torch.from_numpy(target)

    return teach


def _taught(
    draw: Callable[[int, np.random.Generator], Prompts],
) -> Callable[[int, np.random.Generator], Lesson]:
    def teach(count: int, rng: np.random.Generator) -> Lesson:
        prompts = draw(count, rng)
        chance = torch.from_numpy(rng.random(tuple(prompts.right.shape)))
        target = torch.full_like(prompts.tokens, UNTAUGHT)
        target[:, -1] = torch.where(prompts.right, chance, -1.0).argmax(1)
        return prompts.tokens, target

    return teach


def _greater_than(words: Words, lowest: int) -> Callable[[int, np.random.Generator], Prompts]:
    years, nouns = words.numbers("year-"), words.numbers("noun-")
    frame = {word: words.encode(word)[0] for word in ("lasted", "from", "to")}

    def draw(count: int, rng: np.random.Generator) -> Prompts:
        year = rng.integers(lowest, YEARS - 1, count)
        tokens = np.full((count, 6), BOS)
        tokens[:, 1] = rng.choice(nouns, count)
        tokens[:, [2, 3, 5]] = [frame["lasted"], frame["from"], frame["to"]]
        tokens[:, 4] = years[year]
        corrupted = tokens.copy()
        corrupted[:, 4] = years[0]
        right = np.zeros((count, words.vocabulary), bool)
        right[:, years] = np.arange(YEARS) > year[:, None]
        wrong = np.zeros_like(right)
        wrong[:, years] = ~right[:, years]
        return _prompts(tokens, corrupted, right, wrong)

    return draw


def _copy_name(words: Words) -> Callable[[int, np.random.Generator], Prompts]:
    names, rooms = words.numbers("name-"), words.numbers("room-")
    frame = {word: words.encode(word)[0] for word in ("and", "at", ",", "gives", "to")}

    def draw(count: int, rng: np.random.Generator) -> Prompts:
        drawn = _distinct(count, 3, names, rng)
        again = rng.integers(0, 2, count)
        rows = np.arange(count)
        tokens = np.full((count, 10), BOS)
        tokens[:, [1, 3]] = drawn[:, :2]
        tokens[:, [2, 4, 6, 8, 9]] = [frame[word] for word in ("and", "at", ",", "gives", "to")]
        tokens[:, 5] = rng.choice(rooms, count)
        tokens[:, 7] = drawn[rows, again]
        corrupted = tokens.copy()
        corrupted[:, 7] = drawn[:, 2]
        right, wrong = (np.zeros((count, words.vocabulary), bool) for _ in range(2))
        right[rows, drawn[rows, 1 - again]] = True
        wrong[rows, drawn[rows, again]] = True
        return _prompts(tokens, corrupted, right, wrong)

    return draw


def _tasks() -> dict[str, Task]:
    letters = Words([f"w{i}" for i in range(LETTERS)])
    numbers = (range(YEARS), range(NOUNS), range(NAMES), range(ROOMS))
    years, nouns, names, rooms = (
        [f"{kind}-{i:02d}" for i in count]
        for kind, count in zip(("year", "noun", "name", "room"), numbers, strict=True)
    )
    dated = Words([*years, *nouns, "lasted", "from", "to"])
    named = Words([*names, *rooms, "and", "at", ",", "gives", "to"])
    copying = _copy_name(named)
    tasks = (
        Task("induction", letters, _induction(letters), _induction_lesson(letters)),
        # The corrupted prompts' year is part of the language, too.
        Task("greater-than", dated, _greater_than(dated, 1), _taught(_greater_than(dated, 0))),
        Task("copy-name", named, copying, _taught(copying)),
    )
    return {task.name: task for task in tasks}


_TASKS = _tasks()
