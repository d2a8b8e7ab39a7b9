"""Scalers against their closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

from isthmus.anatomy import Scaler
from isthmus.errors import IsthmusError

X = np.random.default_rng(0).normal([1, -50, 3], [1, 0.1, 20], (200, 3)).astype(np.float32)


def fitted(x, mode):
    scaler = Scaler(tuple(x.shape[1:]), mode)
    scaler.fit(torch.as_tensor(x))
    return scaler


def test_columns_are_standardised_as_scikit_learn_does():
    mine = fitted(X, "columns")(torch.from_numpy(X)).numpy()
    theirs = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(mine, theirs, atol=2e-4)


def test_global_makes_the_mean_squared_element_one():
    y = fitted(X, "global")(torch.from_numpy(X))
    assert y.square().mean().item() == pytest.approx(1.0, rel=1e-5)
    ratio = (y / torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)  # no direction changes


def test_norm_makes_the_mean_squared_norm_one():
    image = X.reshape(100, 1, 2, 3)
    y = fitted(image, "norm")(torch.from_numpy(image))
    assert y.square().flatten(1).sum(1).mean().item() == pytest.approx(1.0, rel=1e-5)


def test_none_is_the_identity_itself():
    x = torch.from_numpy(X)
    scaler = fitted(X, "none")
    assert scaler(x) is x
    assert scaler.inverse(x) is x


@given(
    hnp.arrays(
        np.float32, (17,), elements=st.floats(-(2.0**20), 2.0**20, width=32, allow_subnormal=False)
    ),
    st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)
def test_a_constant_column_keeps_scale_one(varying, constant):
    if np.ptp(varying) < 1e-3:
        varying[0] += 1.0 + abs(varying[0])
    x = np.stack([varying, np.full(17, constant, np.float32)], 1)
    scaler = fitted(x, "columns")
    assert scaler.scale[1].item() == 1.0
    assert scaler(torch.from_numpy(x))[:, 1].abs().max().item() == 0.0


@pytest.mark.parametrize("mode", ["columns", "global", "norm"])
def test_inverse_undoes_forward(mode):
    x = torch.from_numpy(X)
    scaler = fitted(X, mode)
    torch.testing.assert_close(scaler.inverse(scaler(x)), x, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mode", ["columns", "global", "norm"])
def test_nothing_to_learn_is_an_error(mode):
    with pytest.raises(IsthmusError, match="nothing to learn"):
        fitted(np.zeros((5, 3), np.float32), mode)


def test_large_offsets_do_not_spoil_the_estimate():
    x = (np.random.default_rng(1).normal(0, 1, (4000, 1)) + 4096).astype(np.float32)
    scaler = fitted(x, "columns")
    assert scaler.scale.item() == pytest.approx(x.astype(np.float64).std(), rel=1e-6)


def test_state_travels_with_the_model():
    scaler, other = fitted(X, "columns"), Scaler((3,), "columns")
    other.load_state_dict(scaler.state_dict())
    x = torch.from_numpy(X)
    assert torch.equal(scaler(x), other(x))


@pytest.mark.parametrize("mode", ["unit", "norm", "columns-norm", "centred-norm"])
def test_what_float32_cannot_hold_is_one_sentence(mode):
    x = torch.tensor([[3e38, 3e38], [-3e38, -3e38], [3e38, 3e38]])
    with pytest.raises(IsthmusError, match="divide them"):
        Scaler((2,), mode).fit(x)


@pytest.mark.parametrize(("mode", "norm"), [("rows", 12**0.5), ("rows-norm", 1.0)])
def test_each_row_is_scaled_by_itself_and_back(mode, norm):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(3.0, 2.0, (50, 3, 4)) * rng.lognormal(0, 2, (50, 1, 1)))
    x[7] = 5.0
    scaler = Scaler((3, 4), mode)
    scaler.fit(x)
    z = scaler(x)
    flat = z.flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(50).double(), atol=1e-12, rtol=0)
    varies = torch.arange(50) != 7
    torch.testing.assert_close(flat.norm(dim=1)[varies], torch.full((49,), norm).double())
    assert not z[7].any()
    torch.testing.assert_close(scaler.inverse(z, x), x)
    own = x.flatten(1)
    usual = own.var(1, correction=0)
    usual[7] = 1.0
    per = 1.0 if mode == "rows" else 12.0
    assert float(scaler.scale) ** 2 == pytest.approx(float(usual.mean() * per), rel=1e-5)
    assert float(scaler.offset) == pytest.approx(float(own.mean()), rel=1e-5)


@pytest.mark.parametrize("mode", ["rows-sample", "rows-length"])
def test_the_formulas_of_published_files(mode):
    x = torch.tensor(np.random.default_rng(0).normal(1.0, 2.0, (9, 5)))
    x[3] = 0.0
    scaler = Scaler((5,), mode)
    z = scaler(x)
    if mode == "rows-sample":
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        torch.testing.assert_close(z, (x - mean) / (std + 1e-5))
        torch.testing.assert_close(scaler.inverse(z + 1.0, x), (z + 1.0) * std + mean)
        return
    lengths = x.norm(dim=1)
    torch.testing.assert_close(z.norm(dim=1)[lengths > 0], torch.full((8,), 5**0.5).double())
    assert not z[3].any()
    torch.testing.assert_close(scaler.inverse(z, x), x)


def test_rows_with_gaps_are_not_scaled_each_by_itself():
    with pytest.raises(IsthmusError, match="scaling=rows is for rows that are whole"):
        Scaler((3,), "rows").fit(torch.ones(4, 3), torch.ones(4, 3).bool())
