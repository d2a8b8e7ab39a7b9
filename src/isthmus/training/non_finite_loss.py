"""When a loss is not finite: which term, which rows, and the batch saved for replay."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Losses, Output, Source, tree
from isthmus.errors import IsthmusError
from isthmus.training.journal import as_umask_says

NONFINITE = "nonfinite.safetensors"


_UNKNOWN = "lower lr, set clip=1, or look at these rows"


class NonFiniteLoss(IsthmusError):
    """A loss became NaN or infinite. ``terms``, ``step`` and ``rows`` say where, ``cause`` why."""

    def __init__(
        self, terms: list[str], step: int, rows: list[int], saved: Path | None, cause: str = ""
    ) -> None:
        self.terms, self.step, self.rows, self.saved = terms, step, rows, saved
        self.cause = cause
        which = f"rows {_short(rows)} of the data" if rows else "no single row"
        where = f"; the batch is in {saved}" if saved else ""
        super().__init__(
            f"the loss term {' and '.join(terms)} became NaN or infinite at step {step} "
            f"({which}): {cause or _UNKNOWN}{where}"
        )


def investigate(
    model: Autoencoder,
    out: Output,
    player: str,
    batch: Batch,
    losses: Losses,
    source: Source,
    folder: Path | None,
    step: int,
    *,
    lr: float | None = None,
    grew: bool = False,
    half: bool = False,
) -> NonFiniteLoss:
    """Find the terms and rows that are not finite, and save the batch under ``folder``.

    ``lr`` is the learning rate, ``grew`` says whether the loss had grown before, ``half`` whether
    the forward pass was in half precision.

    An output that comes late, without its codes, no longer tells the rows.
    """
    rows = torch.arange(len(batch)) if batch.rows is None else batch.rows
    terms, bad = [], torch.zeros(len(batch), dtype=torch.bool)
    for part in model.objective if out.codes else ():
        if part.term.player != player:
            continue
        with torch.no_grad():
            value = part.term(model, out).detach().cpu()
        if not bool(torch.isfinite(value).all()):
            terms.append(part.term.name)
            if part.term.per_example:
                bad |= ~torch.isfinite(value)
    if not out.codes:
        terms = [name for name, value in losses.terms.items() if not bool(value.isfinite())]
    numbers = source.numbers(rows)
    row_numbers = numbers[bad.nonzero().flatten()].tolist()
    saved = None
    if folder is not None:
        saved = folder / NONFINITE
        content: dict[str, Tensor] = {"row": numbers.contiguous()}
        for name, tensor in tree.flattened(batch.x, "x").items():
            content[name] = tensor.detach().cpu().contiguous()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(content, saved)
            as_umask_says(saved)
        except (OSError, SafetensorError):  # the loss is the news, not the disk
            saved = None
    cause = _cause(model, out, batch, numbers, lr, grew, half)
    return NonFiniteLoss(terms or ["total"], step, row_numbers, saved, cause)


def _cause(
    model: Autoencoder,
    out: Output,
    batch: Batch,
    numbers: Tensor,
    lr: float | None,
    grew: bool,
    half: bool,
) -> str:
    """What made it so, as far as can be seen: the data, the weights, or the first part to emit it.

    Empty where all of these are finite, so that it is the term itself.
    """
    at = place_in_data(batch, numbers)
    if at:
        return f"the data hold NaN or infinity in {at}: drop or fill it"
    weights = [name for name, p in model.named_parameters() if not _finite(p)]
    rate = "" if lr is None else f" (lr={lr:g})"
    if grew:
        return f"the loss had grown before, so the learning rate is too large{rate}: lower it"
    if weights:
        return (
            f"the update before made {_short(weights, 3)} so while the loss was finite, so it is "
            "the gradient of a term or part (a root, a norm or a logarithm at 0, or 0/0 in "
            f"torch.where), or lr is too large{rate}: mend it, or lower lr"
        )
    buffers = [name for name, b in model.named_buffers() if not _finite(b) and "scaler" in name]
    if buffers:
        return f"the scaling is not finite ({_short(buffers, 3)}): set scaling=none, or scale first"
    also = ", or set precision=32, since half precision overflows sooner" if half else ""
    part = _emitter(model, out, batch)
    if part:
        return f"{part} returned it for finite rows and weights: mend it{also}"
    return f"{_UNKNOWN}{also}" if half else ""


def place_in_data(batch: Batch, numbers: Tensor) -> str:
    """Where in the rows as they came there is one, of what is observed: ``row 7, column 2``."""
    masks = dict(tree.leaves(batch.mask)) if batch.mask is not None else {}
    for name, leaf in tree.leaves(batch.x):
        if not isinstance(leaf, Tensor) or _finite(leaf):
            continue
        bad = ~leaf.isfinite()
        mask = masks.get(name)
        if mask is not None and mask.shape == bad.shape:
            bad &= mask.bool()
        places = bad.nonzero()
        if len(places):
            row, *rest = places[0].tolist()
            column = f", column {', '.join(map(str, rest))}" if rest else ""
            return f"row {int(numbers[row])}{column}{f' of {name}' if name else ''}"
    return ""


def _emitter(model: Autoencoder, out: Output, batch: Batch) -> str:
    """The first part on the way from the rows to the loss whose output is not finite."""
    if not out.codes:
        return ""
    for view, code in zip(out.views, out.codes, strict=False):
        if not _all_finite(view.x):
            return f"the corruption {type(model.corruption).__name__}"
        if _finite(code.z):
            continue
        with torch.no_grad():
            h = model.encode_view(view, batch.to(model.device), out.step)
        role = "bottleneck" if _all_finite(h) else "encoder"
        return f"the {role} {type(getattr(model, role)).__name__}"
    if out.params is not None and not _all_finite(out.params):
        return f"the decoder {type(model.decoder).__name__}"
    return ""


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.detach().isfinite().all())


def _all_finite(nested: object) -> bool:
    if isinstance(nested, Tensor):
        return _finite(nested)
    if isinstance(nested, dict):
        return all(_all_finite(leaf) for leaf in nested.values())
    if isinstance(nested, (tuple, list)):
        return all(_all_finite(leaf) for leaf in nested)
    return True


def _short(rows: Sequence[object], most: int = 6) -> str:
    text = ", ".join(map(str, rows[:most]))
    return text if len(rows) <= most else f"{text} and {len(rows) - most} more"
