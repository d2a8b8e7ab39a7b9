import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from torch import nn

from isthmus import IsthmusError
from isthmus.anatomy import Scaler, Signal, SparseCode
from isthmus.data import Planted
from isthmus.evaluation import Absorption, absorption
from isthmus.networks import Dictionary

from .tiny import Dense, tiny

ROOT2 = math.sqrt(2)
D = 6
P, C, OTHER, SIDE = np.eye(D)[:4]
PARENTS = np.array([-1, 0, -1])
PROBES = np.outer([10.0, 0, 0], P), np.array([-5.0, 0, 0])


class Encoder(nn.Module):
    def __init__(self, encode):
        super().__init__()
        self.encode = encode

    def forward(self, x):
        return self.encode(x)


class Indexed(nn.Module):
    """The same code in sparse form, in an order of its own, zeros and all."""

    def forward(self, h, *, sample=False):
        indices = torch.arange(h.shape[1] - 1, -1, -1).expand_as(h)
        return SparseCode(h.gather(1, indices), indices, h.shape[1])


def model(encode, atoms, bottleneck=None, scaler=None):
    atoms = torch.tensor(np.array(atoms), dtype=torch.float32)
    dictionary = Dictionary(len(atoms), (atoms.shape[1],), unit=False)
    with torch.no_grad():
        dictionary.weight.copy_(atoms)
    return tiny(
        bottleneck or Dense(),
        encoder=Encoder(encode),
        decoder=dictionary,
        scaler=scaler,
        signal=Signal("vector", (atoms.shape[1],)),
    )


def data(rows=400, seed=0):
    """Parent, child and an unrelated truth, all of size 1; a fourth direction of random sign."""
    rng = np.random.default_rng(seed)
    on = rng.random((rows, 3)) < [0.5, 0.4, 0.2]
    on[:, 1] &= on[:, 0]
    sides = rng.choice([-1.0, 1.0], rows)
    x = on @ np.stack([P, C, OTHER]) + sides[:, None] * SIDE
    return x.astype(np.float32), csr_array(on.astype(np.float64)), on, sides


X, COEFFICIENTS, ON, SIDES = data()


def absorbing(bottleneck=None):
    """The child's latent stands for both, and the parent's is silent there."""

    def encode(x):
        p, c, other = x[:, 0], x[:, 1], x[:, 2]
        return torch.stack([(p - c).relu(), ROOT2 * c, other, 0 * p], 1)

    return model(encode, [P, (P + C) / ROOT2, OTHER, SIDE], bottleneck)


def faithful():
    return model(lambda x: x[:, :3], [P, C, OTHER])


@pytest.mark.parametrize("bottleneck", [Dense(), Indexed()])
@pytest.mark.parametrize("probes", [PROBES, None])
def test_an_absorbing_dictionary(bottleneck, probes):
    got = Absorption(absorbing(bottleneck), X, COEFFICIENTS, PARENTS, probes=probes, batch_size=64)
    judged = ON[1::2]
    share = judged[judged[:, 0], 1].mean()
    rate = got.rate()
    assert rate.value == pytest.approx(share)
    np.testing.assert_allclose(rate.per, [share, np.nan, np.nan])
    assert rate.n == 200
    np.testing.assert_array_equal(got.main[0], [0])
    np.testing.assert_array_equal(got.follows, [0, 1, 2, -1])
    assert got.silence().value == 1
    np.testing.assert_array_equal(got.silence().per, [np.nan, 1, np.nan])
    assert got.child_cosine(np.stack([P, C, OTHER])).value == pytest.approx(1 / ROOT2)


def test_a_faithful_dictionary():
    got = Absorption(faithful(), X, COEFFICIENTS, PARENTS)
    assert got.rate().value == 0
    assert got.silence().value == 0
    assert got.child_cosine(np.stack([P, C, OTHER])).value == 0


def test_an_effect_must_stand_out_and_point_along_the_probe():
    def rate(**options):
        return absorption(absorbing(), X, COEFFICIENTS, PARENTS, probes=PROBES, **options).value

    full = rate()
    assert rate(margin=9.99) == full > 0  # the child's latent adds 10 logits, no other any
    assert rate(margin=10.01) == 0
    assert rate(cosine=0.70) == full
    assert rate(cosine=0.71) == 0


def test_rows_the_probe_misses_do_not_count():
    weights, intercepts = PROBES[0].copy(), PROBES[1]
    weights[0] -= 10 * OTHER
    got = absorption(absorbing(), X, COEFFICIENTS, PARENTS, probes=(weights, intercepts))
    judged = ON[1::2]
    found = judged[:, 0] & ~judged[:, 2]
    assert got.value == pytest.approx(judged[found, 1].mean())


def test_an_unrelated_latent_absorbs_only_where_any_may():
    def encode(x):
        p, c, other = x[:, 0], x[:, 1], x[:, 2]
        return torch.stack([(p - other).relu(), c, ROOT2 * p * other], 1)

    thief = model(encode, [P, C, (P + OTHER) / ROOT2])
    assert absorption(thief, X, COEFFICIENTS, PARENTS, probes=PROBES).value == 0
    judged = ON[1::2]
    got = absorption(thief, X, COEFFICIENTS, PARENTS, probes=PROBES, any_latent=True)
    assert got.value == pytest.approx(judged[judged[:, 0], 2].mean())


def test_a_split_parent_is_not_absorbed():
    def encode(x):
        p, c, side = x[:, 0], x[:, 1], x[:, 3]
        return torch.stack([p * (side > 0), p * (side < 0), c], 1)

    split = model(encode, [P, P, C])
    got = Absorption(split, X, COEFFICIENTS, PARENTS, probes=PROBES)
    assert set(got.main[0]) == {0, 1}
    assert got.rate().value == got.silence().value == 0
    one = Absorption(split, X, COEFFICIENTS, PARENTS, probes=PROBES, f1_rise=0.5, any_latent=True)
    assert len(one.main[0]) == 1
    judged = ON[1::2, 0]
    sign = 1 if one.main[0][0] == 0 else -1
    assert one.rate().value == pytest.approx((SIDES[1::2][judged] != sign).mean())


def test_a_parent_without_a_latent_of_its_own():
    orphan = model(lambda x: torch.stack([ROOT2 * x[:, 1], x[:, 2]], 1), [(P + C) / ROOT2, OTHER])
    got = Absorption(orphan, X, COEFFICIENTS, PARENTS, probes=PROBES)
    judged = ON[1::2]
    assert got.rate().value == pytest.approx(judged[judged[:, 0], 1].mean())
    assert "1 parents are followed by no latent" in got.rate().note
    assert math.isnan(got.silence().value)


def test_scaled_models_are_judged_in_the_users_units():
    scaler = Scaler((D,), "global")
    scaler.fit(torch.tensor(X) * 3)
    plain = absorbing()
    scaled = model(
        lambda x: plain.encoder(x * scaler.scale) / scaler.scale,
        plain.decoder.weight.detach().numpy(),
        scaler=scaler,
    )
    for margin in (9.99, 10.01):
        options = {"probes": PROBES, "margin": margin}
        assert (
            absorption(scaled, X, COEFFICIENTS, PARENTS, **options).value
            == absorption(plain, X, COEFFICIENTS, PARENTS, **options).value
        )


def plain_rate(z, atoms, on, parents, weights, intercepts, x, any_latent):
    """The definition, row by row."""
    choose, judge = slice(0, None, 2), slice(1, None, 2)

    def f1(a, b):
        return 2 * (a & b).sum() / (a.sum() + b.sum()) if (a & b).any() else 0.0

    table = np.array([[f1(z[choose, i] != 0, t) for t in on[choose].T] for i in range(len(atoms))])
    follows = [int(row.argmax()) if row.max() > 0 else -1 for row in table]
    rates = []
    for p in sorted(set(parents[parents >= 0])):
        ranked = sorted(
            (i for i in range(len(atoms)) if follows[i] == p), key=lambda i: -table[i, p]
        )
        main, best = [], 0.0
        for i in ranked:
            score = f1((z[choose][:, [*main, i]] != 0).any(1), on[choose, p])
            if score - best <= 0.03:
                break
            main, best = [*main, i], score
        hits = []
        for row, truth, code in zip(x[judge], on[judge], z[judge], strict=True):
            if not truth[p] or row @ weights[p] + intercepts[p] <= 0:
                continue
            effects = code * (atoms @ weights[p])
            top = int(effects.argmax())
            lengths = np.linalg.norm(atoms[top]) * np.linalg.norm(weights[p])
            descends, t = False, follows[top]
            while t >= 0:
                t = parents[t]
                descends |= t == p
            hits.append(
                not any(code[i] for i in main)
                and atoms[top] @ weights[p] / lengths >= 0.025
                and effects[top] - max(0.0, np.sort(effects)[-2]) >= 1.0
                and (descends or any_latent)
            )
        if hits:
            rates.append(np.mean(hits))
    return np.mean(rates) if rates else math.nan


@given(st.integers(4, 60), st.integers(2, 6), st.integers(0, 30), st.booleans())
def test_the_rate_is_the_definition_row_by_row(rows, width, seed, any_latent):
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(rows, width)) * (rng.random((rows, width)) < 0.5), 2)
    on = rng.random((rows, 4)) < 0.5
    on[:, :3] |= x[:, :1] != 0
    parents = np.array([-1, 0, 0, 1])
    atoms = np.round(rng.normal(size=(width, width)), 3)
    weights, intercepts = np.round(5 * rng.normal(size=(4, width)), 3), rng.normal(size=4)
    x, atoms = x.astype(np.float32), atoms.astype(np.float32)
    got = absorption(
        model(lambda h: h, atoms),
        x,
        on,
        parents,
        probes=(weights, intercepts),
        any_latent=any_latent,
    )
    z, rows64 = x.astype(np.float64), x.astype(np.float64)
    expected = plain_rate(
        z, atoms.astype(np.float64), on, parents, weights, intercepts, rows64, any_latent
    )
    assert got.value == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_planted_trees_are_what_it_takes():
    planted = Planted(24, 21, 3.0, tree=2, geometry="orthogonal", magnitudes="constant", noise=0.01)
    x, coefficients = planted.sample(1500)
    truth = torch.tensor(planted.directions)
    kept = model(lambda h: (h @ truth.T).where(h @ truth.T > 0.5, 0.0), planted.directions)
    got = Absorption(kept, x, coefficients, planted.parents)
    assert got.rate().value == 0
    assert got.rate().note == ""
    np.testing.assert_array_equal(got.follows, np.arange(21))
    assert set(got.main) == set(planted.parents[planted.parents >= 0])


def test_latents_that_only_fill_their_place_do_not_fire():
    """The parent's latent keeps a little of its value beside the child's, as TopK makes it."""

    def encode(x):
        p, c, other = x[:, 0], x[:, 1], x[:, 2]
        return torch.stack([p - 0.95 * c, ROOT2 * c, other, 0 * p], 1)

    filled = model(encode, [P, (P + C) / ROOT2, OTHER, SIDE])
    clean = Absorption(absorbing(), X, COEFFICIENTS, PARENTS, probes=PROBES)
    for weak, silent, rate in ((0.0, 0, 0), (0.04, 0, 0), (0.06, 1, clean.rate().value)):
        got = Absorption(filled, X, COEFFICIENTS, PARENTS, probes=PROBES, weak=weak)
        assert got.silence().value == silent
        assert got.rate().value == rate
    with pytest.raises(IsthmusError, match="no share"):
        absorption(filled, X, COEFFICIENTS, PARENTS, weak=1.0)


def test_misuse_is_one_sentence():
    kept = faithful()
    with pytest.raises(IsthmusError, match="400 rows and 399 rows of coefficients"):
        absorption(kept, X, COEFFICIENTS[:-1], PARENTS)
    with pytest.raises(IsthmusError, match=r"each of 3 truths"):
        absorption(kept, X, COEFFICIENTS, PARENTS[:2])
    with pytest.raises(IsthmusError, match="earlier truth"):
        absorption(kept, X, COEFFICIENTS, np.array([1, -1, -1]))
    with pytest.raises(IsthmusError, match="plant a tree"):
        absorption(kept, X, COEFFICIENTS, np.full(3, -1))
    with pytest.raises(IsthmusError, match="probes need weights"):
        absorption(kept, X, COEFFICIENTS, PARENTS, probes=(PROBES[0][:2], PROBES[1]))
    with pytest.raises(IsthmusError, match="no dictionary"):
        absorption(tiny(Dense(), features=D), X, COEFFICIENTS, PARENTS)
    with pytest.raises(IsthmusError, match="one row of 6"):
        Absorption(kept, X, COEFFICIENTS, PARENTS).child_cosine(np.eye(3))


def test_a_parent_that_never_varies_is_left_out():
    got = absorption(faithful(), X, np.ones((400, 3)), PARENTS)
    assert math.isnan(got.value)
    assert "never found by a probe" in got.note
