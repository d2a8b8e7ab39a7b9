"""Pictures of inputs beside their reconstructions, and of where codes lie."""

from typing import Any

import numpy as np
import torch

from isthmus.anatomy import Autoencoder, Batch, Source, tree
from isthmus.anatomy.randomness import drawing
from isthmus.data import Subset
from isthmus.networks import Patches
from isthmus.pages.codes import Codes
from isthmus.pictures import panels
from isthmus.pictures.examples import COLUMNS, Drawn, drawn_of, opened, some
from isthmus.pictures.sheet import Panel, Picture, need_matplotlib

SHOWN = {"image": 12, "series": 8, "vector": 8, "tokens": 8}
SCATTERED = 500
"""Rows of a table whose reconstructions are drawn over what they were."""


def reconstructions(model: Autoencoder, X: Any, n: int | None = None) -> Picture:
    """``n`` rows of ``X``, spread over all of them, beside their reconstructions.

    Of a table every column's values over what was there (of 500 rows). A model that has no decoder,
    or rebuilds something else than its input, is an :class:`IsthmusError`.
    """
    need_matplotlib()
    source = opened(model, X)
    all_panels = rebuilt(model, source, n)
    if not all_panels:
        from isthmus.errors import IsthmusError

        raise IsthmusError("this model does not rebuild its input: isthmus plot shows its codes")
    return Picture(tuple(all_panels), "inputs and reconstructions")


def rebuilds(model: Autoencoder) -> bool:
    """Whether what comes out is what went in."""
    return model.decoder is not None and model.target is None


def rebuilt(
    model: Autoencoder, source: Source, n: int | None = None, columns: int = COLUMNS
) -> list[Panel]:
    """The panels; none where the model does not rebuild its input."""
    if model.decoder is None or (model.target is not None and model.signal.kind != "tokens"):
        return []
    if model.signal.kind == "tokens":
        return [_texts(model, source, n or SHOWN["tokens"])]
    index = some(source, SCATTERED)
    rows = source.rows(index)
    batch = source.batch(index)
    recon = model.reconstruct(Batch(batch.x, batch.rows, batch.mask, batch.given), as_read=True)
    all_panels = []
    for name, drawn in drawn_of(model, rows, source).items():
        true, output = (part[name] if name else part for part in (rows, recon))
        if np.asarray(true).shape != np.asarray(output).shape:
            continue
        all_panels.append(_panel(drawn, name, np.asarray(true), np.asarray(output), n, columns))
    return all_panels


HIDDEN = (0.75, 0.84, 0.89)
"""The colour of patches that the encoder is not shown."""


def corrupted(
    model: Autoencoder, source: Source, n: int = SHOWN["image"], seed: int = 0
) -> Panel | None:
    """Images, what a corruption leaves of them, and what is rebuilt from that.

    Where a corruption hides patches, what is rebuilt is what the model says of each while it is
    hidden. None where there is nothing to show: no images, no corruption, nothing rebuilt.
    """
    if model.corruption is None or not rebuilds(model) or model.signal.kind != "image":
        return None
    batch = source.batch(some(source, n)).to(model.device)
    with torch.no_grad(), drawing(torch.device("cpu"), seed):
        view = model.forward(batch).views[0]
        remainder = tree.wide(tree.moved(model.unscaled(view.x), torch.device("cpu")))
    drawn = drawn_of(model)[""]
    colours = drawn.colours(remainder)
    title = "inputs, what the encoder is shown, and what is rebuilt from that"
    if view.visible is None:
        again = model.reconstruct(Batch(remainder), as_read=True)
    else:
        patches = getattr(model.encoder, "patches", None)
        if not isinstance(patches, Patches):
            return None
        mask = torch.zeros(len(colours), patches.count)
        mask.scatter_(1, view.visible.cpu(), 1.0)
        pixels = patches.unpatchify(mask[..., None].expand(-1, -1, patches.dim)).numpy()
        colours = np.where(np.moveaxis(pixels[:, :1], 1, -1) > 0, colours, np.array(HIDDEN))
        again = model.reconstruct(Batch(batch.x), as_read=True)
        title = "inputs, what the encoder is shown, and what is said of each patch while hidden"
    rows = [drawn.colours(batch.x.cpu()), colours, drawn.colours(again)]
    return panels.mosaic(title, np.stack(rows), ["input", "shown", "rebuilt"])


def _panel(
    drawn: Drawn, name: str, true: np.ndarray, recon: np.ndarray, n: int | None, columns: int
) -> Panel:
    head = f"{name}: " if name else ""
    if drawn.columns:
        pairs = _worst_first(drawn.columns, true, recon, columns)
        some_of = "" if len(drawn.columns) <= len(pairs) else f" ({len(pairs)} columns)"
        title = f"{head}rebuilt over true, the column that is rebuilt worst first{some_of}"
        return panels.scatters(title, pairs)
    number = n or SHOWN.get(drawn.signal.kind, 8)
    at = np.linspace(0, len(true) - 1, min(number, len(true))).astype(int)
    groups = {"input": true[at], "rebuilt": recon[at]}
    return drawn.side_by_side(f"{head}inputs and reconstructions", groups)


def _worst_first(
    names: tuple[str, ...], true: np.ndarray, recon: np.ndarray, most: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The ``most`` columns of which the largest share of the variance is not rebuilt."""
    true, recon = true.reshape(len(true), -1), recon.reshape(len(recon), -1)
    spread = true.var(0)
    losses = np.square(true - recon).mean(0) / np.where(spread > 0, spread, np.inf)
    order = np.argsort(-losses, kind="stable")[:most]
    return {f"{names[k]}: {1 - losses[k]:.0%}": (true[:, k], recon[:, k]) for k in order}


def _texts(model: Autoencoder, source: Source, n: int) -> Panel:
    from isthmus.pictures.examples import texts_of

    index = some(source, n)
    outputs = texts_of(model.reconstruct(Subset(source, index)))
    inputs = texts_of(_raw_texts(model, source, index))
    rows = [*zip(inputs, outputs, strict=True)]
    return panels.texts("inputs and reconstructions", rows, ("input", "rebuilt"))


def _raw_texts(model: Autoencoder, source: Source, index: torch.Tensor) -> Any:
    """Rows of tokens at their own lengths, as texts where the model reads texts."""
    batch = source.batch(index)
    tokens = batch.x.numpy()
    if isinstance(batch.mask, torch.Tensor):
        parts = [row[mask] for row, mask in zip(tokens, batch.mask.numpy(), strict=True)]
    else:
        parts = [*tokens]
    if model.signal.text is None:
        return parts
    return [bytes(int(t) for t in row).decode(errors="replace") for row in parts]


def where_codes_lie(
    codes: Codes, labels: np.ndarray | None = None, about: str = ""
) -> Panel | None:
    """Codes in the plane: their two latents, or their first two principal components.

    None where a code is one number, or does not vary.
    """
    if len(codes) < 2 or codes.rows < 3:
        return None
    z = codes.matrix.toarray().astype(np.float64)
    if np.ptp(z, axis=0).max() == 0:
        return None
    suffix = f", {about}" if about else ""
    if len(codes) == 2:
        return panels.points(f"codes{suffix}", z, ("latent 0", "latent 1"), labels)
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full").fit(z)
    first, second = pca.explained_variance_ratio_
    names = (f"first component, {first:.0%} of the variance", f"second, {second:.0%}")
    title = f"codes: two principal components of {len(codes):,} latents{suffix}"
    return panels.points(title, pca.transform(z), names, labels)
