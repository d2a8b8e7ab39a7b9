"""Published numbers beside measured ones."""

import pytest
from claims_made import a_claim, figures

from isthmus.reproduction.anchors_page import anchors_page
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import Anchor, Anchors, claims

NUMBERS = Anchors(
    "Sizes", "metres", "A paper, table 1", "Smaller here",
    (Anchor("the method", 3.0, "method", "size"), Anchor("its rival", None, "other", "size")),
)  # fmt: skip


def test_each_number_stands_beside_the_published_one():
    trials = [TrialResult(11 + i, 1.0, 1.0, figures(method=2.0 + i)) for i in range(2)]
    page = anchors_page([Outcome(a_claim(anchors=(NUMBERS,)), 1.0, trials=trials).to_dict()])
    assert "Metres. Published: A paper, table 1. Here: `isthmus reproduce made`" in page
    assert "| the method | 3 | 2.5 (2 to 3) | -0.5 |" in page
    assert "| its rival |  | 1 |  |" in page


def test_claims_without_numbers_or_results_have_no_section():
    plain = Outcome(a_claim(), 1.0, trials=[TrialResult(11, 1.0, 1.0, figures())]).to_dict()
    unrun = Outcome(a_claim(anchors=(NUMBERS,)), 1.0).to_dict()
    assert "##" not in anchors_page([plain, unrun])


@pytest.mark.parametrize("name", [name for name, one in claims().items() if one.anchors])
def test_numbers_belong_to_arms_that_there_are(name):
    one = claims()[name]
    arms = {number.arm for anchors in one.anchors for number in anchors.numbers}
    assert arms <= set(one.arms)
