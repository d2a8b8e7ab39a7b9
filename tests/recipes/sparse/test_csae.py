"""Pairs through one dictionary: the dense formula, planted blocks, and the sides by themselves."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import isthmus
from isthmus.anatomy import Clock, Code, SparseCode, View
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes.sparse.csae import PairCode, side_of, to_dictionary, values_at
from steps import step_forward

RNG = np.random.default_rng(0)
A = RNG.normal(0.5, 1.0, (300, 10)).astype(np.float32)
PAIRS = {"a": A, "b": (A + RNG.normal(size=A.shape)).astype(np.float32)}
CLOCK = Clock(5, 1000, 40)


def fitted(recipe="csae", rows=PAIRS, **options):
    options = {"latent_dim": 32, "l0": 4, "steps": 30, "batch_size": 50, **options}
    return isthmus.fit(recipe, rows, progress=False, **options)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("width", [32, 2048])
def test_loss_and_gradients_are_those_of_the_dense_formula(path, width):
    options = {"l0": None, "sparsity": 0.01, "contrast": 3.0, "common": width // 4}
    model = fitted(latent_dim=width, steps=1, **options).train()
    rows = {name: torch.from_numpy(part[:40]) for name, part in PAIRS.items()}
    with torch.no_grad():  # few are on, as when it has learnt something
        u = model.encode_view(View(model.scaler(rows))).dense()
        model.encoder.one.bias.sub_(np.quantile(u, 0.99 if width > 32 else 0.7))
    with using(path):
        out = step_forward(model, rows, CLOCK)
        losses = model.objective(model, out)
        losses.total.backward()
    named = dict(model.named_parameters())
    w = {n: p.detach().double().requires_grad_() for n, p in named.items()}
    weight, bias = (next(p for n, p in w.items() if n.endswith(f"dictionary.{m}"))
                    for m in ("weight", "bias"))  # fmt: skip
    scale = model.scaler["a"].scale.double()
    sides = []
    error = penalty = 0.0
    for name in ("a", "b"):
        x = rows[name].double() / scale
        f = torch.relu((x - bias) @ w["encoder.one.weight"].T + w["encoder.one.bias"])
        error = error + (x - f @ weight - bias).square().sum(1) / 20
        penalty = penalty + f.sum(1)
        sides.append(f)
    apart = (sides[0] - sides[1]).abs()[:, : width // 4].sum(1)
    overlap = (sides[0] * sides[1])[:, width // 4 :].sum(1)
    assert apart.max() > 0
    assert overlap.max() > 0
    total = (error + 0.01 * penalty + 0.03 * (apart + overlap)).mean()
    total.backward()
    assert isinstance(out.code, PairCode) == (path != "reference" and width > 32)
    torch.testing.assert_close(out.code.z.double(), torch.cat(sides, 1), rtol=1e-4, atol=1e-5)
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-4)
    for name, parameter in named.items():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=1e-3, atol=1e-5, msg=name
        )


@pytest.mark.parametrize("width", [32, 1024])
def test_each_side_is_a_dictionary_of_single_rows(width, tmp_path):
    model = fitted(latent_dim=width)
    codes, rebuilt = model.encode(PAIRS), model.reconstruct(PAIRS)
    single = to_dictionary(model)
    isthmus.save(single, tmp_path / "single")
    for one in (single, isthmus.load(tmp_path / "single")):
        for i, name in enumerate(PAIRS):
            np.testing.assert_array_equal(
                one.encode(PAIRS[name]), codes[:, i * width : (i + 1) * width]
            )
            np.testing.assert_allclose(
                one.reconstruct(PAIRS[name]), rebuilt[name], rtol=1e-5, atol=1e-5
            )
    again = model.decode(codes)
    for name in PAIRS:
        np.testing.assert_allclose(again[name], rebuilt[name], rtol=1e-4, atol=1e-5)
    code = model.encode(PAIRS, code=True)
    stored = SparseCode(*torch.from_numpy(codes).topk(2 * width, dim=1), 2 * width)
    for second in (False, True):
        wanted = codes[:, second * width : (second + 1) * width]
        for kind in (code, stored, Code(torch.from_numpy(codes))):
            np.testing.assert_allclose(side_of(kind, width, second).z, wanted, atol=1e-7)


def test_codes_of_pairs_are_joined_side_by_side():
    parts = [PairCode(torch.rand(3, n), torch.arange(n).repeat(3, 1), 16) for n in (4, 6)]
    joined = PairCode.join(parts)
    assert isinstance(joined, PairCode)
    torch.testing.assert_close(joined.z, torch.cat([part.z for part in parts]))


def planted(pairs=4000, width=32, common=24, different=8):
    """Pairs that share coefficients of ``common`` directions; each side has others of its own."""
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((common + different, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    shared = (rng.random((pairs, common)) < 0.1) * rng.uniform(0.5, 1.5, (pairs, common))
    rows = {}
    for side, name in enumerate(("a", "b")):
        chance = np.where(np.arange(different) % 2 == side, 0.25, 0.02)
        own = (rng.random((pairs, different)) < chance) * rng.uniform(0.5, 1.5, (pairs, different))
        rows[name] = (np.c_[shared, own] @ directions).astype(np.float32)
    return rows, directions


@pytest.fixture(scope="module")
def told_apart():
    """What a logistic regression tells of the sides from each block, with and without contrast."""
    rows, directions = planted()
    figures = {}
    for contrast in (1.0, 0.0):
        model = fitted(rows=rows, latent_dim=64, l0=4, contrast=contrast, steps=500,
                       batch_size=256, lr=3e-3)  # fmt: skip
        codes = model.encode(rows).reshape(-1, 2, 64)
        labels = np.tile([1, 0], len(codes))
        for name, block in (("c", codes[:, :, :32]), ("d", codes[:, :, 32:])):
            flat = block.reshape(-1, 32)
            probe = LogisticRegression(max_iter=500).fit(flat[:4000], labels[:4000])
            score = roc_auc_score(labels[4000:], probe.decision_function(flat[4000:]))
            figures[name, contrast] = score
        cosines = directions @ np.asarray(to_dictionary(model).atoms()).T
        cosines /= np.linalg.norm(np.asarray(to_dictionary(model).atoms()), axis=1)
        found = cosines.max(1) > 0.9
        right = (cosines.argmax(1) >= 32) == (np.arange(32) >= 24)
        figures["placed", contrast], figures["found", contrast] = right[found].mean(), found.mean()
    return figures


@pytest.mark.slow
def test_planted_blocks_are_told_apart(told_apart):
    assert told_apart["d", 1.0] > 0.85
    assert told_apart["c", 1.0] < 0.6
    assert told_apart["found", 1.0] > 0.6
    assert told_apart["placed", 1.0] > 0.9


@pytest.mark.slow
def test_without_contrast_blocks_are_halves_like_any(told_apart):
    assert abs(told_apart["d", 0.0] - told_apart["c", 0.0]) < 0.3
    assert told_apart["placed", 0.0] < 0.8


def test_each_side_has_the_active_latents_that_were_asked_for():
    model = fitted(steps=200, latent_dim=64, l0=5)
    codes = model.encode(PAIRS)
    assert (codes != 0).sum(1).mean() / 2 == pytest.approx(5, abs=0.6)


def test_both_sides_are_scaled_alike():
    model = fitted(rows={"a": PAIRS["a"], "b": 3.0 * PAIRS["b"]})
    assert model.scaler["a"].scale == model.scaler["b"].scale
    both = np.concatenate([PAIRS["a"], 3.0 * PAIRS["b"]])
    assert model.scaler["a"].scale.item() == pytest.approx(np.sqrt(np.square(both).mean()), 1e-5)
    far = {name: part + np.float32(50.0) for name, part in PAIRS.items()}
    moved = fitted(rows=far)
    assert torch.equal(moved.scaler["a"].offset, moved.scaler["b"].offset)
    with pytest.raises(IsthmusError, match="one scaling for both"):
        fitted(scaling={"a": "global", "b": "none"})


def test_what_is_no_pair_is_refused():
    with pytest.raises(IsthmusError, match="two parts of one shape"):
        fitted(rows={"a": A, "b": A[:, :4]})
    with pytest.raises(IsthmusError, match="two parts of one shape"):
        fitted(rows={"a": A, "b": A, "c": A})
    with pytest.raises(IsthmusError, match="common=40 is more than"):
        fitted(common=40)
    with pytest.raises(IsthmusError, match="encoder"):
        to_dictionary(isthmus.fit("topk", A, latent_dim=16, k=2, steps=2, progress=False))


def test_values_at_latents_are_those_of_the_dense_code():
    draw = torch.Generator().manual_seed(0)
    indices = torch.stack([torch.randperm(12, generator=draw)[:5] for _ in range(40)])
    values = torch.rand(40, 5, generator=draw) * (torch.rand(40, 5, generator=draw) < 0.6)
    code = SparseCode(values, torch.where(values > 0, indices, indices[:, :1]), 12)
    asked = torch.randint(0, 12, (40, 7), generator=draw)
    assert torch.equal(values_at(code, asked), code.z.gather(1, asked))
