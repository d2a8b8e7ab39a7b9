"""The bench of images: pixels, principal components, and classifiers on codes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import data
from isthmus.studies import Trial
from isthmus.studies.arms import Coded, Ground
from isthmus.studies.benches.images import LEAST, MEASURES, images, pca, pixels, prepared


@pytest.fixture(scope="module")
def ground():
    found = load_digits()
    rows = (found.images / 16.0).astype(np.float32)[:, None]
    known = {"labels": found.target[:600], "truth": found.target[1200:]}
    return Ground(rows[:1200], rows[1200:], 0, known)


def test_images_become_pixels_between_0_and_1():
    made = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    assert prepared(made).shape == (2, 1, 28, 28)
    assert prepared(made, flat=True).shape == (2, 784)
    half = prepared(made, 14)
    assert half.shape == (2, 1, 14, 14)
    wanted = made[1, 2:4, 4:6].astype(float).mean() / 255
    assert half[1, 0, 1, 2] == pytest.approx(wanted)


def test_principal_components_are_sklearns(ground):
    subject = pca(5).make({}, ground, Trial(0))
    flat = ground.rows.reshape(len(ground.rows), -1)
    fitted = PCA(5).fit(flat)
    held = ground.held.reshape(len(ground.held), -1)
    wanted = np.square(held - fitted.inverse_transform(fitted.transform(held))).sum(1).mean()
    assert MEASURES["squared_error"](subject, ground) == pytest.approx(wanted, rel=1e-4)
    assert subject.reconstruct(ground.held).shape == ground.held.shape


def test_a_classifier_errs_less_on_pixels_than_on_noise_and_with_more_labels(ground):
    known = pixels().make({}, ground, Trial(0))
    rng = np.random.default_rng(0)
    noise = Coded(lambda rows: rng.standard_normal((len(rows), 5)), lambda codes: codes)
    assert MEASURES["probe_error"](known, ground) < 15.0
    assert MEASURES["probe_error"](noise, ground) > 60.0
    fewer = MEASURES["probe_error_quarter"](known, ground)["probe_error_quarter"]
    assert fewer > MEASURES["probe_error"](known, ground)
    assert MEASURES["knn_error"](known, ground) < 15.0
    assert MEASURES["fvu"](known, ground) == 0.0
    assert MEASURES["dead_share"](known, ground) < 0.2


def test_each_seed_has_its_own_rows_with_their_classes_and_a_probe_few_labels(monkeypatch):
    # The class of an image is the byte of all its pixels.
    classes = np.random.default_rng(0).integers(0, 10, 5000)
    rows = np.broadcast_to(classes[:, None, None], (5000, 28, 28)).astype(np.uint8)
    stored = data.Data("made", rows, rows[:1000], classes, classes[:1000])
    monkeypatch.setattr(data, "load", lambda name: stored)
    bench = images("made", rows=4000, held=800, labelled=900, side=14)
    first, other, few = (
        bench.open(trial) for trial in (Trial(11), Trial(12), Trial(11, probing=True))
    )
    for one in (first, other, few):
        seen = np.rint(one.rows[:, 0, 0, 0] * 255).astype(int)
        assert (seen == one.known["classes"]).all()
        assert (np.rint(one.held[:, 0, 0, 0] * 255) == one.known["truth"]).all()
        assert (one.known["labels"] == one.known["classes"][: len(one.known["labels"])]).all()
    assert first.rows.shape == (4000, 1, 14, 14)
    assert [len(one.known["labels"]) for one in (first, few)] == [900, LEAST]
    assert [len(one.held) for one in (first, few)] == [800, LEAST]
    assert (first.known["classes"] != other.known["classes"]).any()
