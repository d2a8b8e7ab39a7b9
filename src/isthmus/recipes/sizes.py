"""Sizes that follow the data where the published value is meant for another size.

Options of a recipe say by :class:`~isthmus.recipes.options.Meant` what their number is. What the
user gives is kept, and ``length=published`` keeps the page's numbers. Otherwise:

code
    The published number of latents, unless it is more than half of the elements of an example; then
    a third of them. More is no compression.
surplus
    Recipes that find superfluous latents themselves get at most as many as there are elements.
dictionary
    The published width, but at most four times the elements and a latent for sixteen rows (each
    rounded down to a power of two, 64 at least).
active
    As for a code, and at most an eighth of the dictionary.
head
    At most four times the elements of an example (rounded up to a power of two, 64 at least).
batch_size
    Where the length is stated too (``steps`` or ``epochs``), the published one. Otherwise the
    published batch, unless a pass would have fewer than ten steps, or a hundred for batches
    above 128: then the largest power of two with which it has, 16 at least; fewer rows than two
    batches are one.
lr
    Follows the batch: with its square root for Adam and its kin (Malladi et al. 2022,
    arXiv:2205.10287), in proportion otherwise (Goyal et al. 2017, arXiv:1706.02677), unless the
    page states the batch that its rate is for (``lr_batch``); to no less than a quarter. A
    dictionary's rate also follows one over the square root of its width (Gao et al. 2024,
    arXiv:2406.04093, section 3), to at most twice the published rate.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from isthmus import notices
from isthmus.anatomy import Signal, Source
from isthmus.recipes.options import Meant
from isthmus.recipes.registry import Recipe
from isthmus.training import TrainingOptions

LEAST_WIDTH, LEAST_BATCH, SMALL_BATCH = 64, 16, 128
WIDER, ROWS_PER_LATENT = 4, 16
LEAST_FACTOR = 0.25
"""Of the rate: the rules are not trusted over more than a factor of sixteen in the batch."""
PUBLISHED_WIDTH = 4096
"""Of a page whose width is a multiple of the input's."""
_LINEAR = ("sgd", "lars")


def meant(recipe: Recipe) -> dict[str, Meant]:
    """What the numbers among a recipe's options are meant for, by name."""
    marks = {}
    for name, info in recipe.model_options.model_fields.items():
        for mark in info.metadata:
            if isinstance(mark, Meant):
                marks[name] = mark
    return marks


def lengths(recipe: Recipe) -> str:
    """A sentence or two for a recipe's page: its published length, and what ``auto`` does."""
    marks = meant(recipe)
    if recipe.solved:
        names = [name for name, mark in marks.items() if mark.role != "ramp"]
        verb = "follows" if len(names) == 1 else "follow"
        sizes = f" By default (length=auto) {' and '.join(names)} {verb} the data." if names else ""
        return f"A solver reads the rows: nothing is trained by steps or held out.{sizes}"
    steps, epochs = recipe.defaults.get("steps"), recipe.defaults.get("epochs")
    batch = recipe.defaults.get("batch_size", TrainingOptions.model_fields["batch_size"].default)
    if steps is None and epochs is None:
        published = "The page states no length."
    else:
        long = f"{steps:,} steps" if steps else f"{epochs:,} passes"
        published = f"Published: {long} of batches of {batch:,} (length=published)."
    names = [f"{n}" for n, mark in marks.items() if mark.role != "ramp"] + ["batch_size", "lr"]
    ramps = [n for n, mark in marks.items() if mark.role == "ramp"]
    shrink = f" {' and '.join(ramps)} shrinks with the length." if ramps else ""
    most = "" if steps is None and epochs is None else ", at most that"
    return (
        f"{published} By default (length=auto) a run ends when nothing is gained any more on "
        f"held-out rows{most}; {', '.join(names[:-1])} and {names[-1]} follow the data where they "
        f"are of another size.{shrink}"
    )


def sized(
    recipe: Recipe, asked: Mapping[str, Any], source: Source, *, batch: int | None = None
) -> dict[str, Any]:
    """``asked``, the flat options that were given, with those that the data decide.

    ``batch`` is a batch size chosen elsewhere. Says in one line what it chose other than the page
    and how to override it.
    """
    options = dict(asked)
    _, training = recipe.parse(asked)
    if training.length == "published":
        return options
    marks, fields = meant(recipe), recipe.model_options.model_fields
    signal, rows = source.signal, len(source)
    order = sorted(marks, key=lambda name: marks[name].role not in ("dictionary", "code"))
    changes: list[str] = []
    width = (0, 0)
    for name in order:
        role, published = marks[name].role, fields[name].default
        if name in asked:
            value = asked[name]
        elif not _sizeable(signal):
            continue
        else:
            value = _size(role, published, signal, rows, width)
        if role == "dictionary" and isinstance(value, int):
            width = (published or PUBLISHED_WIDTH, value)
        if name not in asked and value is not None and value != published:
            options[name] = value
            changes.append(
                f"{name}={value} (the page has {published or 'a multiple of the input'})"
            )
    stated = bool({"steps", "epochs"} & set(asked))  # whose arithmetic is of the page's batches
    if not recipe.solved and (batch or not stated):
        changes += _batch(options, asked, training, rows, width, batch)
    if changes:
        notices.say(
            f"{recipe.name} on {rows:,} rows of {_elements(signal):,} elements: "
            f"{', '.join(changes)}; give {options_named(changes)} yourself, or length=published"
        )
    return options


def options_named(said: list[str]) -> str:
    """The names of what was chosen, for a sentence."""
    names = [one.partition("=")[0] for one in said]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _size(
    role: str, published: int | None, signal: Signal, rows: int, width: tuple[int, int]
) -> int | None:
    """A number for a role; ``width`` is the dictionary's, as published and as chosen."""
    elements = _elements(signal)
    match role:
        case "code":
            return published if published is None else _code(published, elements)
        case "surplus":
            return published if published is None else min(published, elements)
        case "dictionary":
            most = min(_floor(WIDER * elements), _floor(rows // ROWS_PER_LATENT))
            return min(published or PUBLISHED_WIDTH, max(LEAST_WIDTH, most))
        case "active" if published is not None:
            eighth = max(1, width[1] // 8) if width[1] else published
            return min(_code(published, elements), eighth)
        case "head" if published is not None:
            return min(published, max(LEAST_WIDTH, 1 << (WIDER * elements - 1).bit_length()))
    return published


def _code(published: int, elements: int) -> int:
    return published if 2 * published <= elements else max(1, round(elements / 3))


def _batch(
    options: dict[str, Any],
    given: Mapping[str, Any],
    training: TrainingOptions,
    rows: int,
    width: tuple[int, int],
    fixed_batch: int | None,
) -> list[str]:
    """Choose batch and rate into ``options``; what is to be said of them."""
    published, changes = training.batch_size, []
    batch = published
    if "batch_size" not in given and "accumulate" not in given:
        most = max(min(SMALL_BATCH, rows // 10), rows // 100)
        batch = fixed_batch or min(published, max(LEAST_BATCH, _floor(most)))
        if not fixed_batch and rows < 2 * batch:
            batch = min(published, rows)
    if batch != published:
        options["batch_size"] = batch
        changes.append(f"batch_size={batch} (the page has {published})")
    if "lr" in given or training.lr_batch is not None:
        return changes
    ratio = batch / published
    factor = ratio if training.optimiser.lower() in _LINEAR else math.sqrt(ratio)
    factor = max(LEAST_FACTOR, factor)
    if width[1] and "latent_dim" not in given:
        factor = min(2.0, factor * math.sqrt(width[0] / width[1]))
    if not math.isclose(factor, 1.0):
        rate = float(f"{training.lr * factor:.3g}")
        options["lr"] = rate
        changes.append(f"lr={rate:g} (the page has {training.lr:g})")
    return changes


def ramped(
    recipe: Recipe, options: Mapping[str, Any], asked: Collection[str], share: float
) -> dict[str, Any]:
    """Model options whose ramps, stated in steps, are ``share`` of the published ones."""
    model_options = dict(options)
    for name, mark in meant(recipe).items():
        if mark.role == "ramp" and name not in asked and model_options[name] and share < 1.0:
            model_options[name] = max(1, round(model_options[name] * share))
    return model_options


def _sizeable(signal: Signal) -> bool:
    """Whether the number of elements of an example says how much there is to tell."""
    if signal.kind == "collection":
        return all(_sizeable(part) for part in signal.parts.values())
    return signal.is_real and not signal.ragged and signal.numel > 0


def _elements(signal: Signal) -> int:
    """Elements of an example: of a collection, those of a part on average."""
    return max(1, signal.numel // max(1, len(signal.parts)))


def _floor(number: int) -> int:
    """The largest power of two that is no more."""
    return 1 << (max(1, number).bit_length() - 1)
