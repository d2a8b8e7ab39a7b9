"""What may decide: thresholds have a source, and none of them is ours."""

import pytest

from isthmus.studies import Primary, Secondary, less, quantity, ratio


def primary(**changes):
    plain = {"quantity": ratio("x", "a", to="b"), "positive": "c", "negative": "d", "below": 1.0}
    return Primary(**{**plain, **changes})


def test_a_check_has_one_side():
    with pytest.raises(ValueError, match="one side"):
        primary(above=1.0).threshold  # noqa: B018
    with pytest.raises(ValueError, match="one side"):
        primary(below=None)


def test_a_threshold_decides_only_with_its_place():
    with pytest.raises(ValueError, match=r"0\.9 is not its null: say whose"):
        primary(below=0.9)
    with pytest.raises(ValueError, match="of our own decides nothing"):
        primary(below=0.9, source="ours", place="here")
    with pytest.raises(ValueError, match=r"say where 0\.9 stands"):
        primary(below=0.9, source="paper")
    assert primary(below=0.9, source="paper", place="table 1").threshold.number == 0.9


def test_a_best_of_does_not_decide():
    def worst(figures):
        return max(one["x"] for one in figures.values())

    worst.__module__ = "isthmus.studies.made"
    with pytest.raises(ValueError, match="best-of or a worst-of"):
        primary(quantity=quantity("worst", worst), below=0.0)


def test_sides_are_strict_and_told():
    above, below = primary(quantity=less("x", "a", "b"), below=None, above=0.0), primary()
    assert (above.threshold.rule, below.threshold.rule) == ("> 0", "< 1")
    assert above.threshold.passes(0.1)
    assert not above.threshold.passes(0.0)
    assert below.threshold.passes(0.9)
    assert not below.threshold.passes(1.0)


def test_a_control_is_an_arm_or_a_quantity():
    own = ratio("x", "b", to="d")
    found = primary(negative=own)
    assert found.control("negative") is own
    assert found.control("positive").text == "x of c divided by that of b"


def test_a_secondary_threshold_says_whose_it_is():
    with pytest.raises(ValueError, match="say whose"):
        Secondary(ratio("x", "a", to="b"), below=0.9)
    assert Secondary(ratio("x", "a", to="b"), below=0.9, source="ours").threshold.number == 0.9
