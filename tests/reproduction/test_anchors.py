"""Published numbers: that they point to what a study measures, and how they are set beside it."""

from pathlib import Path

import pytest

from isthmus.reproduction import anchors as anchors_module
from isthmus.reproduction.anchors import ALL, anchors_page
from isthmus.studies import get_study
from isthmus.studies.variational import iwae


@pytest.mark.parametrize("anchors", ALL, ids=lambda one: one.study)
def test_every_number_has_an_arm_of_its_study(anchors):
    arms = get_study(anchors.study).arms
    assert {number.arm for number in anchors.numbers} <= set(arms)


def results(*values):
    arms = ("autoencoder", "pca")
    trials = [{"figures": {arm: {"squared_error": v} for arm in arms}} for v in values]
    return [{"name": "plain", "trials": trials}, {"name": "no anchor", "trials": []}]


def test_mean_range_and_gap():
    page = anchors_page(results(9.0, 8.0))
    assert "| autoencoder | 3 | 8.5 (8 to 9) | +5.5 |" in page
    assert "| PCA | 13.87 | 8.5 (8 to 9) | -5.37 |" in page
    assert "2 seeds" in page


def test_a_single_value_has_no_range():
    assert "| autoencoder | 3 | 3 | +0 |" in anchors_page(results(3.0))


def test_what_has_no_published_number_has_no_gap():
    arms = {number.arm for anchors in ALL if anchors.study == "pae" for number in anchors.numbers}
    found = [{"name": "pae", "trials": [{"figures": {arm: {"auroc": 0.5} for arm in arms}}]}]
    page = anchors_page(found)
    assert "| VAE |  | 0.5 |  |" in page
    assert "| PCA | 0.781 | 0.5 | -0.281 |" in page


def test_only_what_was_run_is_shown():
    page = anchors_page(results(3.0))
    assert page.count("\n## ") == 1


def test_a_published_number_stands_once():
    """The study's own, not another copy of them."""
    (found,) = (anchors for anchors in ALL if anchors.study == "iwae")
    assert {one.arm: one.published for one in found.numbers} == iwae.PUBLISHED
    text = Path(anchors_module.__file__).read_text()
    assert not any(f"{number:g}" in text for number in iwae.PUBLISHED.values())
