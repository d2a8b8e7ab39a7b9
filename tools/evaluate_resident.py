"""Measure the resident language model on the text that it never saw, and write docs/resident.md.

    python tools/evaluate_resident.py -o docs/resident.md

Needs ISTHMUS_DATA. The baselines are trained on the same tokens as the model.
"""

import argparse
import json
import math
import textwrap
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from _kneser_ney import KneserNey
from torch.nn import functional as F

from isthmus.language import Document, LanguageModel, documents, generate, pack, resident
from isthmus.language.corpus import HELD_OUT_EVERY, HELD_OUT_SHARE, held_out_text, training_text

ORDERS = (2, 3, 4, 5)
PROMPTS = ("The whale", "Mr. Darcy", '"I do not believe', "Please send")


def by_model(model: LanguageModel, held: list[Document]) -> tuple[list[np.ndarray], np.ndarray]:
    """Nats of each token, by document; and their means over rows by place, in eighths."""
    tokens = pack(held, model.tokenizer, model.context)
    nats: list[list[np.ndarray]] = [[] for _ in held]
    sums, counts = np.zeros(model.context - 1), np.zeros(model.context - 1)
    for begin in range(0, len(tokens), 16):
        part = tokens.rows(torch.arange(begin, min(begin + 16, len(tokens))))
        logits = model.logits(part.ids, part.mask)[:, :-1]
        losses = F.cross_entropy(logits.transpose(1, 2), part.ids[:, 1:], reduction="none")
        for which, loss, mask in zip(part.document, losses, part.mask[:, 1:], strict=True):
            kept = loss[mask].double().numpy()
            nats[which].append(kept)
            sums[: len(kept)] += kept
            counts[: len(kept)] += 1
    places = [
        float(s.sum() / c.sum())
        for s, c in zip(np.array_split(sums, 8), np.array_split(counts, 8), strict=True)
    ]
    return [np.concatenate(parts) for parts in nats], np.array(places)


def summary(nats: list[np.ndarray], held: list[Document]) -> dict[str, float]:
    """Means over tokens, bits per byte, and a 95 % bootstrap interval over documents."""
    sums = np.array([n.sum() for n in nats])
    counts = np.array([len(n) for n in nats])
    size = sum(len(document.text.encode()) for document in held)
    drawn = np.random.default_rng(0).integers(0, len(sums), (2000, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "nats": sums.sum() / counts.sum(),
        "low": low,
        "high": high,
        "bits": sums.sum() / math.log(2) / size,
        "books": sums[:12].sum() / counts[:12].sum(),
        "masc": sums[12:].sum() / counts[12:].sum(),
    }


def baselines(held: list[Document]) -> dict[str, list[np.ndarray]]:
    """Nats of each held-out token under each baseline."""
    tokenizer = resident().tokenizer
    vocabulary = tokenizer.vocabulary
    train = [np.array(tokenizer.encode(document.text)) for document in training_text()]
    tests = [np.array(tokenizer.encode(document.text)) for document in held]
    counts = np.bincount(np.concatenate(train), minlength=vocabulary) + 1.0
    unigram = -np.log(counts / counts.sum())
    found = {
        "uniform": [np.full(len(t), math.log(vocabulary)) for t in tests],
        "unigram, add one": [unigram[t] for t in tests],
    }
    for order in ORDERS:
        model = KneserNey(train, order, vocabulary, tokenizer.bos or 0)
        found[f"{order}-gram, Kneser-Ney"] = [model.nats(t) for t in tests]
    return found


def texts() -> list[tuple[str, str]]:
    """Continuations of some prompts, and the model's first own texts."""
    model = resident()
    written = []
    for seed, prompt in enumerate(PROMPTS):
        row = torch.tensor([[model.tokenizer.bos, *model.tokenizer.encode(prompt)]])
        row = generate(model, row, 60, temperature=0.8, seed=seed)
        written.append((prompt, model.tokenizer.decode(row[0].tolist())))
    written.append(("(nothing)", documents("samples:1")[0].text))
    return written


def page(
    rows: Mapping[str, dict[str, float]],
    gain: str,
    places: np.ndarray,
    held_tokens: int,
    about: dict,
) -> str:
    shape, training = about["shape"], about["training"]
    table = "\n".join(
        f"| {name} | {r['nats']:.3f} | {r['low']:.3f} to {r['high']:.3f} | {r['bits']:.3f} "
        f"| {r['books']:.3f} | {r['masc']:.3f} |"
        for name, r in rows.items()
    )
    width = resident().context // 8
    by_place = "\n".join(
        f"| {width * i + 1} to {min(width * (i + 1), 255)} | {nats:.3f} |"
        for i, nats in enumerate(places)
    )
    samples = "\n\n".join(
        f"After *{prompt}*:\n\n" + "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
        for prompt, text in texts()
    )
    written = PAGE.format(
        shape=shape,
        training=training,
        parameters=about["parameters"],
        table=table,
        by_place=by_place,
        samples=samples,
        held=held_tokens,
        share=f"{HELD_OUT_SHARE:.0%}".replace("%", " %"),
        every=f"{HELD_OUT_EVERY}th",
        size=sum(len(file.read_bytes()) for file in FOLDER.iterdir()) / 1e6,
        revision=resident().revision,
        gain=gain,
    )
    return "\n\n".join(map(wrapped, written.split("\n\n")))


def wrapped(paragraph: str) -> str:
    if paragraph.startswith(("|", ">", "#")):
        return paragraph
    end = "\n" * paragraph.endswith("\n")
    text = " ".join(paragraph.split())
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + end


def gain_over(baseline: list[np.ndarray], nats: list[np.ndarray]) -> str:
    """How many nats a token the model saves, with its interval, over the same documents."""
    saved = np.array([(b - n).sum() for b, n in zip(baseline, nats, strict=True)])
    counts = np.array([len(n) for n in nats])
    drawn = np.random.default_rng(0).integers(0, len(saved), (2000, len(saved)))
    low, high = np.quantile(saved[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return f"{saved.sum() / counts.sum():.3f} ({low:.3f} to {high:.3f})"


FOLDER = files("isthmus.language") / "resident"
PAGE = """# The resident language model

`isthmus.language.resident()`, `open_model("resident")`, and `lm:resident@...` as data: a small
transformer, trained from scratch on free English texts, that ships in the package
({size:.1f} MB) and is the default of every example. It is large enough to have features worth
looking at and small enough to read thousands of tokens a second on one core. It is no model to get
facts or good prose from.

{shape[layers]} blocks of width {shape[width]} with {shape[heads]} heads and a feed-forward part of
{shape[hidden]}, {shape[context]} places, {shape[vocabulary]:,} tokens (byte-level BPE),
{parameters:,} parameters: pre-normalised with RMSNorm, rotary positions, GELU, no biases, the
embedding tied to the output. Weights are stored in float16 and computed in float32; revision
`{revision}`.

| module | what its output is |
| --- | --- |
| `embed` | token embeddings |
| `layers.0` to `layers.{shape[last]}` | the residual stream after each block |
| `layers.0.attention`, `layers.0.mlp` | what each part of a block adds to it |
| `norm` | what the logits are made of |

## Training

Text: {training[text]}. {training[tokens]:,} tokens; {training[steps]:,} steps,
{training[tokens_seen]:,} tokens seen ({training[epochs]} epochs), one CPU core.
Rows begin with `<|bos|>` and may begin anywhere in a text. Made by `tools/train_tokenizer.py` and
`tools/train_resident.py`.

## How good it is

On the {held:,} tokens that were held out: the last {share} of each book, cut between paragraphs,
and each {every} document of MASC. The baselines are trained on the same tokens; n-grams see
as far back as their order asks, also beyond the beginning of the model's row. Intervals: 95 %,
bootstrap over documents. Printed by `tools/evaluate_resident.py`.

| | nats per token | 95 % | bits per byte | books | MASC |
| --- | --- | --- | --- | --- | --- |
{table}

Over the same documents it saves {gain} nats per token against the longest n-gram. How much it gains
from context: loss by place in the row.

| place | nats per token |
| --- | --- |
{by_place}

## What it writes

At temperature 0.8, the seeds 0, 1, ... in turn; nothing was picked.

{samples}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-o", "--out", type=Path)
    chosen = options.parse_args()
    held = held_out_text()
    nats, places = by_model(resident(), held)
    others = baselines(held)
    rows = {name: summary(found, held) for name, found in others.items()}
    rows["**resident**"] = summary(nats, held)
    about = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    about["shape"]["last"] = about["shape"]["layers"] - 1
    written = page(
        rows, gain_over(list(others.values())[-1], nats), places, sum(map(len, nats)), about
    )
    print(written)
    if chosen.out:
        chosen.out.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
