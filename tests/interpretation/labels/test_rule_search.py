"""Rules found from examples."""

import numpy as np
import pytest

from isthmus.interpretation.labels.evidence import for_explaining
from isthmus.interpretation.labels.rule_matching import matcher_of
from isthmus.interpretation.labels.rule_search import candidates, find_rule
from isthmus.interpretation.labels.rules import Rule
from isthmus.interpretation.labels.windows import explained_latents, read_windows

from .made import after, chance, ending, folder, language, word

PLANTED = {
    "word": word("king"),
    "words": word("king", "ship", "house"),
    "after": after(" the"),
    "ending": ending("ing"),
    "both": lambda row, place: word("king")(row, place) * (after(" the")(row, place) > 0),
    "line": lambda row, place: 1.0 * (row[place] == "\n"),
    "denied": lambda row, place: word("king")(row, place) * (after(" the")(row, place) == 0),
    "never known": chance(0.03, 5),
}


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    where = folder(tmp_path_factory.mktemp("search"), list(PLANTED.values()), rows=240)
    ((_, found),) = read_windows(where, explained_latents(where, None))
    return found


def shown(windows, name, seed=0):
    latent = list(PLANTED).index(name)
    return for_explaining(windows, latent, np.random.default_rng(seed))


@pytest.mark.parametrize("name", [n for n in PLANTED if n != "never known"])
def test_planted_rules_are_found(windows, name):
    """On text that was never shown the rule fires exactly where the latent does."""
    evidence = shown(windows, name)
    rule, fit = find_rule(windows, evidence.firing, evidence.silent)
    assert fit > 0.98
    assert rule.size <= 4
    hits = []
    for row in language(50, 40, seed=99):
        for place in range(3, 40):
            hits.append((rule.fires(row, place), PLANTED[name](row, place) > 0))
    found, truth = np.array(hits).T
    assert truth.sum() > 5
    assert (found == truth).mean() > 0.99


def test_the_score_is_that_of_the_examples(windows):
    """The mean of two balanced accuracies, counted once more place by place."""
    for name in ("words", "never known"):
        evidence = shown(windows, name)
        rule, fit = find_rule(windows, evidence.firing, evidence.silent)
        right, wrong, found, alarms = [], [], [], []
        for w in evidence.firing:
            text, on = windows.texts(w), windows.values(w) > 0
            fires = np.array([rule.fires(text, p, windows.begin[w]) for p in range(len(text))])
            right += fires[on].tolist()
            wrong += fires[~on].tolist()
            found.append(fires.any())
        for w in evidence.silent:
            text = windows.texts(w)
            alarms.append(any(rule.fires(text, p, windows.begin[w]) for p in range(len(text))))
        tokens = (np.mean(right) + 1 - np.mean(wrong)) / 2
        whole = (np.mean(found) + 1 - np.mean(alarms)) / 2
        assert fit == pytest.approx((tokens + whole) / 2, abs=1e-6)


def test_candidates_hold_where_they_say(windows):
    evidence = shown(windows, "both")
    at, starts = windows.places(np.concatenate([evidence.firing, evidence.silent]))
    owner = np.repeat(np.arange(len(starts)), np.diff([*starts, len(at)]))
    fires = (owner < len(evidence.firing)) & (windows.value[at] > 0)
    found = candidates(matcher_of(windows), at, fires, owner)
    assert found.holds.shape == (len(at), len(found.literals)) == (len(at), len(found.negatable))
    for i in np.random.default_rng(0).permutation(len(found.literals))[:60]:
        one = matcher_of(windows).fires(Rule(((found.literals[i],),)), at)
        assert (found.holds[:, i] == one).all()


def test_a_latent_that_does_not_fire_has_no_rule(windows):
    silent = shown(windows, "word").silent
    assert find_rule(windows, silent[:5], silent[5:]) == (Rule(()), 0.5)


def test_a_latent_of_the_first_tokens_needs_no_silent_windows(windows):
    evidence = shown(windows, "word")
    rule, fit = find_rule(windows, evidence.firing, evidence.silent[:0])
    assert fit > 0.7
    assert rule.clauses
