"""Pictures of traversals: one latent moved at a time, the rest held."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, decodes_latents
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.pages.codes import Codes, codes_of
from isthmus.pages.opened import spread
from isthmus.pictures import panels
from isthmus.pictures.examples import Drawn, drawn_of, opened, texts_of
from isthmus.pictures.sheet import Panel, Picture, need_matplotlib

LATENTS = 8
"""Latents that are moved where none are named."""
SPAN = 3.0
ROWS = 2000
"""Rows that say where a latent's values lie."""
LINES = 5
"""Columns of a table that are drawn for a latent: those that it moves most."""


def traverse(
    model: Autoencoder,
    X: Any = None,
    *,
    latents: Sequence[int] | None = None,
    span: float | None = None,
    steps: int = 9,
    row: int | None = None,
    seed: int = 0,
) -> Picture:
    """What each latent does: decoded at ``steps`` even values, the other latents held.

    The values go ``span`` (3) standard deviations of the latent to either side of its mean over
    ``X``; those of a sparse code from 0 to the largest. The others stand at their means, or at the
    code of a ``row`` of ``X``. Without ``X`` the codes are drawn from the prior, by ``seed``.
    ``latents`` are by default the eight that carry most: by their divergence from the prior where
    there is one, else by their spread.
    """
    need_matplotlib()
    if steps < 2:
        raise IsthmusError(f"{steps} steps are no way from one value to another: pass 2 or more")
    if span is not None and not 0 < span < float("inf"):
        raise IsthmusError(f"span is {span}: pass a positive number of standard deviations")
    if not decodes_latents(model):
        raise IsthmusError(
            "this model does not decode from single latents, so that none can be moved alone: "
            "isthmus plot shows what it rebuilds"
        )
    codes, about = _codes(model, X, seed)
    if codes.sparse and span is not None:
        raise IsthmusError(
            "span counts standard deviations, and the latents of this model are zero on most rows: "
            "leave it out, they go from 0 to their largest value"
        )
    selection = _chosen(codes, latents)
    base = codes.mean_code if row is None else _code_of_row(model, X, row)
    at = [_values(codes, latent, SPAN if span is None else span, steps) for latent in selection]
    rows = np.tile(base.astype(np.float32), (len(selection) * steps, 1))
    for place, latent in enumerate(selection):
        rows[place * steps : (place + 1) * steps, latent] = at[place]
    outputs = model.decode(rows.reshape(len(rows), *codes.shape), as_read=True)
    all_panels = [
        _panel(drawn, name, outputs[name] if name else outputs, selection, at, model)
        for name, drawn in drawn_of(model, outputs, None).items()
    ]
    way = "from 0 to the largest value" if codes.sparse else (
        f"{SPAN if span is None else span:g} standard deviations to either side of the mean"
    )  # fmt: skip
    rest = "their means" if row is None else f"the code of row {row}"
    which = "the strongest latents" if latents is None else "latents"
    return Picture(
        tuple(all_panels),
        f"{which} {', '.join(map(str, selection))} of {len(codes)}, {way}, the others at {rest} "
        f"({about})",
    )


def _codes(model: Autoencoder, X: Any, seed: int) -> tuple[Codes, str]:
    """Codes that say where the latents' values lie, and what they are codes of."""
    if X is not None:
        source = opened(model, X)
        rows = spread(source, ROWS)
        return codes_of(model, rows), f"over {len(rows):,} rows"
    if model.prior is None:
        raise IsthmusError(
            "where this model's latents lie is known from data only, as it has no prior: name some "
            "rows"
        )
    examples = model.sample(ROWS, seed=seed, as_read=True)
    source = as_source(model.signal.batch(examples, read=True).x, model.signal.kind)
    return codes_of(model, source), f"over {ROWS:,} samples from the prior, seed {seed}"


def strongest(codes: Codes, number: int = LATENTS) -> list[int]:
    """The latents that carry most, the first first."""
    strength = codes.kl
    if strength is None:
        strength = np.abs(codes.mean_code) if codes.sparse else codes.stds
    return [int(latent) for latent in np.argsort(-strength, kind="stable")[:number]]


def _chosen(codes: Codes, latents: Sequence[int] | None) -> list[int]:
    if latents is not None:
        for latent in latents:
            if not 0 <= latent < len(codes):
                raise IsthmusError(
                    f"there is no latent {latent}: this model has 0 to {len(codes) - 1}"
                )
        if not len(latents):
            raise IsthmusError("no latents are named: name some, or leave them out")
        return [int(latent) for latent in latents]
    return strongest(codes)


def _values(codes: Codes, latent: int, span: float, steps: int) -> np.ndarray:
    if codes.sparse:
        largest = codes.largest[latent]
        return np.linspace(0.0, 1.0 if np.isnan(largest) else largest, steps)
    middle, std = float(codes.mean_code[latent]), float(codes.stds[latent])
    return np.linspace(middle - span * std, middle + span * std, steps)


def _code_of_row(model: Autoencoder, X: Any, row: int) -> np.ndarray:
    if X is None:
        raise IsthmusError("a row is one of the data: name these, too")
    source = opened(model, X)
    if not 0 <= row < len(source):
        raise IsthmusError(f"there is no row {row}: the data have rows 0 to {len(source) - 1}")
    one = codes_of(model, spread_one(source, row))
    return one.mean_code


def spread_one(source: Any, row: int) -> Any:
    """A source of one row."""
    from isthmus.data import Subset

    return Subset(source, torch.tensor([row]))


def _panel(
    drawn: Drawn,
    name: str,
    outputs: Any,
    selection: Sequence[int],
    at: Sequence[np.ndarray],
    model: Autoencoder,
) -> Panel:
    steps = len(at[0])
    heads = [f"latent {latent}" for latent in selection]
    title = f"{name}: " if name else ""
    if drawn.is_text:
        lines = texts_of(outputs)
        texts = [lines[i * steps : (i + 1) * steps] for i in range(len(selection))]
        cells = [
            [f"{head}: {at[i][k]:+.2f}", texts[i][k]]
            for i, head in enumerate(heads)
            for k in sorted({0, steps // 2, steps - 1})
        ]
        return panels.texts(f"{title}traversals", cells)
    if drawn.is_image:
        colours = drawn.colours(outputs)
        grid = colours.reshape(len(selection), steps, *colours.shape[1:])
        return panels.mosaic(f"{title}traversals, low to high", grid, heads)
    flat = np.asarray(outputs, dtype=np.float64).reshape(len(selection), steps, -1)
    if not drawn.columns:
        if drawn.signal.kind == "series":
            flat = flat.reshape(len(selection), steps, *drawn.signal.shape)[..., 0]
        return panels.fans(f"{title}traversals, low (blue) to high (red)", [*flat], heads, at)
    spreads = _spreads(model, flat)
    fans, names = [], []
    for rows in flat:
        moved = (rows - rows[steps // 2]) / spreads
        most = np.argsort(-np.ptp(moved, axis=0), kind="stable")[:LINES]
        fans.append(moved[:, most].T)
        names.append([panels.shortened(drawn.columns[k], 18) for k in most])
    title = f"{title}traversals: the {LINES} columns that each moves most, in standard deviations"
    return panels.fans(title, fans, heads, at, across=4, legends=names)


def _spreads(model: Autoencoder, flat: np.ndarray) -> np.ndarray:
    """What one standard deviation of a column is, by the model's scaler, or else by the picture."""
    scale = getattr(model.scaler, "scale", None)
    if scale is not None and scale.numel() == flat.shape[-1]:
        return np.asarray(scale.detach().cpu().numpy(), dtype=np.float64).ravel()
    spreads = flat.reshape(-1, flat.shape[-1]).std(0)
    return np.where(spreads > 0, spreads, 1.0)
