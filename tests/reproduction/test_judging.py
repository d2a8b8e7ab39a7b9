"""From figures to a word, and what keeps one from being given."""

import math

import numpy as np
import pytest
from claims_made import a_claim, figures, seeds
from scipy import stats

from isthmus.evaluation.intervals import student
from isthmus.reproduction.judging import judge
from isthmus.studies import Premise, Primary, Published, Secondary, quantity, ratio, value

UP = seeds([1.0, 1.1, 0.9, 1.2, 0.8])
DOWN = seeds([-0.5, -0.6, -0.4, -0.7, -0.3])
BOTH = seeds([0.5, -0.6, 0.4, -0.7, 0.3])
FLAT = {0.5: figures(method=2.0), 1.0: figures(method=2.1)}


def test_the_interval_is_students_of_the_paired_values():
    found = judge(a_claim(), UP, FLAT).primary
    wanted = stats.t.interval(0.95, 4, np.mean(found.seeds), stats.sem(found.seeds))
    assert (found.estimate.low, found.estimate.high) == pytest.approx(wanted)
    logs = np.log([2.0, 3.0, 4.0])
    wanted = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    ratio_of = student([2.0, 3.0, 4.0], logarithmic=True)
    assert (ratio_of.low, ratio_of.high) == pytest.approx(tuple(wanted))
    assert ratio_of.mean == pytest.approx(24.0 ** (1 / 3))


@pytest.mark.parametrize(
    ("found", "word"),
    [(UP, "supported"), (DOWN, "contradicted"), (BOTH, "not resolved")],
)
def test_the_word_is_the_side_of_the_whole_interval(found, word):
    flat = {0.5: found[0], 1.0: found[0]}
    judged = judge(a_claim(), found, flat)
    assert (judged.word, judged.reasons) == (word, [])


def test_a_missed_premise_leaves_it_untested_whatever_the_side():
    premise = Premise(value("size", "other"), above=3.0, why="the rival has been trained")
    for found in (UP, DOWN):
        judged = judge(a_claim(premises=(premise,)), found, FLAT)
        assert judged.word == "not testable here"
        assert judged.reasons[0] == "premise missed: size of other 1, needed > 3"
    met = Premise(value("size", "other"), above=0.5)
    assert judge(a_claim(premises=(met,)), UP, FLAT).word == "supported"


def test_a_missed_positive_and_a_passed_negative_control_leave_it_untested():
    missed = judge(a_claim(), seeds([1.0, 1.1, 0.9, 1.2, 0.8], best=0.5), FLAT)
    assert missed.word == "not testable here"
    assert missed.reasons[0].startswith("the positive control is missed: -0.5")
    passing = [{**one, "null": {"size": 1.5 + 0.01 * i}} for i, one in enumerate(UP)]
    passed = judge(a_claim(), passing, FLAT)
    assert passed.word == "not testable here"
    assert "the negative control passes" in passed.reasons[0]


def test_an_undefined_control_could_not_fail():
    undefined = [{**one, "null": {"size": math.nan}} for one in UP]
    judged = judge(a_claim(), undefined, FLAT)
    assert judged.word == "not testable here"
    assert judged.reasons == ["the negative control is undefined, so it could not fail"]


def test_no_effect_at_all_is_not_the_contrary():
    none = [{**one, "method": one["other"], "extra": {"size": i}} for i, one in enumerate(UP)]
    judged = judge(a_claim(), none, {0.5: none[0], 1.0: none[0]})
    assert (judged.word, judged.primary.side) == ("not resolved", "not resolved")


def test_seeds_that_measure_the_same_are_no_seeds():
    judged = judge(a_claim(), [UP[0]] * 5, FLAT)
    assert judged.word == "not testable here"
    told = "all seeds measured the same: the experiment does not depend on its seed"
    assert told in judged.reasons


def test_a_curve_that_is_not_finite_does_not_say_that_arms_have_converged():
    for half, full in ((math.inf, 1.0), (1.0, math.inf), (math.inf, math.inf)):
        curve = {0.5: figures(method=half), 1.0: figures(method=full)}
        assert "not known" in judge(a_claim(), UP, curve).reasons[0]


def test_too_few_seeds_resolve_nothing():
    judged = judge(a_claim(), UP[:4], FLAT)
    assert (judged.word, judged.reasons) == ("not resolved", ["4 of 5 seeds"])


def test_arms_that_may_yet_change_sides_are_told():
    closing = {0.5: figures(method=3.5), 1.0: figures(method=2.0)}  # 2.5, then 1.0: next -0.5
    judged = judge(a_claim(), UP, closing)
    assert judged.word == "not testable here"
    assert "from 2.5 to 1, and another doubling would carry it to -0.5" in judged.reasons[0]
    growing = {0.5: figures(method=1.5), 1.0: figures(method=2.0)}
    assert judge(a_claim(), UP, growing).word == "supported"
    assert judge(a_claim(), UP, None).word == "supported"  # other budgets have no curve
    assert "not known" in judge(a_claim(), UP, {1.0: figures()}).reasons[0]
    rising = {0.5: figures(method=0.1), 1.0: figures(method=0.8)}
    assert judge(a_claim(), DOWN, rising).word == "not testable here"


def test_ratios_are_carried_on_in_the_logarithm():
    main = Primary(ratio("size", "method", to="other"), below=1.0, positive="best", negative="null")
    made = [
        {a: {"size": s * (1 + 0.01 * i)} if a == "method" else {"size": s} for a, s in
         {"method": 0.7, "other": 1.0, "best": 0.1, "null": 2.0}.items()}
        for i in range(5)
    ]  # fmt: skip
    made = [{**one, "best": {"size": 0.1 + 0.001 * i}} for i, one in enumerate(made)]
    curve = {0.5: figures(method=0.4), 1.0: figures(method=0.7)}  # next 1.25
    judged = judge(a_claim(primary=main), made, curve)
    assert judged.word == "not testable here"
    assert "carry it to 1.249" in judged.reasons[0]


@pytest.mark.parametrize(
    ("published", "beside"),
    [(1.05, "as published"), (3.0, "smaller"), (0.2, "larger"), (-1.0, "opposite")],
)
def test_the_effect_stands_beside_the_published_one(published, beside):
    main = a_claim().primary
    told = Primary(
        main.quantity, main.positive, main.negative, above=0.0,
        published=Published(published, "table 1"),
    )  # fmt: skip
    assert judge(a_claim(primary=told), UP, FLAT).primary.beside == beside


def test_secondary_checks_change_nothing():
    other = Secondary(value("size", "other"), above=2.0, source="ours")
    judged = judge(a_claim(secondary=(other,)), UP, FLAT)
    assert judged.word == "supported"
    assert judged.secondary[0].side == "no"


def test_what_is_undefined_is_not_testable():
    main = Primary(
        quantity("undefined", lambda f: 0.0 / 0.0), above=0.0,
        positive=quantity("ten", lambda f: 10.0), negative=quantity("none", lambda f: -1.0),
    )  # fmt: skip
    judged = judge(a_claim(primary=main), UP, FLAT)
    assert judged.word == "not testable here"
    assert judged.reasons == ["the quantity is undefined for a seed"]
