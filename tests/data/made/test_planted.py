import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.anatomy import Source
from isthmus.data import Planted, PlantedSource
from isthmus.data.made import counter
from isthmus.errors import IsthmusError

ROWS = 20_000


def fired(planted, n=ROWS, seed=0):
    return planted.sample(n, seed)[1].toarray() > 0


@pytest.mark.parametrize("profile", ["uniform", "log", "zipf"])
def test_truths_fire_as_often_as_stated(profile):
    planted = Planted(16, 60, 3.0, frequencies=profile)
    assert planted.frequencies.sum() == pytest.approx(3.0)
    counts = fired(planted).sum(0)
    # Exact binomial tails, which the least likely of 60 truths stays well within.
    law = stats.binom(ROWS, planted.frequencies)
    assert np.minimum(law.cdf(counts), law.sf(counts - 1)).min() > 1e-5


def test_profiles_have_their_shapes():
    log = Planted(8, 10, 1.0, frequencies="log").frequencies
    assert log[0] / log[-1] == pytest.approx(20)
    np.testing.assert_allclose(log[1:] / log[:-1], log[1] / log[0])
    zipf = Planted(8, 10, 1.0, frequencies="zipf").frequencies
    np.testing.assert_allclose(zipf * np.arange(1, 11), zipf[0])
    own = np.linspace(0, 1, 10)
    np.testing.assert_array_equal(Planted(8, 10, frequencies=own).frequencies, own)
    fires = fired(Planted(8, 10, frequencies=own), 500)
    assert not fires[:, 0].any()
    assert fires[:, -1].all()


def test_truths_fire_independently():
    fires = fired(Planted(8, 30, 6.0)).astype(float)
    correlation = np.corrcoef(fires.T)[np.triu_indices(30, 1)]
    assert stats.kstest(correlation * np.sqrt(ROWS), "norm").pvalue > 1e-3


def test_neighbouring_rows_are_independent():
    fires = fired(Planted(8, 50, 10.0))
    both = (fires[1:] & fires[:-1]).mean()
    assert both == pytest.approx(0.2**2, abs=5 * 0.2 / np.sqrt(50 * ROWS))


@pytest.mark.parametrize(
    ("magnitudes", "law"),
    [
        ("uniform", stats.uniform(0.5, 1)),
        ((2.0, 5.0), stats.uniform(2, 3)),
        ("exponential", stats.expon()),
        ("lognormal", stats.lognorm(0.5)),
    ],
)
def test_magnitudes_follow_their_law(magnitudes, law):
    _, coefficients = Planted(8, 30, 3.0, magnitudes=magnitudes).sample(5000)
    assert stats.kstest(coefficients.data, law.cdf).pvalue > 1e-3


def test_constant_magnitudes_and_scales_per_truth():
    scale = np.arange(1.0, 6.0)
    _, c = Planted(8, 5, 2.0, magnitudes="constant", scale=scale).sample(200)
    np.testing.assert_array_equal(c.data, scale[c.indices].astype(np.float32))


def test_rows_are_the_stated_combination():
    planted = Planted(12, 40, 4.0, bias=2.0, noise=0.3)
    x, c = planted.sample(ROWS)
    assert x.dtype == np.float32
    assert np.linalg.norm(planted.bias) == pytest.approx(2.0, rel=1e-6)
    rest = x - (c.toarray() @ planted.directions + planted.bias)
    assert stats.kstest(rest.ravel()[:50_000] / 0.3, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(rest.T) - np.eye(12)).max() < 5 / np.sqrt(ROWS)
    exact, c = Planted(12, 40, 4.0, bias=np.ones(12)).sample(50)
    np.testing.assert_allclose(exact, c.toarray() @ Planted(12, 40).directions + 1, atol=1e-6)


@pytest.mark.parametrize("tree", [3, np.array([-1, -1, 0, 0, 1, 2, 2, 4])])
def test_children_fire_only_with_their_parents_and_as_often_as_stated(tree):
    planted = Planted(8, 8 if np.ndim(tree) else 50, 1.5, tree=tree)
    fires = fired(planted)
    child = np.flatnonzero(planted.parents >= 0)
    assert len(child)
    assert not (fires[:, child] & ~fires[:, planted.parents[child]]).any()
    assert fires[:, child].any(0).all()
    error = 5 * np.sqrt(planted.frequencies / ROWS)
    assert (np.abs(fires.mean(0) - planted.frequencies) < error).all()
    np.testing.assert_allclose(
        planted.frequencies[child], 0.5 * planted.frequencies[planted.parents[child]]
    )


@pytest.mark.parametrize(
    ("truths", "branching"), [(512, 4), (7, 2), (6, 2), (100, 3), (5, 9), (1, 1)]
)
def test_branching_makes_at_most_three_levels(truths, branching):
    parents = Planted(8, truths, 0.1, tree=branching).parents
    depth = np.zeros(truths, int)
    for i, parent in enumerate(parents):
        assert parent < i
        depth[i] = 0 if parent < 0 else depth[parent] + 1
    assert depth.max() <= 2
    assert parents[0] == -1


def test_directions_have_unit_length_and_the_stated_geometry():
    random = Planted(16, 64).directions
    repelled = Planted(16, 64, geometry="repelled").directions
    orthogonal = Planted(16, 10, 1.0, geometry="orthogonal").directions
    for rows in (random, repelled, orthogonal):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(orthogonal @ orthogonal.T, np.eye(10), atol=1e-6)

    def coherence(rows):
        return np.abs(rows @ rows.T - np.eye(len(rows))).max()

    # The Welch bound for 64 unit vectors in 16 dimensions is sqrt(48 / (63 * 16)) = 0.218.
    assert 0.218 < coherence(repelled) < 0.75 * coherence(random)


def test_source_gives_the_same_bytes_in_any_order_and_size():
    planted = Planted(noise=0.1)
    source = PlantedSource(planted, 10**9)
    assert isinstance(source, Source)
    assert len(source) == 10**9
    at = torch.tensor([999_999_999, 5, 123_456_789, 5, 0])
    rows = source.rows(at)
    for row, i in zip(rows, at, strict=True):
        assert torch.equal(source.rows(i[None])[0], row)
    assert torch.equal(source.rows(torch.arange(8)), torch.from_numpy(planted.sample(8)[0]))
    expected = source.coefficients(at).toarray() @ planted.directions
    assert (rows.numpy() - expected).std() == pytest.approx(0.1, rel=0.3)
    assert not torch.equal(rows[0], rows[1])


def test_seeds_name_streams_and_truths():
    planted = Planted()
    assert not np.array_equal(planted.sample(4, 0)[0], planted.sample(4, 1)[0])
    np.testing.assert_array_equal(Planted().sample(4)[0], planted.sample(4)[0])
    assert not np.array_equal(Planted(seed=1).directions, planted.directions)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frequencies": "logg"}, "did you mean 'log'"),
        ({"magnitudes": "exponental"}, "did you mean 'exponential'"),
        ({"geometry": "orthogonl"}, "did you mean 'orthogonal'"),
        ({"geometry": "orthogonal"}, "at most 64"),
        ({"active": 600.0}, "at most 1 is possible"),
        ({"active": 0.0}, "above zero"),
        ({"noise": -1.0}, "at least zero"),
        ({"width": 0}, "width of at least 1"),
        ({"frequencies": [0.1]}, "one probability for each of 512"),
        ({"truths": 2, "frequencies": [0.1, 1.2]}, "from 0 to 1"),
        ({"truths": 2, "frequencies": [0.1, 0.2], "tree": [-1, 0]}, "truth 1 .*at most 0.1"),
        ({"truths": 2, "tree": [1, -1]}, "earlier truth"),
        ({"tree": [0]}, "parent of each of 512"),
        ({"tree": 0}, "branching of at least 1"),
        ({"bias": np.ones(3)}, r"pass \(64,\)"),
    ],
)
def test_bad_settings_are_errors(options, said):
    with pytest.raises(IsthmusError, match=said):
        Planted(**options)


def test_source_refuses_rows_it_does_not_have():
    with pytest.raises(IsthmusError, match="at least one row"):
        PlantedSource(Planted(), 0)
    with pytest.raises(IsthmusError, match="rows 0 to 9"):
        PlantedSource(Planted(), 10).rows(torch.tensor([10]))


def test_hash_is_splitmix():
    # The first outputs of the published generator for the seed 1234567.
    seed, gold = 1234567, 0x9E3779B97F4A7C15
    inverse = pow(gold, -1, 2**64)
    first = np.array([((seed * inverse) + k) % 2**64 for k in (1, 2, 3)], np.uint64)
    assert counter.mix(first).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
    ]  # fmt: skip
