"""Pictures of dictionaries: how often latents fire, how many together, and the strongest atoms."""

import numpy as np

from isthmus.anatomy import Autoencoder, tree
from isthmus.pages.codes import Codes
from isthmus.pictures import panels
from isthmus.pictures.examples import Drawn
from isthmus.pictures.panels import in_red_and_blue
from isthmus.pictures.sheet import Panel


def strongest(codes: Codes, number: int) -> np.ndarray:
    """The latents that carry most: by rate times mean value where they fire, the first first."""
    carried = np.abs(codes.mean_code)
    order = np.argsort(-carried, kind="stable")
    return order[carried[order] > 0][:number]


def densities(codes: Codes) -> list[Panel]:
    """How often latents fire, on a scale of powers of ten, and how many fire on a row."""
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
    return [
        panels.bars(
            f"codes: how often each of {len(rates):,} latents fires",
            counts, edges, ("share of the rows on which a latent fires", "latents"), log=True,
            note=f"{dead:,} never fire on these {codes.rows:,} rows",
        ),
        panels.bars(
            "codes: how many latents fire on a row",
            rows, places - 0.5, ("latents that fire", "rows"),
            note=f"{together.mean():.1f} in the mean",
        ),
    ]  # fmt: skip


def atoms(model: Autoencoder, codes: Codes, drawn: Drawn, number: int = 36) -> Panel | None:
    """What the strongest latents add to an image; None where these are not linear in the latents.

    More is red and less is blue, each at its own scale.
    """
    found = model.atoms()
    if found is None or not drawn.is_image or not hasattr(found, "detach"):
        return None
    chosen = strongest(codes, number)
    rows = tree.mapped(lambda a: a.detach().float().cpu().numpy(), found)[chosen]
    if rows.shape[1] != drawn.signal.numel:
        return None
    across = min(12, len(chosen))
    shown = in_red_and_blue(rows.reshape(-1, *drawn.signal.shape))
    missing = -len(shown) % across
    filled = np.concatenate([shown, np.full((missing, *shown.shape[1:]), np.nan)])
    return panels.mosaic(
        f"what the {len(chosen)} strongest of {len(codes):,} latents add (red) and take (blue)",
        filled.reshape(-1, across, *shown.shape[1:]),
    )
