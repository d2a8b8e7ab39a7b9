import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import udr

from .grids import noise


def models(count=3, rows=200, latents=3, spread=0.5):
    base = noise(rows, latents)
    return [base[:, ::-1] + spread * noise(rows, latents, seed=i + 1) for i in range(count)]


def relative_strength(r):
    total = sum(r[:, b].max() ** 2 / r[:, b].sum() for b in range(r.shape[1]))
    total += sum(r[a].max() ** 2 / r[a].sum() for a in range(r.shape[0]))
    return total / sum(r.shape)


def test_rank_correlations_by_hand():
    codes = models(4)
    r = lambda a, b: np.array([[abs(spearmanr(x, y)[0]) for y in b.T] for x in a.T])  # noqa: E731
    want = [np.median([relative_strength(r(b, a)) for b in codes if b is not a]) for a in codes]
    got = udr(codes)
    np.testing.assert_allclose(got.per, want)
    assert got.value == pytest.approx(np.mean(want))


def test_lasso_by_hand():
    codes = models(3)
    z = [(c - c.mean(0)) / c.std(0) for c in codes]

    def r(a, b):
        return np.array([np.abs(Lasso(alpha=0.1).fit(a, y).coef_) for y in b.T]).T

    want = [
        np.median([relative_strength(r(z[j], z[i])) for j in range(3) if j != i]) for i in range(3)
    ]
    np.testing.assert_allclose(udr(codes, similarity="lasso").per, want, rtol=1e-6)


def test_the_same_latents_in_another_order_and_sign_agree():
    # Orthogonal columns, so that no other latent correlates at all.
    base = np.array(np.meshgrid(*[np.linspace(-1, 1, 5)] * 3)).reshape(3, -1).T
    codes = [base, -base[:, [2, 0, 1]], np.sinh(3 * base[:, [1, 0, 2]])]
    assert udr(codes).value == pytest.approx(1)
    assert udr(codes[:2], similarity="lasso").value == pytest.approx(0.9)


def test_turned_models_and_noise_do_not_agree():
    base = noise(2000, 2)
    turned = base @ np.array([[1, 1], [1, -1]])
    # Both latents share r = 0.68 or so with either: r² / 2r.
    rank = abs(spearmanr(base[:, 0], turned[:, 0])[0])
    assert udr([base, turned]).value == pytest.approx(rank / 2, abs=0.02)
    assert udr([base, noise(2000, 2, seed=1)]).value < 0.05


def test_the_odd_one_out_ranks_last():
    same = models(3, spread=0.1)
    assert udr([*same, noise(200, seed=9)]).per.argmin() == 3


def test_uninformative_latents_are_left_out():
    base, junk = noise(300, 2), 1e-3 * noise(300, 2, seed=5)
    codes = [base, np.concatenate([junk, base], axis=1)]
    assert udr(codes).value == pytest.approx(udr([base, base]).value)
    loud = [base, np.concatenate([1e4 * junk, base], axis=1)]
    kept = udr(loud, kl=[[1, 1], [0.0, 0.01, 1, 1]])
    assert kept.value == pytest.approx(udr([base, base]).value)
    assert udr(loud).value < kept.value


def test_a_model_without_informative_latents():
    got = udr([noise(50), noise(50), np.ones((50, 2))])
    assert got.per[2] == 0
    assert "1 models" in got.note
    assert udr([np.ones((50, 2)), noise(50)], similarity="lasso").value == 0


@pytest.mark.parametrize("similarity", ["spearman", "lasso"])
def test_the_order_of_the_rows_does_not_matter(similarity):
    codes, order = models(), np.random.default_rng(0).permutation(200)
    one = udr(codes, similarity=similarity)
    other = udr([c[order] for c in codes], similarity=similarity)
    assert one.to_dict() == other.to_dict()


def test_errors():
    with pytest.raises(IsthmusError, match="two or more"):
        udr([noise(9)])
    with pytest.raises(IsthmusError, match="same rows"):
        udr([noise(9), noise(8)])
    with pytest.raises(IsthmusError, match="kl does not match"):
        udr([noise(9), noise(9)], kl=[[1, 1, 1]])
    with pytest.raises(IsthmusError, match="did you mean 'lasso'"):
        udr([noise(9), noise(9)], similarity="laso")
    with pytest.raises(IsthmusError, match="not finite"):
        udr([noise(9), noise(9) * np.nan])
