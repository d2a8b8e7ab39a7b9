"""When a loss is not finite: which term, which rows, and the batch saved for replay."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Losses, Output, Source, tree
from isthmus.errors import IsthmusError
from isthmus.training.journal import as_umask_says

NONFINITE = "nonfinite.safetensors"


class NonFiniteLoss(IsthmusError):
    """A loss became NaN or infinite. ``terms``, ``step`` and ``rows`` say where."""

    def __init__(self, terms: list[str], step: int, rows: list[int], saved: Path | None) -> None:
        self.terms, self.step, self.rows, self.saved = terms, step, rows, saved
        which = f"rows {_short(rows)} of the data" if rows else "no single row"
        where = f"; the batch is in {saved}" if saved else ""
        super().__init__(
            f"the loss term {' and '.join(terms)} became NaN or infinite at step {step} "
            f"({which}): lower lr, set clip=1, or look at these rows{where}"
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
) -> NonFiniteLoss:
    """Find the terms and rows that are not finite, and save the batch under ``folder``.

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
    found = numbers[bad.nonzero().flatten()].tolist()
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
    return NonFiniteLoss(terms or ["total"], step, found, saved)


def _short(rows: list[int], most: int = 6) -> str:
    shown = ", ".join(map(str, rows[:most]))
    return shown if len(rows) <= most else f"{shown} and {len(rows) - most} more"
