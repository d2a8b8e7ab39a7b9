import numpy as np
import pytest

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import omes

from .grids import grid, noise


def by_hand(codes, factors, alpha, pooling, signed):
    """Loops over all pairs of rows, and the formulas written out."""
    n_latents, n_factors = codes.shape[1], factors.shape[1]
    s = np.zeros((n_latents, n_factors))
    for f in range(n_factors):
        own, partner, squares = [], [], []
        for i, row in enumerate(factors):
            differs = (factors != row).sum(1)
            mates = np.flatnonzero((differs == 1) & (factors[:, f] != row[f]))
            if len(mates):
                own.append(codes[i])
                partner.append(codes[mates].mean(0))
                squares.append((codes[mates] ** 2).mean(0))
        own, partner, squares = map(np.array, (own, partner, squares))
        covariance = (own * partner).mean(0) - own.mean(0) * partner.mean(0)
        r = covariance / np.sqrt(own.var(0) * (squares.mean(0) - partner.mean(0) ** 2))
        s[:, f] = 1 - (np.maximum(r, 0) if signed else np.abs(r))
    scores = []
    for f in range(n_factors):
        o = np.array([1 - np.abs(np.eye(n_factors)[f] - s[d]).mean() for d in range(n_latents)])
        m = np.array([1 - np.abs(np.eye(n_latents)[d] - s[:, f]).mean() for d in range(n_latents)])
        if pooling == "avg":
            o, m = (np.average(each * s[:, f], weights=s[:, f]) for each in (o, m))
        else:
            o, m = (each * s[:, f]).max(), (m * s[:, f]).max()
            o = o if np.isscalar(o) else o.max()
        scores.append(alpha * o + (1 - alpha) * m)
    return scores


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_by_hand(alpha, signed):
    rng = np.random.default_rng(0)
    factors = grid(2, 3, 3, repeats=2)[rng.permutation(36)[:29]]  # A grid with holes.
    codes = factors @ rng.normal(size=(3, 4)) + 0.3 * rng.normal(size=(29, 4))
    got = omes(codes, factors, alpha=alpha, signed=signed)
    want = by_hand(codes, factors, alpha, "avg", signed)
    np.testing.assert_allclose(got.per, want, atol=1e-9)
    assert got.value == pytest.approx(np.mean(want))


def test_the_largest_by_hand():
    rng = np.random.default_rng(1)
    factors = grid(3, 3, repeats=2)
    codes = factors @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(18, 3))
    got = omes(codes, factors, pooling="max", alpha=1)
    assert (got.per > omes(codes, factors, alpha=1).per).all()
    assert omes(factors, factors, pooling="max").value == pytest.approx(1)


def test_a_merged_code_overlaps_and_a_copied_one_encodes_twice():
    factors = grid(4, 4, repeats=2)
    merged = omes(factors.sum(axis=1), factors, alpha=1)
    # One latent that moves with both of two factors: o is 1/2 for each.
    moved = 1 - by_correlation(factors)
    assert merged.value == pytest.approx((1 - (moved_gap(moved)) / 2) * moved, abs=1e-9)
    copied = omes(factors[:, [0, 0, 1]], factors, alpha=0)
    np.testing.assert_allclose(copied.per, [2 / 3, 1], atol=1e-9)
    assert omes(factors[:, [0, 0, 1]], factors, alpha=1).value == pytest.approx(1)


def by_correlation(factors):
    """Correlation of the sum of two factors of four values over pairs that differ in one."""
    pairs = [(a + c, b + c) for a in range(4) for b in range(4) for c in range(4) if a != b]
    return max(0, np.corrcoef(np.transpose(pairs))[0, 1])


def moved_gap(moved):
    return abs(1 - moved) + moved


def test_the_published_form_calls_binary_factors_unmoved():
    binary = grid(2, 2, repeats=5)
    assert omes(binary, binary, signed=False).value == pytest.approx(0, abs=1e-9)
    assert omes(binary, binary).value == pytest.approx(1)
    # Of K values the pairs correlate by -1 / (K - 1), and S S is what is left of 1.
    five = grid(5, 5)
    assert omes(five, five, signed=False).value == pytest.approx(0.75 * (1 - 0.25 / 2), abs=1e-9)


def test_factors_without_pairs_are_left_out():
    factors = np.stack([np.arange(8) % 2, np.arange(8) // 4, np.arange(8) % 2], axis=1)
    got = omes(noise(8), factors)
    assert np.isnan(got.per).tolist() == [True, False, True]
    assert "2 factors" in got.note
    alone = omes(noise(4), np.stack([np.arange(4)] * 2, axis=1))
    assert np.isnan(alone.value)


def test_errors():
    with pytest.raises(IsthmusError, match="did you mean 'avg'"):
        omes(noise(9), noise(9), pooling="average")
    with pytest.raises(IsthmusError, match="alpha is 2"):
        omes(noise(9), noise(9), alpha=2)
