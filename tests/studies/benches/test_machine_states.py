"""Which code tells a state, and which number does at the same recall: loops, and known cases."""

import numpy as np
import pytest

from isthmus.studies.benches.machine_states import best_codes, precision_at_recall


def walks(rows=80, length=10, states=4, seed=0):
    return np.random.default_rng(seed).integers(states, size=(rows, length))


def test_codes_that_are_the_states_tell_them_exactly_whatever_they_are_called():
    states = walks()
    names = np.array([7, 2, 9, 0])
    noise = np.random.default_rng(1).integers(5, size=states.shape)
    best = best_codes(np.stack([noise, names[states]], 2), states, 4)
    np.testing.assert_array_equal(best.position, 1)
    np.testing.assert_array_equal(best.code, names)
    for measure in (best.reached, best.precision, best.recall):
        np.testing.assert_array_equal(measure, 1.0)


def test_a_code_is_chosen_on_the_first_half_and_measured_on_the_other():
    states, rng = walks(), np.random.default_rng(2)
    indices = (states + (rng.random(states.shape) < 0.3)) % 6
    best = best_codes(indices[..., None], states, 4)
    for state in range(4):
        scores = []
        for code in range(6):
            on, inside = indices[:40] == code, states[:40] == state
            both = (on & inside).sum()
            scores.append(2 * both / (on.sum() + inside.sum()))
        code = int(np.argmax(scores))
        on, inside = indices[40:] == code, states[40:] == state
        assert best.code[state] == code
        assert best.precision[state] == pytest.approx((on & inside).sum() / on.sum())
        assert best.recall[state] == pytest.approx((on & inside).sum() / inside.sum())
        first = (indices[:40] == code)[states[:40] == state].mean()
        assert best.reached[state] == pytest.approx(first)


def test_codes_at_random_tell_nothing():
    states = walks(rows=400)
    indices = np.random.default_rng(3).integers(3, size=(*states.shape, 1))
    best = best_codes(indices, states, 4)
    np.testing.assert_allclose(best.precision, 0.25, atol=0.05)


def test_a_number_that_is_high_or_low_at_one_state_tells_it_and_no_other():
    states, rng = walks(rows=400), np.random.default_rng(4)
    values = rng.normal(size=(*states.shape, 3))
    values[..., 1] -= 20.0 * (states == 2)
    found = precision_at_recall(values, states, np.full(4, 0.9))
    assert found[2] > 0.99
    # The others share what is left: no number tells one of them from another.
    assert (found[[0, 1, 3]] < 0.45).all()


def test_precision_at_recall_is_that_of_a_loop_over_numbers_and_signs():
    states, rng = walks(), np.random.default_rng(5)
    values = rng.normal(size=(*states.shape, 4)) + 0.8 * states[..., None] * rng.normal(size=4)
    recall = np.array([0.3, 0.5, 0.9, 1.0])
    measured = precision_at_recall(values, states, recall)
    for state in range(4):
        best = (-1.0, None)
        first, second = states[:40], states[40:]
        for number in range(4):
            for sign in (1, -1):
                v = sign * values[:40, :, number]
                thresholds = sorted(v[first == state])
                reached = [
                    t for t in thresholds if (v[first == state] >= t).mean() >= recall[state]
                ]
                on = v >= reached[-1]
                precision = (first[on] == state).mean()
                if precision > best[0] + 1e-12:
                    held = sign * values[40:, :, number] >= reached[-1]
                    best = (precision, (second[held] == state).mean())
        assert measured[state] == pytest.approx(best[1])
