"""Studies: how a page registers itself, and what it must have."""

import pytest

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.recipes import recipes
from isthmus.studies import Check, Study, Trial, get_study, studies, study
from isthmus.studies.contract import _STUDIES


def check(**options):
    return Check("it is large", lambda f: f["method"]["size"], **(options or {"at_least": 1.0}))


def about(**changes):
    plain = {
        "family": "made", "catalogue": None, "paper": "A paper", "statement": "It is large.",
        "headline": "none", "setting": "here", "arms": {"method": "the method"},
        "checks": (check(at_least=1.0, control=lambda f: 0.0),),
    }  # fmt: skip
    return {**plain, **changes}


def test_a_check_has_one_threshold():
    with pytest.raises(ValueError, match="either at_least or at_most"):
        Check("both", lambda f: 0.0, at_least=1.0, at_most=2.0)
    with pytest.raises(ValueError, match="either"):
        Check("none", lambda f: 0.0)


def test_a_check_passes_on_its_side_and_at_its_threshold():
    above, below = check(at_least=1.0), check(at_most=1.0)
    assert above.passes(1.0)
    assert above.passes(2.0)
    assert not above.passes(0.5)
    assert below.passes(1.0)
    assert below.passes(0.5)
    assert not below.passes(2.0)
    assert (above.rule, below.rule) == ("≥ 1", "≤ 1")


def test_a_budget_scales_steps_to_at_least_one():
    assert Trial(1, 0.5).steps(100) == 50
    assert Trial(1, 1e-9).steps(100) == 1


def test_a_study_without_a_control_is_refused():
    with pytest.raises(ValueError, match="no required check has a control"):
        study("uncontrolled", **about(checks=(check(),)))(lambda trial: {})
    assert "uncontrolled" not in _STUDIES


def test_results_become_numbers_and_arms_are_those_announced():
    result = Result("size", 2.0, True, None, 1, "counted")
    made = Study(name="made", experiment=lambda trial: {"method": {"size": result}}, **about())
    assert made.run(Trial(1)) == {"method": {"size": 2.0}}
    other = Study(name="made", experiment=lambda trial: {"other": {"size": 1.0}}, **about())
    with pytest.raises(ValueError, match="measured the arms"):
        other.run(Trial(1))


def test_a_missing_data_set_is_one_sentence(monkeypatch):
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    made = Study(name="made", experiment=lambda trial: {}, **about(needs=("mnist",)))
    with pytest.raises(
        IsthmusError,
        match=r"'mnist': fetch it with 'isthmus data fetch mnist', or set ISTHMUS_DATA",
    ):
        made.run(Trial(1))


def test_names_and_families_are_offered_when_misspelt():
    with pytest.raises(IsthmusError, match="did you mean 'topk'"):
        get_study("topkk")
    with pytest.raises(IsthmusError, match="did you mean 'sparse'"):
        studies("sparze")
    assert "topk" in studies("sparse")


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_page_is_complete(name):
    found = get_study(name)
    texts = (found.paper, found.statement, found.headline, found.setting, *found.arms.values())
    assert all(texts)
    assert set(found.recipes) <= set(recipes()), "a recipe that does not exist"
    assert len({one.text for one in found.checks}) == len(found.checks)
    assert found.seeds >= 3
