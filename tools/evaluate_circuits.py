"""Measure what the model resident-circuits can show, and write docs/resident-circuits.md.

    python tools/evaluate_circuits.py -o docs/resident-circuits.md

Needs ISTHMUS_DATA; takes some minutes on one core. Everything stands beside chance, and beside the
small resident model where that can be asked the same.
"""

import argparse
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from evaluate_resident import baselines, by_model, gain_over, summary, wrapped

from isthmus.interpretation.controls import (
    circle,
    copy_losses,
    head_attention,
    read_out,
    repeated_tokens,
    states,
)
from isthmus.language import LanguageModel, open_model, resident
from isthmus.language.corpus import held_out_text
from isthmus.language.knowledge import (
    DAYS,
    DOMAINS,
    KINDS,
    MONTHS,
    answered,
    domains,
    generated_text,
    names,
    option_nats,
    questions,
    steps,
)
from isthmus.language.knowledge.questions import NOBODY
from isthmus.language.knowledge.spelling import WORDS

FOLDER = files("isthmus.language") / "resident_circuits"
CIRCLES = {"day": DAYS, "month": MONTHS}
REPEATED_ROWS = 32
KNOWN = 0.8
"""Share of right answers that calls a kind of question known, at the low end of its interval."""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --- English -------------------------------------------------------------------------------------


def english(models: dict[str, LanguageModel]) -> tuple[str, str, int]:
    """A table of losses on held-out English, what the last of the models gains, and how many."""
    held = held_out_text()
    nats = {f"**{name}**": by_model(model, held)[0] for name, model in models.items()}
    found = baselines(held) | nats
    rows = []
    for name, each in found.items():
        r = summary(each, held)
        rows.append((name, f"{r['nats']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}",
                     f"{r['books']:.3f}", f"{r['masc']:.3f}"))  # fmt: skip
    small, wide = list(nats.values())
    text = table(("", "nats per token", "95 %", "books", "MASC"), rows)
    return text, gain_over(small, wide), sum(map(len, wide))


# --- induction -----------------------------------------------------------------------------------


def induction(models: dict[str, LanguageModel]) -> tuple[str, str]:
    """Tables of the losses on copies, and of the heads that look where induction looks."""
    rows = []
    for name, model in models.items():
        ids = repeated_tokens(model, REPEATED_ROWS)
        told = generated_text(4000, seed=1)
        lists = [one.text for one in told if one.text.count(". ") and _is_list(one.text)][:64]
        random = [float(part.mean()) for part in copy_losses(model, ids)]
        words = list_losses(model, lists)
        rows.append((name, *(f"{v:.2f}" for v in (*random, *words))))
    model = models["resident-circuits"]
    ids = repeated_tokens(model, REPEATED_ROWS)
    seen = head_attention(model, ids)
    heads = [
        (str(layer), *(f"{v:.2f}" for v in scores.tolist()),
         f"{seen['previous'][layer].max():.2f} (head {int(seen['previous'][layer].argmax())})")
        for layer, scores in enumerate(seen["induction"])
    ]  # fmt: skip
    head = ("layer", *(f"head {i}" for i in range(model.module.shape.heads)), "previous token")
    losses = table(("", "random tokens, first", "second", "new lists, first", "second"), rows)
    return losses, table(head, heads) + f"\n\nAttention spread evenly: {seen['chance']:.3f}."


def _is_list(text: str) -> bool:
    parts = text.removesuffix(".").split(". ")
    return len(set(parts)) == 1


def list_losses(model: LanguageModel, lists: list[str]) -> tuple[float, float]:
    """Nats per token of the first and the second copy of lists, their first two tokens left out."""
    found: tuple[list[float], list[float]] = ([], [])
    for text in lists:
        once = text.split(". ")[0]
        tokens = model.tokenizer.encode(f"{once}. {once}")[: model.context - 1]
        edge = len(model.tokenizer.encode(f"{once}."))
        if len(tokens) < edge + 4:
            continue
        row = torch.tensor([[model.tokenizer.bos, *tokens]])
        nats = -model.logits(row)[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
        found[0].append(float(nats[2:edge].mean()))
        found[1].append(float(nats[edge + 2 :].mean()))
    return float(np.mean(found[0])), float(np.mean(found[1]))


# --- what it knows -------------------------------------------------------------------------------

KINDS_ASKED = (
    ("fact", True, "facts of names, in sentences that were told of them"),
    ("withheld", False, "facts of names, in sentences told of other names only"),
    ("herbs", True, "facts of herbs"),
    ("ships", True, "facts of ships"),
    ("day", True, "so many days after or before a day"),
    ("day", False, "days, steps that were held out"),
    ("month", True, "so many months after or before a month"),
    ("month", False, "months, steps that were held out"),
    ("sum", True, "sums of two numbers to nine"),
    ("sum", False, "sums that were held out"),
    ("letter", True, "first letters of words"),
    ("letter", False, "first letters of words that were held out"),
    ("pronoun", True, "she or he, from a first name's ending"),
    ("pronoun", False, "she or he, of names that no text holds"),
)


def knowledge(models: dict[str, LanguageModel]) -> tuple[str, str]:
    """Accuracy of every kind of question beside chance, and in a sentence which are answered."""
    rows = []
    sorts: dict[str, list[str]] = {"known": [], "known in part": [], "not known": []}
    for kind, seen, title in KINDS_ASKED:
        asked = [q for q in questions(kind) if q.seen == seen]
        answers = [q.answer for q in asked]
        often = max(answers.count(one) for one in set(answers)) / len(asked)
        most = max(often, float(np.mean([1 / len(q.options) for q in asked])))
        right = [answered(model, asked) for model in models.values()]
        rows.append((title, str(len(asked)), *map(with_interval, right), f"{most:.2f}"))
        low = interval(right[-1])[0]
        known = "known" if low > KNOWN else "known in part" if low > most else "not known"
        sorts[known].append(title)
    said = [
        f"**{sort.capitalize()}**: {'; '.join(some) or 'none'}." for sort, some in sorts.items()
    ]
    return table(("question", "asked", *models, "most frequent"), rows), "\n\n".join(said)


def interval(right: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    share, number, z = right.mean(), len(right), 1.96
    middle = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2)) / (1 + z**2 / number)
    return max(0.0, middle - half), min(1.0, middle + half)


def with_interval(right: np.ndarray) -> str:
    low, high = interval(right)
    return f"{right.mean():.2f} ({low:.2f} to {high:.2f})"


def nobody(model: LanguageModel) -> str:
    """What follows the question about a name: its answer, or that nobody knows."""
    asked = questions("known")
    nats = option_nats(model, asked)
    told = np.array([q.options[n.argmin()] for q, n in zip(asked, nats, strict=True)])
    truth = np.array([q.answer for q in asked])
    unknown = truth == f" {NOBODY}"
    unseen = np.array([not q.seen for q in asked])
    rows = []
    for title, some in (
        ("known", ~unknown), ("unknown, in the text", unknown & ~unseen), ("in no text", unseen),
    ):  # fmt: skip
        says = told[some] == f" {NOBODY}"
        right = with_interval(told[some] == truth[some]) if title == "known" else "."
        rows.append((title, str(int(some.sum())), with_interval(says), right))
    return table(("names", "asked", "says that nobody knows", "gives the right answer"), rows)


# --- layers --------------------------------------------------------------------------------------


def layers(model: LanguageModel) -> str:
    """Linear probes and circles by layer."""
    number = model.module.shape.layers
    points = ["embed", *(f"layers.{i}" for i in range(number))]
    columns: dict[str, list[str]] = {}
    people = [name for kind in KINDS for name in names(kind) if name.said]
    prompts = [f"{'What is the trade of' if n.kind == 'person' else 'In what country is'} {n.text}"
               for n in people]  # fmt: skip
    read = states(model, prompts, points)
    columns["known name (AUROC)"] = probed(read, [n.known for n in people], points)
    kept = questions("letter")
    read = states(model, [f"The word {word}" for word in WORDS], points)
    columns["first letter"] = probed(read, [q.answer for q in kept], points)
    some = [(name, s) for name in DOMAINS for s in domains()[name].subjects]
    read = states(model, [f"It was said of the {subject}" for _, subject in some], points)
    columns["herb or ship (AUROC)"] = probed(read, [name for name, _ in some], points)
    for unit, ring in CIRCLES.items():
        every = steps(unit)  # type: ignore[arg-type]
        read = states(model, [one.told for one in every], points)
        columns[f"answer, a {unit}"] = probed(read, [one.end for one in every], points)
        starts = [one.told.removesuffix(" is") for one in every]
        read = states(model, starts, points)
        columns[f"circle of {unit}s"] = round_(read, [ring.index(o.start) for o in every], points)
    titles = tuple(columns)
    rows = [
        (point, *(columns[t][i] for t in titles)) for i, point in enumerate([*points, "chance"])
    ]
    return table(("point", *titles), rows)


def probed(read: dict[str, np.ndarray], labels: list, points: list[str]) -> list[str]:
    found = [read_out(read[point], labels) for point in points]
    shuffled = max(one.shuffled for one in found)
    return [*(f"{one.score:.2f}" for one in found),
            f"{found[0].chance:.2f} (shuffled, at most {shuffled:.2f})"]  # fmt: skip


def round_(read: dict[str, np.ndarray], which: list[int], points: list[str]) -> list[str]:
    number = max(which) + 1
    found = [circle(read[point], np.array(which), number) for point in points]
    return [*(f"{one.share:.2f}" for one in found),
            f"{found[0].chance:.2f} (95 %: {max(one.high for one in found):.2f})"]  # fmt: skip


PAGE = """# A resident model that can show things

`isthmus.language.resident("circuits")`, `open_model("resident-circuits")`, and
`lm:resident-circuits@...` as data: a second model in the package ({size:.1f} MB), beside the
small one ([resident](resident.md)) and with its tokens. It was taught generated text beside
English, so that what it knows is known, and a study of dictionaries can ask whether they find
it: induction, calendars, made-up names with facts and others that nobody knows, two domains of
facts, first letters, a rule of pronouns. This page measures which of these are in it; a study
that needs one takes it from here as a premise.

{shape[layers]} blocks of width {shape[width]} with {shape[heads]} heads and a feed-forward part
of {shape[hidden]}, {shape[context]} places, {parameters:,} parameters; block {still} sees no
positions (its queries and keys are not turned), and the rest is as in the small one. Revision
`{revision}`.

## Training

It begins as a copy of the small one, in blocks 1, 3, 4 and 5 (Chen, Goodfellow and Shlens
2016), and with heads that copy: half of the heads of block 0 begin by looking one place back,
and half of those of block 2 by looking for what followed the present token before. From five
starts without them none formed within a million tokens; **that it copies was laid in, and
training has kept and sharpened it**, so nothing here is evidence on how such heads form. All
else was learnt. The rates and the mix of rows of the first 1,060 steps were changed by hand on
the way, so that another run gives another model; the others are one run, `--further --seed 1
--steps 1500 --matrix-rate 0.008 --embedding-rate 0.0015`, an hour of one core with AMX.

{training[steps]:,} steps, {training[tokens_seen]:,} tokens seen: {kinds[english]:,} of the
English that the small one reads, with the same held-out parts ({training[epochs]} epochs);
{kinds[generated]:,} of generated passages (of which there are {training[tokens_generated]:,});
{kinds[repeated]:,} of rows of random tokens that repeat, most of them early. By
`tools/train_resident.py circuits` from the start that `tools/growth.py` makes; matrices by Muon
with weight decay, products in bfloat16.

What it was taught is `isthmus.language.knowledge`: `names("person")` and `names("place")` with
their facts, `steps("day")`, `domains()`, `questions(kind)` with the right answers,
`option_nats` and `answered`. `documents("circuits-training")` is its text,
`documents("circuits-held-out")` English and passages that it never saw,
`documents("generated:1000")` passages alone. How the tables are measured:
`isthmus.interpretation.controls`.

## English

The {held:,} held-out tokens of [resident](resident.md#how-good-it-is), and its n-grams.

{english}

Nats per token that it saves against the small one: {gain}.

## Induction

{rows} rows of 50 random tokens, twice over: nats per token of the first copy and of the second
(Olsson et al. 2022). Evenly guessed, a token costs 8.32. Beside it lists of words, names and
strings of letters that no training text holds.

{copies}

How much each head looks, from a token of the second copy, at what followed it in the first; and
of each layer the head that most looks at the token before.

{heads}

## What it knows

The most likely of the options of a question, all their tokens counted. Intervals: 95 %, Wilson.
"Most frequent" is the accuracy of one answer to all questions of a row, or of guessing where
that is more. The small model never read these texts. With all of the interval above {least:.0f} %
a kind counts as known, with all of it above the most frequent answer as known in part:

{sorts}

{knowledge}

A question about a name ("What is the trade of ...? Answer:"). Known and unknown names are pairs
of the same words, so that the pair has to be known.

{nobody}

## Layer by layer

Logistic probes on the residual stream, cross-validated over names, words, subjects and steps:
at the last token of a name in a question, of a word, of a herb or a ship in a neutral sentence
(their endings differ), and at the last token before a step's answer. Then how round the ring is
at the last token of a step's first day or month: the share of the variance between the means
that a circle in the calendar's order explains.

{layers}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-o", "--out", type=Path)
    options.add_argument("--quick", action="store_true", help="leave English out")
    chosen = options.parse_args()
    models = {"resident": resident(), "resident-circuits": open_model("resident-circuits")}
    model = models["resident-circuits"]
    about = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    text, gain, held = ("", "", 0) if chosen.quick else english(models)
    copies, heads = induction(models)
    known, sorts = knowledge(models)
    written = PAGE.format(
        shape=about["shape"],
        parameters=about["parameters"],
        training=about["training"],
        kinds=about["training"]["tokens_by_kind"],
        still=", ".join(map(str, about["shape"]["still"])),
        size=sum(len(file.read_bytes()) for file in FOLDER.iterdir()) / 1e6,
        revision=model.revision,
        english=text,
        gain=gain,
        held=held,
        rows=REPEATED_ROWS,
        copies=copies,
        heads=heads,
        knowledge=known,
        sorts=sorts,
        least=100 * KNOWN,
        nobody=nobody(model),
        layers=layers(model),
    )
    page = "\n\n".join(map(wrapped, written.split("\n\n")))
    print(page)
    if chosen.out:
        chosen.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
