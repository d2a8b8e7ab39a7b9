"""First-letter absorption: a letter's latents stay silent on words whose own latents say it."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array

from isthmus.dictionary_benchmark.examined import Examined
from isthmus.dictionary_benchmark.ground import Ground
from isthmus.dictionary_benchmark.task_protocol import (
    BenchmarkTask,
    NotMeasurable,
    Outcome,
    TaskMeasure,
    means,
)
from isthmus.evaluation.predictors import converging
from isthmus.evaluation.sparse_codes import union_f1
from isthmus.language import LanguageModel, Tokens

MOST_WORDS = 1200
"""Words that are read, drawn by the seed."""

EXAMPLES = 3
"""Words with their letters that stand before each word."""

TRAIN = 2 / 3
"""Share of the words that probes are fitted to, and latents chosen on."""

KNOWN_F1, LETTERS = 0.6, 10
"""A letter counts where the host's probe has a higher F1 on test words; so many have to."""

RISE, MOST_MAIN = 0.03, 10
"""A further latent is one of a letter's while the F1 rises by more; at most so many."""

SILENT, NEAR, CARRIED = 1e-8, 0.025, 0.4
"""Full absorption: main latents below the first, the cosine and the share of the projection of the
one that takes their place at least the others."""

NEAR_PART, MOST_ABSORBING = 0.1, 3
"""Partial absorption: the least cosine of absorbing latents, and how many of them count."""

STRENGTH = 1e-3
"""Penalty of the probes' squared weights, per word, on standardised rows."""


@dataclass(frozen=True, eq=False)
class Letters:
    """Words with their activations ``x`` ``(words, width)``, and the host's probes of letters.

    ``letter`` ``(words,)`` and ``train`` bool ``(words,)``; ``directions`` are the unit directions
    of the letters that count, and ``right`` bool ``(words,)`` says of which words the probe finds
    the letter.
    """

    x: np.ndarray
    letter: np.ndarray
    train: np.ndarray
    directions: dict[str, np.ndarray]
    right: np.ndarray


class LetterAbsorption(BenchmarkTask):
    """Chanin et al. 2024 (arXiv:2409.14507), as SAEBench has it."""

    name = "absorption"
    title = "First-letter absorption"
    about = (
        "Words that are one token each, behind a few examples of the task. A linear probe of the "
        "host's activations tells the first letter. A letter's main latents are those whose "
        "logistic probe improves by more than 0.03 in F1 with each, on training words. Of test "
        "words that the host's probe gets right, full absorption is the share on which no main "
        "latent fires and one other carries at least 0.4 of the projection on the probe; the "
        "fraction also counts where they fire too little. Both say nothing of a dictionary whose "
        "main latents do not find the letter to begin with: the F1 stands beside them."
    )
    measures = (
        TaskMeasure("absorption_full", False, "share of words that are absorbed in full"),
        TaskMeasure(
            "absorption_fraction", False, "a / (a + M) of what absorbing and main latents carry"
        ),
        TaskMeasure("letter_f1", True, "F1 of a probe of the main latents on test words", "F1"),
        TaskMeasure("main_latents", None, "latents that a letter is split into", "latents"),
    )
    main = ("absorption_fraction", "letter_f1")
    over = "letters"
    version = 1

    def premise(self, ground: Ground, point: str, seed: int) -> None:
        letters(ground, point, seed)

    def run(self, examined: Examined, ground: Ground, seed: int) -> Outcome:
        """Every letter that the host tells."""
        words = letters(ground, examined.point, seed)
        codes = examined.codes(words.x)
        lengths = np.linalg.norm(examined.atoms, axis=1)
        values: dict[str, dict[str, float]] = {one.name: {} for one in self.measures}
        for name, direction in words.directions.items():
            on = words.letter == name
            main, f1 = main_latents(codes, on, words.train)
            projections = examined.atoms @ direction
            cosines = projections / np.where(lengths > 0, lengths, 1.0)
            judged = np.flatnonzero(on & ~words.train & words.right)
            full, part = [], []
            for row in judged.tolist():
                dense = codes[[row]].toarray()[0]
                pi = float(words.x[row] @ direction)
                full.append(is_absorbed(dense, projections, cosines, main, pi))
                part.append(absorbed_fraction(dense, projections, cosines, main, pi))
            values["absorption_full"][name] = float(np.mean(full))
            values["absorption_fraction"][name] = float(np.mean(part))
            values["letter_f1"][name] = f1
            values["main_latents"][name] = float(len(main))
        return Outcome({measure: means(units) for measure, units in values.items()})


def is_absorbed(
    code: np.ndarray, projections: np.ndarray, cosines: np.ndarray, main: np.ndarray, pi: float
) -> bool:
    """Whether one word is absorbed in full.

    ``code`` ``(latents,)`` is the word's, ``projections`` what one unit of each latent adds along
    the probe, ``pi`` the activation's own projection.
    """
    if (code[main] >= SILENT).any() or pi < 0:
        return False
    parts = code * projections
    top = int(parts.argmax())
    return bool(cosines[top] >= NEAR and parts[top] >= CARRIED * pi)


def absorbed_fraction(
    code: np.ndarray, projections: np.ndarray, cosines: np.ndarray, main: np.ndarray, pi: float
) -> float:
    """How much of a letter other latents carry in its main latents' place, in [0, 1].

    0 where the main latents carry all of the projection, or others less than 0.4 of it; else
    ``a / (a + M)``: M what the main latents carry, a what at most three others do, no more than
    what is lacking. Arguments as for :func:`is_absorbed`.
    """
    parts = code * projections
    mine = float(parts[main].sum())
    others = np.where(cosines >= NEAR_PART, parts, 0.0)
    others[main] = 0.0
    most = np.sort(others)[::-1][:MOST_ABSORBING]
    theirs = float(most[most > 0].sum())
    if pi <= 0 or mine >= pi or theirs < CARRIED * pi:
        return 0.0
    if mine <= 0:
        return 1.0
    absorbed = min(theirs, pi - mine)
    return absorbed / (absorbed + mine)


def main_latents(codes: csr_array, on: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, float]:
    """A letter's main latents, best first, and the F1 of their probe on test words.

    Latents are ranked by how much higher their mean is on the letter's training words, in standard
    deviations, and added while the F1 of a balanced logistic probe, on training words, rises.
    """
    mine, rest = codes[np.flatnonzero(train & on)], codes[np.flatnonzero(train & ~on)]
    every = codes[np.flatnonzero(train)]
    mean = np.asarray(every.mean(0)).ravel()
    std = np.sqrt(np.maximum(np.asarray(every.power(2).mean(0)).ravel() - mean**2, 0.0))
    gap = np.asarray(mine.mean(0)).ravel() - np.asarray(rest.mean(0)).ravel()
    ahead = np.where(std > 0, gap / np.where(std > 0, std, 1.0), 0.0)
    order = np.argsort(-ahead, kind="stable")[:MOST_MAIN]
    order = order[ahead[order] > 0]
    columns = codes.tocsc()[:, order].toarray()
    reached, kept, best = 0.0, 0, 0.0
    for number in range(1, columns.shape[1] + 1):
        predicted = _predicted(columns[:, :number], on, train)
        f1 = union_f1(predicted[train], on[train])
        if f1 - reached <= RISE:
            break
        reached, kept = f1, number
        best = union_f1(predicted[~train], on[~train])
    return order[:kept], best


def _predicted(rows: np.ndarray, on: np.ndarray, train: np.ndarray) -> np.ndarray:
    """What a class-weighted logistic probe of the training words says of all, bool."""
    # Slow to import, and only this needs it.
    from sklearn.linear_model import LogisticRegression

    scaled = _standardised(rows, train)
    strength = 1 / (int(train.sum()) * STRENGTH)
    model = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cholesky")
    with converging():
        predicted: np.ndarray = model.fit(scaled[train], on[train]).predict(scaled)
    return predicted


def _standardised(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    mean, std = rows[train].mean(0), rows[train].std(0)
    scaled: np.ndarray = (rows - mean) / np.where(std > 0, std, 1.0)
    return scaled


def letters(ground: Ground, point: str, seed: int) -> Letters:
    """The words, and the host's probes of their letters, the same for all dictionaries."""
    words = ground.once(("letters", point, seed), lambda: _letters(ground, point, seed))
    if words is None or len(words.directions) < LETTERS:
        number = 0 if words is None else len(words.directions)
        raise NotMeasurable(
            f"not measurable on this host: a probe of {point} of {ground.host.name} finds {number} "
            f"first letters of words with an F1 above {KNOWN_F1:g}, and {LETTERS} are needed"
        )
    return words


def _letters(ground: Ground, point: str, seed: int) -> Letters | None:
    words, tokens = prompts(ground.host, seed)
    if len(words) < 2 * LETTERS:
        return None
    store = ground.store(f"letters-{seed}", tokens)
    places = store.where(torch.arange(len(store)))["place"]
    last = torch.nonzero(places == tokens.ids.shape[1] - 1)[:, 0]
    x = store.rows(point, last).numpy().astype(np.float64)
    letter = np.array([word.strip()[0].lower() for word in words])
    rng = np.random.default_rng([seed, 3001])
    train = rng.permutation(len(words)) < round(TRAIN * len(words))
    return read_letters(x, letter, train)


def read_letters(x: np.ndarray, letter: np.ndarray, train: np.ndarray) -> Letters:
    """One multinomial probe of all letters, and which of them it finds."""
    from sklearn.linear_model import LogisticRegression

    scaled = _standardised(x, train)
    strength = 1 / (int(train.sum()) * STRENGTH)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-3)
    with converging():
        model.fit(scaled[train], letter[train])
    predicted = model.predict(scaled)
    std = x[train].std(0)
    weights = model.coef_ / np.where(std > 0, std, 1.0)
    directions = {}
    for name, row in zip(model.classes_, weights, strict=True):
        tested, positive = letter[~train] == name, predicted[~train] == name
        if (tested & positive).any() and union_f1(positive, tested) > KNOWN_F1:
            directions[str(name)] = row / np.linalg.norm(row)
    return Letters(x, letter, train, directions, predicted == letter)


def prompts(host: LanguageModel, seed: int) -> tuple[list[str], Tokens]:
    """Words that are one token each, and rows of tokens that end in them, all of one length."""
    tokenizer = host.tokenizer
    pieces = tokenizer.pieces(list(range(tokenizer.vocabulary)))
    usual = [
        number
        for number, piece in enumerate(pieces)
        if number not in tokenizer.special and _is_word(piece)
    ]
    order = np.random.default_rng([seed, 3000]).permutation(usual)[: MOST_WORDS + EXAMPLES]
    examples, last = order[:EXAMPLES].tolist(), order[EXAMPLES:].tolist()
    before = [] if tokenizer.bos is None else [tokenizer.bos]
    for number in examples:
        letter = pieces[number].strip()[0].upper()
        before += [number, *tokenizer.encode(f" has the first letter: {letter}\n")]
    ids = torch.tensor([[*before, number] for number in last], dtype=torch.int64)
    ids = ids.reshape(len(last), len(before) + 1)
    rows = torch.arange(len(last))
    names = [pieces[number] for number in last]
    mask = torch.ones_like(ids, dtype=torch.bool)
    return names, Tokens(ids, mask, rows, torch.zeros_like(rows), names)


def _is_word(piece: str) -> bool:
    """Letters of the Latin alphabet alone, behind one blank at most, two or more."""
    word = piece.removeprefix(" ")
    return len(word) > 1 and word.isascii() and word.isalpha()
