"""The classifier that studies share."""

import numpy as np
import torch

from isthmus.studies.benches.classifier import CLASSES, FEATURES, accuracy, classifier, features
from isthmus.studies.trial import Trial

RNG = np.random.default_rng(0)
LABELS = RNG.integers(CLASSES, size=400)
IMAGES = np.zeros((400, 1, 14, 14), np.float32)
IMAGES[np.arange(400), 0, LABELS] = 1.0
"""A bright line, at the height of the class."""


def test_it_learns_what_can_be_seen_and_draws_from_its_seed_alone():
    state = torch.random.get_rng_state()
    trunk, head = classifier(IMAGES, LABELS, Trial(3), 40)
    again = classifier(IMAGES, LABELS, Trial(3), 40)[0]
    other = classifier(IMAGES, LABELS, Trial(4), 40)[0]
    assert torch.equal(state, torch.random.get_rng_state())
    units = features(trunk, IMAGES)
    assert units.shape == (400, FEATURES)
    assert units.min() == 0.0
    assert np.array_equal(units, features(again, IMAGES))
    assert not np.array_equal(units, features(other, IMAGES))
    assert accuracy(head, units, LABELS) > 0.9


def test_without_a_step_it_is_as_it_starts():
    trunk, head = classifier(IMAGES, LABELS, Trial(3), 0)
    assert accuracy(head, features(trunk, IMAGES), LABELS) < 0.5
