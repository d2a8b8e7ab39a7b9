"""How much two sets of rules say the same: where in a text they apply."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isthmus.interpretation.labels import Label, Rule, Windows
from isthmus.interpretation.labels.rule_matching import matcher_of
from isthmus.interpretation.labels.windows import SILENT, read_windows


def shared_windows(folder: Path, latent: int) -> Windows:
    """The random windows of text of a features folder, together with those of one latent.

    Folders of the same text and settings have the same random windows.
    """
    _, windows = next(read_windows(folder, [latent]))
    return windows


def applies(labels: Sequence[Label], windows: Windows) -> np.ndarray:
    """Where the rule of each label applies, bool ``(rules, tokens of the random windows)``.

    Rules that apply nowhere are left out.
    """
    at, _ = windows.places(windows.of_latent[SILENT])
    rules = [Rule.from_dict(one.detail["rule"]) for one in labels]
    matches = np.stack([matcher_of(windows).fires(rule, at) for rule in rules])
    return matches[matches.any(1)]


def shared(where: np.ndarray) -> np.ndarray:
    """For each two rules, the share of tokens where both apply among those where either does.

    ``where`` is bool ``(rules, tokens)``, no row without a token; the answer (Jaccard indices) is
    ``(rules, rules)``.
    """
    flags = where.astype(np.float32)
    both = flags @ flags.T
    count = np.diag(both)
    jaccard: np.ndarray = both / (count[:, None] + count - both)
    return jaccard


def by_distance(overlaps: np.ndarray, layer: np.ndarray) -> dict[int, list[float]]:
    """The overlap of each two layers' rules, by how far apart the layers are.

    ``overlaps`` is that of each two rules, ``layer`` ``(rules,)`` whose they are. The overlap of
    two sets is that of each rule with the nearest of the other set, the mean over both.
    """
    overlaps_by_distance: dict[int, list[float]] = {}
    layers = np.unique(layer)
    for i, low in enumerate(layers):
        for high in layers[i + 1 :]:
            part = overlaps[np.ix_(layer == low, layer == high)]
            nearest = (part.max(1).mean() + part.max(0).mean()) / 2
            overlaps_by_distance.setdefault(int(high - low), []).append(float(nearest))
    return overlaps_by_distance
