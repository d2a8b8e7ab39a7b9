"""When a claim holds, fails, or stays undecided."""

import math

import pytest

from isthmus.reproduction.verdict import judge, judge_check
from isthmus.studies import Check, Study


def size(arm):
    return lambda f: f[arm]["size"]


def figures(*pairs):
    return [{"method": {"size": m}, "control": {"size": c}} for m, c in pairs]


def a_study(*checks):
    return Study(
        name="made", family="made", catalogue=None, paper="p", statement="s", headline="h",
        setting="here", arms={"method": "m", "control": "c"}, checks=checks,
        experiment=lambda trial: {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([2.0, 3.0, 4.0], "holds"),
        ([0.1, 0.2, 0.3], "fails"),
        ([0.5, 2.0, 3.0], "undecided"),
        ([2.0, math.nan, 3.0], "undecided"),
    ],
)
def test_the_whole_interval_has_to_lie_on_one_side(values, verdict):
    found = judge_check(
        Check("large", size("method"), at_least=1.0), figures(*((v, 0.0) for v in values))
    )
    assert found.verdict == verdict


def test_a_control_that_passes_decides_nothing():
    check = Check("large", size("method"), at_least=1.0, control=size("control"))
    assert judge_check(check, figures((2.0, 0.0), (2.0, 0.5))).verdict == "holds"
    found = judge_check(check, figures((2.0, 2.0), (2.0, 3.0)))
    assert (found.verdict, found.control_fails) == ("undecided", False)
    # A method that fails has failed, whatever the control does.
    assert judge_check(check, figures((0.0, 2.0))).verdict == "fails"


def test_a_control_on_both_sides_decides_nothing():
    check = Check("large", size("method"), at_least=1.0, control=size("control"))
    assert judge_check(check, figures((2.0, 0.0), (2.0, 3.0))).verdict == "undecided"


def test_all_required_checks_decide_and_others_do_not():
    large = Check("large", size("method"), at_least=1.0)
    small = Check("small", size("method"), at_most=1.0)
    mild = Check("small", size("method"), at_most=1.0, required=False)
    some = figures((2.0, 0.0), (3.0, 0.0))
    assert judge(a_study(large), some)[0] == "holds"
    assert judge(a_study(large, small), some)[0] == "fails"
    assert judge(a_study(large, mild), some)[0] == "holds"


def test_a_division_by_zero_is_undefined_not_an_error():
    check = Check("ratio", lambda f: f["method"]["size"] / f["control"]["size"], at_least=1.0)
    assert judge_check(check, figures((1.0, 0.0))).verdict == "undecided"


def test_nothing_is_decided_where_a_premise_is_not_met():
    large = Check("large", size("method"), at_least=1.0)
    premise = Check("still", size("control"), at_most=0.1, premise=True)
    met, unmet = figures((2.0, 0.0), (3.0, 0.0)), figures((0.2, 0.0), (0.3, 0.2))
    assert judge(a_study(large, premise), met)[0] == "holds"
    assert judge(a_study(large), unmet)[0] == "fails"
    assert judge(a_study(large, premise), unmet)[0] == "undecided"
    with pytest.raises(ValueError, match="has to be required"):
        Check("still", size("control"), at_most=0.1, premise=True, required=False)
