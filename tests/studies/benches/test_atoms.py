"""Measures of atoms, of what is exactly right and of what is exactly wrong."""

import numpy as np
import pytest

from isthmus.studies.arms import Coded, Ground
from isthmus.studies.benches.atoms import MEASURES, with_atoms
from isthmus.studies.benches.planted import KnownDictionary, planted
from isthmus.studies.trial import Trial


def measured(atoms, truths):
    ground = Ground(None, None, 0, {"directions": np.asarray(truths, float)})
    subject = KnownDictionary(np.asarray(atoms, float))
    return {name: measure(subject, ground) for name, measure in MEASURES.items()}


def test_all_that_is_there_is_found_and_a_cosine_of_a_half_is_not():
    truths = np.eye(4)[:2]
    assert measured(truths, truths) == {"found": 1.0, "mean_cosine": 1.0}
    tilted = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, np.sqrt(0.75), 0.0]]
    half = measured(tilted, truths)
    assert half["found"] == 0.5
    assert half["mean_cosine"] == pytest.approx(0.75)


def test_a_planted_bench_gets_them_and_codes_without_atoms_are_refused():
    bench = with_atoms(planted(width=8, truths=8, active=2.0, rows=64, held=32))
    ground = bench.open(Trial(3))
    directions = ground.known["planted"].directions
    assert bench.measured(KnownDictionary(directions), ground, ("found",)) == {"found": 1.0}
    with pytest.raises(TypeError, match="Coded has no atoms"):
        bench.measured(Coded(np.asarray, np.asarray), ground, ("found",))
