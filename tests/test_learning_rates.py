"""The rule by which a learning rate takes the place of a page's: on losses that are made up."""

import math

import pytest
from benchmarks import learning_rates
from benchmarks.learning_rates import GRID, SEEDS, candidate, failed, left, sets_for, verdict


def made(better, sets=3, recipe="plain"):
    """Losses that fall from 2 to 1 at the page's rate, and lower by ``better[times]``."""
    found = {}
    for name in [*sets_for(recipe)][:sets]:
        for seed in SEEDS:
            key = f"{recipe} / {name} / {{}} / {seed}".format
            found[key("start")] = {"loss": 2.0}
            for times in GRID:
                gain = better.get(times, -0.1)
                loss = None if gain is None else 1.0 - gain * (1.0 if times != 1.0 else 0.0)
                found[key(f"{times:g}")] = {"loss": loss}
    return found


def test_a_rate_must_be_better_on_every_set_and_with_every_seed():
    results = made({3.0: 0.1, 0.3: 0.05})
    assert candidate(results, "plain") == 3.0
    assert "not confirmed" in verdict(results, "plain")
    results["plain / image / 3 / 1"] = {"loss": 1.0001}
    assert failed(results, "plain", 3.0)
    assert candidate(results, "plain") == 0.3
    results["plain / table / 0.3 / 0"] = {"loss": None}
    assert candidate(results, "plain") is None
    assert "stays" in verdict(results, "plain")


def test_a_gain_below_the_least_and_the_ends_of_the_grid_do_not_count():
    assert left(made({3.0: 0.019}), "plain") == []
    assert left(made({GRID[0]: 0.5, GRID[-1]: 0.5}), "plain") == []


def test_what_is_not_done_speaks_neither_for_nor_against():
    results = made({3.0: 0.1}, sets=2)
    assert left(results, "plain") == [3.0]
    assert candidate(results, "plain") is None
    assert "not all fits are done" in verdict(results, "plain")
    assert verdict({}, "plain") == "not trained yet"


@pytest.mark.parametrize(("full", "word"), [(0.9, "in place of"), (1.1, "not at full length")])
def test_fits_at_full_length_decide(full, word):
    results = made({3.0: 0.1})
    for name in sets_for("plain"):
        results[f"plain / {name} / 1 / default"] = {"loss": 1.0}
        results[f"plain / {name} / 3 / default"] = {"loss": full}
    assert word in verdict(results, "plain")


def test_the_page_has_every_fit_and_the_rule():
    text = learning_rates.page(made({3.0: None}))
    assert "diverged" in text
    assert "takes the place of the page's where" in text
    assert text.count("| plain |") == len(sets_for("plain")) + 1
    assert math.isclose(learning_rates.page_rate("plain"), 1e-3)
