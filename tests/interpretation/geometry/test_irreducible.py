import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from isthmus.errors import IsthmusError
from isthmus.interpretation.geometry import irreducibility, mixture, separability

RNG = np.random.default_rng(0)
ROWS = 8000
BIAS = 81 / (2 * ROWS * np.log(2))


def ring(n=ROWS):
    angle = RNG.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def turned(points, angle):
    return points @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_information_is_that_of_sklearn_on_the_principal_axes():
    points = turned(RNG.exponential(size=(500, 2)), 0.3) @ np.diag([1.0, 3.0])
    axes = np.linalg.eigh(np.cov(points.T))[1]
    cells = [np.digitize(c, np.linspace(c.min(), c.max(), 11)[1:-1]) for c in (points @ axes).T]
    expected = mutual_info_score(*cells) / np.log(2)
    assert separability(points, angles=1).value == pytest.approx(expected)
    found = separability(points, angles=30)
    assert found.per[0] == pytest.approx(expected)
    assert found.value == found.per.min() < expected


def test_independent_coordinates_are_found_at_whatever_angle():
    square = RNG.uniform(-1, 1, (ROWS, 2))
    assert separability(square).value < 2 * BIAS
    assert separability(turned(square, 0.77)).value < 0.02
    wide = RNG.uniform(-1, 1, (ROWS, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    assert separability(wide).value > 5 * BIAS


def test_a_circle_is_neither_separable_nor_a_mixture():
    found = irreducibility(ring())
    assert found.separability.value > 1.0
    # A line at distance h from the middle cuts off two short arcs; none holds a quarter of it.
    assert found.mixture.value < 0.25
    assert found.score == pytest.approx((1 - found.mixture.value) * found.separability.value)
    assert found.score > 4 * irreducibility(RNG.standard_normal((ROWS, 2))).score


def test_the_mixture_index_of_a_gaussian_is_its_mass_near_zero():
    # P(|z| < 0.1) for a standard normal; offsets only move the slab away from the peak.
    points = RNG.standard_normal((40_000, 2)) @ np.diag([1.0, 5.0])
    assert mixture(points).value == pytest.approx(0.0797, abs=0.012)


def test_a_mixture_of_two_lines_lies_half_on_one():
    along = RNG.uniform(0.5, 1.5, ROWS)
    which = RNG.random(ROWS) < 0.6
    points = np.where(which[:, None], [1.0, 0.0], [0.0, 1.0]) * along[:, None]
    assert mixture(points).value == pytest.approx(which.mean(), abs=0.02)
    assert mixture(turned(points, 0.5) + 7.0).value >= which.mean() - 0.02
    assert irreducibility(points).score < irreducibility(ring()).score / 2


def test_one_line_is_all_mixture_whatever_its_direction():
    line = np.outer(RNG.standard_normal(1000), [0.6, 0.8]) + 3.0
    found = irreducibility(line)
    assert found.mixture.value == 1.0
    assert found.score == 0.0


def test_scale_and_place_do_not_matter_and_tensors_will_do():
    points = ring(2000)
    plain, moved = irreducibility(points), irreducibility(torch.from_numpy(1e3 * points + 5.0))
    assert moved.separability.value == pytest.approx(plain.separability.value, abs=0.02)
    assert moved.mixture.value == pytest.approx(plain.mixture.value, abs=0.01)


@pytest.mark.parametrize("bad", [np.zeros((5, 3)), np.zeros((1, 2)), np.zeros(4)])
def test_planes_have_two_coordinates(bad):
    with pytest.raises(IsthmusError, match=r"pass \(rows, 2\)"):
        separability(bad)


def test_nan_is_refused():
    with pytest.raises(IsthmusError, match="NaN"):
        mixture(np.array([[0.0, np.nan], [1.0, 2.0]]))


def seven_points():
    angle = 2 * np.pi * RNG.integers(0, 7, 2000) / 7
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * RNG.standard_normal((2000, 2))


def two_lines():
    which = RNG.random(2000) < 0.5
    return np.where(which[:, None], [1.0, 0.2], [-0.3, 1.0]) * RNG.uniform(0, 1, (2000, 1))


@pytest.mark.parametrize("made", [seven_points, two_lines])
def test_indices_are_those_of_their_definitions(made):
    """Histograms over a whole turn, and lines drawn at random, in plain NumPy."""
    points = made()
    information = []
    for angle in np.linspace(0, 2 * np.pi, 100):
        joint = np.histogram2d(*turned(points, angle).T, bins=10)[0] / len(points)
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        some = joint > 0
        information.append((joint[some] * np.log2(joint[some] / apart[some])).sum())
    assert separability(points).value == pytest.approx(min(information), abs=0.05)

    def share(direction, offset):
        along = points @ direction + offset
        return (np.abs(along) < 0.1 * np.sqrt((along**2).mean())).mean()

    drawn = max(share(RNG.standard_normal(2), RNG.uniform(-2, 2)) for _ in range(5000))
    assert mixture(points).value == pytest.approx(drawn, abs=0.03)
