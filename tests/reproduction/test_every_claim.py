"""Every claim as it is declared: its probe runs, and measures what decides."""

import math

import pytest

from isthmus import data
from isthmus.reproduction.judging import judge
from isthmus.reproduction.probes import one_thread, probe
from isthmus.studies import Trial, claims, get_claim
from isthmus.studies.trial import PILOT

TOO_SHORT = {"mdl-sae": "a dictionary of twenty steps misses the error that bits are read at"}
"""Claims whose quantities are undefined at the length of a probe, and why."""


def measurable(name):
    missing = [one for one in get_claim(name).needs if not data.is_name(one)]
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=f"needs {missing}"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # what peers say of few rows; runs ignore it
@pytest.mark.parametrize("name", [measurable(name) for name in sorted(claims())])
def test_a_probe_measures_what_decides(name):
    claim, trial = get_claim(name), Trial(PILOT, probing=True)
    with one_thread():
        found = claim.run(trial)
    judged = judge(claim, [found] * claim.seeds)
    decisive = [judged.primary, judged.positive, judged.negative]
    for one in (*decisive, *(premise.finding for premise in judged.premises)):
        assert name in TOO_SHORT or not math.isnan(one.estimate.mean), one.text
    if claim.tuning is not None:
        for arm in claim.tuning.arms:
            assert claim.tuning.measure in found[arm]


@pytest.mark.parametrize("name", [measurable(name) for name in ("abstopk", "sign")])
def test_the_same_code_gives_the_same_probe(name):
    assert probe(get_claim(name)) == probe(get_claim(name))
