import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from isthmus.studies.interpret import modular
from isthmus.studies.interpret.modular import CYCLES, PLACE, Circle


def asked(cycle="year", rows=64):
    return modular.questions(cycle, rows, torch.Generator().manual_seed(0))


def circle_rows(size=7, frequency=2, width=10, seed=0, rows=500):
    """Days on a circle of radius 3 in a random plane, with noise, and their numbers."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, size, rows)
    plane = np.linalg.qr(rng.standard_normal((width, 2)))[0].T
    angle = 2 * np.pi * frequency * day / size
    x = 3 * np.stack([np.cos(angle), np.sin(angle)], 1) @ plane + 0.01 * rng.standard_normal(
        (rows, width)
    )
    return x + 5.0, day, plane


@pytest.mark.parametrize("cycle", CYCLES)
def test_answers_count_forward(cycle):
    one = asked(cycle)
    first, size = one.first, CYCLES[cycle]
    word, offset, _ = (one.tokens - torch.tensor([32, 18, 0])).T
    day = word // modular.SPELLINGS - first
    assert bool(((day >= 0) & (day < size) & (offset >= 1) & (offset <= 12)).all())
    assert bool((one.answer() == first + (day + offset) % size).all())
    other = (one.day + 3) % size
    moved = one.about(other)
    assert bool((moved.answer() == one.answer(other)).all())
    again = moved.tokens[:, PLACE] - 32
    assert bool((again // modular.SPELLINGS == first + other).all())
    assert bool((again % modular.SPELLINGS == word % modular.SPELLINGS).all())
    assert int(one.tokens.max()) < modular.SHAPE.vocabulary


def test_spellings_are_those_asked_for():
    generator = torch.Generator().manual_seed(1)
    few = modular.questions("week", 200, generator, range(2, 4))
    assert set(((few.tokens[:, PLACE] - 32) % modular.SPELLINGS).tolist()) == {2, 3}


def test_answers_heard_are_right_most_often():
    one = asked(rows=4000)
    heard = modular._heard(one, torch.Generator().manual_seed(2), modular.SPREAD)
    off = (heard - one.answer()) % one.size
    shares = [float((off == shift % one.size).double().mean()) for shift in range(-2, 3)]
    assert shares == pytest.approx([1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16], abs=0.03)
    assert sum(shares) == pytest.approx(1.0)
    exact = modular._heard(one, torch.Generator().manual_seed(2), 0)
    assert torch.equal(exact, one.answer())


@pytest.mark.parametrize("rows", [500, 50_000])
def test_a_circle_is_found_with_its_frequency(rows):
    x, day, plane = circle_rows(rows=rows)
    circle = Circle.fit(x, day, 7)
    assert circle.frequency == 2
    assert circle.r2(x, day) > 0.99
    assert circle.share(x) > 0.99
    # Least squares leans towards each direction of mere noise by about 1 / sqrt(rows), however
    # small the noise: the error that it explains by chance is as small.
    found, true = circle.plane.T @ circle.plane, plane.T @ plane
    np.testing.assert_allclose(found, true, atol=3 / np.sqrt(rows))


def test_a_probe_is_least_squares_in_the_principal_components():
    """The library's PCA and regression, on more components than there are in the plane."""
    x, day, _ = circle_rows(rows=300)
    x = x + np.random.default_rng(1).standard_normal((300, 10)) * np.linspace(0.1, 2.0, 10)
    circle = Circle.fit(x, day, 7)
    inside = PCA(modular.COMPONENTS).fit(x)
    goal = np.stack([f(2 * np.pi * 2 * day / 7) for f in (np.cos, np.sin)], 1)
    probe = LinearRegression().fit(inside.transform(x), goal)
    said = probe.predict(inside.transform(x)) - probe.intercept_
    np.testing.assert_allclose((x - circle.mean) @ circle.plane.T @ circle.read, said, atol=1e-9)
    # The plane holds all that the probe reads, and a point on the circle is the nearest such.
    weight = probe.coef_ @ inside.components_
    np.testing.assert_allclose(weight @ circle.plane.T @ circle.plane, weight, atol=1e-9)
    np.testing.assert_allclose(
        circle.coordinates(day) @ circle.plane, goal @ np.linalg.pinv(weight).T, atol=1e-9
    )


def test_only_frequencies_that_tell_days_apart_are_tried():
    x, day, _ = circle_rows(size=12, frequency=3)
    assert Circle.fit(x, day, 12).frequency in (1, 5)
    assert Circle.fit(x, day, 12).r2(x, day) < 0.5
    any_circle = Circle.fit(x, day, 12, every=True)
    assert any_circle.frequency == 3
    assert any_circle.r2(x, day) > 0.99


def test_edits_put_a_day_on_the_circle():
    x, day, _ = circle_rows()
    circle = Circle.fit(x, day, 7)
    to = (day + 1) % 7
    whole = torch.zeros(500, 3, 10)
    only = circle.only(to)(whole)[:, PLACE].double().numpy()
    kept = circle.moved(to, x)(whole)[:, PLACE].double().numpy()
    for new in (only, kept):
        assert circle.r2(new, to) == pytest.approx(1.0, abs=1e-6)
    off = np.eye(10) - circle.plane.T @ circle.plane
    np.testing.assert_allclose(kept @ off, x @ off, atol=1e-5)
    np.testing.assert_allclose(only @ off, np.tile(circle.mean @ off, (500, 1)), atol=1e-5)
    other = np.linalg.qr(np.random.default_rng(3).standard_normal((10, 2)))[0].T
    stray = circle.only(to, other)(whole)[:, PLACE].double().numpy()
    np.testing.assert_allclose(
        np.linalg.norm(stray - circle.mean, axis=1), np.linalg.norm(only - circle.mean, axis=1),
        rtol=1e-4,
    )  # fmt: skip


def test_a_patch_of_the_whole_activation_answers_for_the_other_day():
    model, one = modular.untrained(0), asked()
    other = (one.day + 1) % one.size
    donor = one.about(other)
    with torch.no_grad():
        said = model(donor.tokens)[:, -1].argmax(1)
    patch = modular.replaced(modular.days_of(model, donor))
    expected = float((said == one.answer(other)).double().mean())
    assert modular.accuracy(model, one, other, patch) == expected
    again = modular.replaced(modular.days_of(model, one))
    assert modular.accuracy(model, one, one.day, again) == modular.accuracy(model, one, one.day)


def test_training_is_a_function_of_the_seed():
    first, second, other = (modular.trained(2, seed) for seed in (0, 0, 1))
    assert torch.equal(first.embed.weight, second.embed.weight)
    assert not torch.equal(first.embed.weight, other.embed.weight)
    assert not torch.equal(first.embed.weight, modular.untrained(0).embed.weight)
