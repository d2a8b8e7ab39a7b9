"""Do units light up where something is? Maps of activations over patches against regions.

A unit's concept is the one whose regions it covers best on the images where it is most active, and
its score is how well it covers them on other images: the intersection of lit patches and region
over their union. As Zhang, Shen, Yang, Ma, Loy, Liu 2024 (arXiv:2411.14982) score explanations of
latents by regions that a detector finds for them; here regions and concepts are known, and a search
over them takes the place of the model that explains.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError

TOP = 5
"""Images on which a unit is looked at, as in the paper."""
SHARES = (0.125, 0.25, 0.5, 0.75)
"""Shares of a map's largest value above which a patch may count as lit."""


@dataclass(frozen=True)
class Concepts:
    """What each unit stands for.

    ``concept`` int64 ``(units,)`` is a number of a concept, -1 for a unit that is active on too few
    images; ``share`` float64 ``(units,)`` the share of a map's maximum above which its patches are
    lit; ``iou`` float64 ``(units,)`` how well it covers the concept, NaN without one.
    """

    concept: np.ndarray
    share: np.ndarray
    iou: np.ndarray


def iou(lit: Array, region: Array) -> np.ndarray:
    """Intersection over union of two bool arrays ``(..., patches)``, over the last axis, float64.

    Where both are empty it is 0.
    """
    both, either = (
        np.asarray(operation(lit, region)).sum(-1) for operation in (np.logical_and, np.logical_or)
    )
    quotient: np.ndarray = both / np.maximum(either, 1)
    return quotient


def region_concepts(
    maps: Array, regions: Array, *, top: int = TOP, shares: tuple[float, ...] = SHARES
) -> Concepts:
    """For each unit the concept whose regions it covers best, and what it takes as lit.

    maps
        Activations ``(images, patches, units)``; negative ones count as zero. A unit is looked at
        on the ``top`` images where its mean is largest, of those where it is active at all.
    regions
        Bool ``(images, concepts, patches)``.
    shares
        What may be the share; each unit gets the best.
    """
    maps, regions = _alike(maps, regions)
    values, images, active = _largest(maps, top)
    seen = regions[images]  # (units, top, concepts, patches)
    peaks = values.max(-1, keepdims=True)
    scores = np.stack(
        [iou((values > share * peaks)[:, :, None], seen).mean(1) for share in shares], 1
    )
    best = scores.reshape(len(scores), -1).argmax(1)
    at, concept = np.divmod(best, regions.shape[1])
    covered = np.where(active, scores[np.arange(len(scores)), at, concept], np.nan)
    return Concepts(np.where(active, concept, -1), np.asarray(shares)[at], covered)


def region_scores(maps: Array, regions: Array, concepts: Concepts, *, top: int = TOP) -> np.ndarray:
    """How well units cover their concepts on other images, float64 ``(units,)``.

    The mean over the ``top`` images where a unit's mean is largest; an image without the concept
    counts 0. NaN for units without a concept, and for those that are active on fewer images. Arrays
    as for :func:`region_concepts`.
    """
    maps, regions = _alike(maps, regions)
    if len(concepts.concept) != maps.shape[2]:
        raise IsthmusError(
            f"{len(concepts.concept)} concepts were found for {maps.shape[2]} units: pass maps of "
            "the same units"
        )
    values, images, active = _largest(maps, top)
    lit = values > concepts.share[:, None, None] * values.max(-1, keepdims=True)
    seen = regions[images, concepts.concept[:, None]]
    scores: np.ndarray = iou(lit, seen).mean(1)
    return np.where(active & (concepts.concept >= 0), scores, np.nan)


def _largest(maps: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each unit's maps where its mean is largest ``(units, top, patches)``, which images these are,
    and whether it is active on all of them."""
    if not 1 <= top <= len(maps):
        raise IsthmusError(f"{len(maps)} images have no {top} first ones: pass top= from 1 on")
    positive = np.maximum(maps, 0)
    means = positive.mean(1)
    images = np.argsort(-means, axis=0, kind="stable")[:top].T
    values = positive[images, :, np.arange(maps.shape[2])[:, None]]
    return values, images, np.take_along_axis(means.T, images, 1).min(1) > 0


def _alike(maps: Array, regions: Array) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(maps), np.asarray(regions)
    if values.ndim != 3 or truth.ndim != 3 or truth.dtype != bool:
        raise IsthmusError(
            f"maps have the shape {values.shape} and regions {truth.shape} of {truth.dtype}: pass "
            "(images, patches, units) and bool (images, concepts, patches)"
        )
    if len(values) != len(truth) or values.shape[1] != truth.shape[2]:
        raise IsthmusError(
            f"maps of {len(values)} images of {values.shape[1]} patches have regions of "
            f"{len(truth)} images of {truth.shape[2]}: pass those of the same"
        )
    return values, truth
