"""Pictures of dictionaries: how often latents fire, how many together, and the strongest atoms."""

from collections.abc import Mapping

import numpy as np

from isthmus.anatomy import Autoencoder, Source, tree
from isthmus.data import Subset
from isthmus.pages.codes import Codes
from isthmus.pictures import panels
from isthmus.pictures.examples import Drawn, some
from isthmus.pictures.panels import in_red_and_blue
from isthmus.pictures.sheet import Panel

SCATTERED = 500
"""Rows whose written elements are drawn."""


def strongest(codes: Codes, number: int) -> np.ndarray:
    """The latents that carry most: by rate times mean value where they fire, the first first."""
    carried = np.abs(codes.mean_code)
    order = np.argsort(-carried, kind="stable")
    return order[carried[order] > 0][:number]


def densities(codes: Codes) -> list[Panel]:
    """How often latents fire, on a scale of powers of ten, and how many where that varies."""
    rates = codes.counts / codes.rows
    alive = rates[rates > 0]
    lowest = np.floor(np.log10(alive.min())) if len(alive) else -1.0
    edges = np.logspace(min(lowest, -1.0), 0.0, 6 * int(max(1, -min(lowest, -1.0))) + 1)
    counts, _ = np.histogram(np.clip(alive, edges[0], 1.0), edges)
    dead = int((rates == 0).sum())
    together = np.diff(codes.matrix.tocsr().indptr)
    top = int(together.max()) + 1
    each = max(1, -(-top // 40))
    places = np.arange(0, top + each, each)
    rows, _ = np.histogram(together, places)
    always = top > 1 and int(together.min()) + 1 == top
    note = f"{dead:,} never fire on these {codes.rows:,} rows"
    often = panels.bars(
        f"codes: how often each of {len(rates):,} latents fires",
        counts, edges, ("share of the rows on which a latent fires", "latents"), log=True,
        note=f"{top - 1} fire on every row, {note}" if always else note,
    )  # fmt: skip
    if always:
        return [often]
    many = panels.bars(
        "codes: how many latents fire on a row",
        rows, places - 0.5, ("latents that fire", "rows"),
        note=f"{together.mean():.1f} in the mean",
    )  # fmt: skip
    return [often, many]


def atoms(model: Autoencoder, codes: Codes, drawn: Drawn, number: int = 36) -> Panel | None:
    """What the strongest latents add to an image; None where these are not linear in the latents.

    More is red and less is blue, each at its own scale.
    """
    directions = model.atoms()
    if directions is None or not drawn.is_image or not hasattr(directions, "detach"):
        return None
    latents = strongest(codes, number)
    rows = tree.mapped(lambda a: a.detach().float().cpu().numpy(), directions)[latents]
    if rows.shape[1] != drawn.signal.numel:
        return None
    across = min(12, len(latents))
    images = in_red_and_blue(rows.reshape(-1, *drawn.signal.shape))
    missing = -len(images) % across
    filled = np.concatenate([images, np.full((missing, *images.shape[1:]), np.nan)])
    return panels.mosaic(
        f"what the {len(latents)} strongest of {len(codes):,} latents add (red) and take (blue)",
        filled.reshape(-1, across, *images.shape[1:]),
    )


def parts_shared(model: Autoencoder) -> Panel | None:
    """Where each latent of a crosscoder writes: the share of its atoms' norms in the last part.

    0 and 1 are latents of one part alone, a half those of both. None for other models.
    """
    parts = model.atoms()
    if not isinstance(parts, Mapping) or len(parts) < 2:
        return None
    norms = {name: part.detach().float().cpu().norm(dim=1).numpy() for name, part in parts.items()}
    total = sum(norms.values())
    last = [*norms][-1]
    shares = norms[last][total > 0] / total[total > 0]
    counts, edges = np.histogram(shares, 41, (0.0, 1.0))
    about = f"share of a latent's norm that is in {last!r}, of {', '.join(norms)}"
    return panels.bars("where latents write", counts, edges, (about, "latents"))


def written(model: Autoencoder, source: Source, number: int = 5) -> Panel | None:
    """What a transcoder says of the elements that it writes, over what was there.

    The elements that vary most; None for a model that rebuilds its input.
    """
    names: tuple[str, ...] = getattr(model.target, "names", ())
    if len(names) != 1 or model.decoder is None:
        return None
    index = some(source, SCATTERED)
    true = np.asarray(source.rows(index)[names[0]])
    recon = np.asarray(model.reconstruct(Subset(source, index), as_read=True))
    if true.shape != recon.shape:
        return None
    true, recon = true.reshape(len(true), -1), recon.reshape(len(recon), -1)
    most = np.argsort(-true.var(0), kind="stable")[:number]
    pairs = {f"element {k}": (true[:, k], recon[:, k]) for k in most}
    return panels.scatters(f"{names[0]}: said over true, the elements that vary most", pairs)
