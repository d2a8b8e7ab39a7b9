"""When a loss is not finite: which term, which rows, and the batch saved for replay."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, Source
from isthmus.errors import IsthmusError

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
    model: Autoencoder, out: Output, player: str, index: Tensor, x: Tensor, folder: Path | None
) -> NonFiniteLoss:
    """Find the terms and rows that are not finite, and save the batch under ``folder``."""
    terms, bad = [], torch.zeros(len(x), dtype=torch.bool)
    for part in model.objective:
        if part.term.player != player:
            continue
        with torch.no_grad():
            value = part.term(model, out).detach().cpu()
        if not bool(torch.isfinite(value).all()):
            terms.append(part.term.name)
            if part.term.per_example:
                bad |= ~torch.isfinite(value)
    rows = index[bad.nonzero().flatten()].tolist()
    saved = None
    if folder is not None:
        saved = folder / NONFINITE
        batch = {"x": x.detach().cpu().contiguous(), "row": index.contiguous()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(batch, saved)
        except (OSError, SafetensorError):  # the loss is the news, not the disk
            saved = None
    return NonFiniteLoss(terms or ["total"], out.clock.step, rows, saved)


def users_rows(source: Source, rows: Tensor) -> Tensor:
    """Row numbers as the user knows them: a part of the data numbers its rows anew."""
    numbers = getattr(source, "index", None)
    return numbers[rows] if isinstance(numbers, Tensor) else rows


def _short(rows: list[int], most: int = 6) -> str:
    shown = ", ".join(map(str, rows[:most]))
    return shown if len(rows) <= most else f"{shown} and {len(rows) - most} more"
