"""Regions of units against those of concepts, by scikit-learn and by loops."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from isthmus.errors import IsthmusError
from isthmus.interpretation.regions import iou, region_concepts, region_scores

RNG = np.random.default_rng(0)
IMAGES, PATCHES, CONCEPTS = 60, 12, 4
REGIONS = RNG.random((IMAGES, CONCEPTS, PATCHES)) < 0.3
OTHERS = RNG.random((IMAGES, CONCEPTS, PATCHES)) < 0.3


def test_iou_is_the_jaccard_score_of_scikit_learn():
    lit, region = RNG.random((2, 20, PATCHES)) < 0.4
    expected = [jaccard_score(a, b, zero_division=0) for a, b in zip(region, lit, strict=True)]
    np.testing.assert_allclose(iou(lit, region), expected)
    assert iou(np.zeros(3, bool), np.zeros(3, bool)) == 0


def by_loops(maps, regions, unit, share, concept, top=5):
    order = sorted(range(len(maps)), key=lambda i: -np.maximum(maps[i, :, unit], 0).mean())
    scores = []
    for image in order[:top]:
        values = np.maximum(maps[image, :, unit], 0)
        scores.append(
            jaccard_score(regions[image, concept], values > share * values.max(), zero_division=0)
        )
    return np.mean(scores)


def test_concepts_and_scores_are_those_of_a_search_by_hand():
    maps = (
        RNG.normal(size=(IMAGES, PATCHES, 6))
        + 2.0 * REGIONS.transpose(0, 2, 1)[..., [0, 1, 2, 3, 0, 1]]
    )
    others = RNG.normal(size=(IMAGES, PATCHES, 6))
    shares = (0.2, 0.6)
    concepts = region_concepts(maps, REGIONS, shares=shares)
    scores = region_scores(others, OTHERS, concepts)
    for unit in range(6):
        every = {
            (share, concept): by_loops(maps, REGIONS, unit, share, concept)
            for share in shares
            for concept in range(CONCEPTS)
        }
        share, concept = max(every, key=every.get)
        assert (concepts.share[unit], concepts.concept[unit]) == (share, concept)
        assert concepts.iou[unit] == pytest.approx(every[share, concept])
        assert scores[unit] == pytest.approx(by_loops(others, OTHERS, unit, share, concept))


def test_units_that_are_the_regions_have_their_concept_and_a_score_of_one():
    order = [2, 0, 3, 1]
    units = [part.transpose(0, 2, 1)[..., order].astype(float) for part in (REGIONS, OTHERS)]
    concepts = region_concepts(units[0], REGIONS)
    assert concepts.concept.tolist() == order
    np.testing.assert_allclose(region_scores(units[1], OTHERS, concepts), 1.0)
    strangers = RNG.random((IMAGES, PATCHES, 4))
    assert region_scores(strangers, OTHERS, concepts).max() < 0.5


def test_units_that_are_seldom_active_have_no_concept():
    maps = np.zeros((IMAGES, PATCHES, 3))
    maps[:4, 0, 0] = 1.0
    maps[:5, 0, 1] = 1.0
    maps[:, :, 2] = -1.0
    concepts = region_concepts(maps, REGIONS)
    assert (concepts.concept >= 0).tolist() == [False, True, False]
    assert np.isnan(concepts.iou).tolist() == [True, False, True]
    assert np.isnan(region_scores(maps, REGIONS, concepts)).tolist() == [True, False, True]
    assert np.isnan(region_scores(np.zeros_like(maps), REGIONS, concepts)).all()


def test_what_does_not_belong_together_is_refused():
    maps = RNG.random((IMAGES, PATCHES, 2))
    with pytest.raises(IsthmusError, match="bool"):
        region_concepts(maps, REGIONS.astype(float))
    with pytest.raises(IsthmusError, match="pass those of the same"):
        region_concepts(maps[:, 1:], REGIONS)
    with pytest.raises(IsthmusError, match="61 first ones"):
        region_concepts(maps, REGIONS, top=61)
    with pytest.raises(IsthmusError, match="the same units"):
        region_scores(maps[..., :1], REGIONS, region_concepts(maps, REGIONS))
