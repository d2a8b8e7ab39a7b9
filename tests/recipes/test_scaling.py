"""What scaling=auto becomes for the data at hand."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score

import isthmus
from isthmus import notices
from isthmus.anatomy import Scaler, Signal, offset
from isthmus.anatomy.scaler import unit_of
from isthmus.errors import IsthmusError
from isthmus.recipes.scaling import resolved

DIGITS = (load_digits().images[:200] / 16).astype(np.float32)[:, None]


def fit(recipe, X, **options):
    with notices.collected(quiet=True) as said:
        return isthmus.fit(recipe, X, progress=False, **options), said


def chosen(low, high, own="columns", kind="image", **more):
    with notices.collected(quiet=True):
        return resolved("auto", Signal(kind, (1, 4, 4), low=low, high=high), own, **more)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 255, (0, 255)), (0, 254.4, (0, 255)), (3, 200, (0, 255)), (0, 16, (0, 16)),
        (0, 65520, (0, 65535)), (0, 4000, (0, 4095)), (0, 100, (0, 100)), (260, 310, (260, 50)),
        (3000.5, 3100, (0, 4095)), (20000, 20010, (20000, 10)),
        (-1, 1, (-1, 2)), (-0.9, 0.8, (-1, 2)), (-128, 127, (-128, 255)),
        (-300, 500, (-300, 800)), (-0.1, 1.1, (-0.1, 1.2)),
    ],
)  # fmt: skip
def test_units_of_ranges(low, high, expected):
    offset, scale = unit_of(low, high)
    assert (offset, scale) == pytest.approx(expected)
    assert -1e-9 <= (low - offset) / scale <= (high - offset) / scale <= 1 + 1e-9


def test_only_images_outside_of_their_unit_are_scaled():
    assert chosen(0, 255) == "unit"
    assert chosen(-1, 1) == "unit"
    assert chosen(0, 1.5) == "unit"
    assert chosen(0, 1) == chosen(-2.1, 2.6) == chosen(-5, 5) == "auto"
    assert chosen(0, 255, own="none") == "auto"
    assert chosen(0, 255, kind="series") == chosen(0, 1e-4, kind="series") == "columns"
    assert chosen(0, 1, kind="series") == chosen(-5, 5, kind="series") == "auto"
    assert chosen(0, 255, counts=True) == "auto"
    assert resolved("none", Signal("image", (1, 4, 4), low=0, high=255), "columns") == "none"


@pytest.mark.parametrize("recipe", ["vae", "iwae", "ard-vae"])
def test_the_code_of_vectors_between_0_and_1_is_worth_its_price(recipe):
    # With a standard deviation of 1 in these units the best code told nothing at all.
    X = DIGITS.reshape(200, 64)
    model, said = fit(recipe, X, latent_dim=4, steps=300, batch_size=50)
    assert any("scaling=none" in one for one in said)
    assert not any("posterior collapse" in one for one in said)
    assert model.scaler.mode == "centred"
    assert fvu_of(model, X) < 0.7
    assert ((model.reconstruct(X) - X) ** 2).mean() < 0.7 * X.var(0).mean()


@pytest.mark.parametrize(
    ("recipe", "options"), [("two-stage-vae", {}), ("gon", {"variational": True, "lr": 1e-3})]
)
def test_a_deviation_that_is_learnt_or_a_code_by_gradient_is_no_different(recipe, options):
    X = DIGITS.reshape(200, 64)
    options = {"latent_dim": 4, "steps": 300, "batch_size": 50, **options}
    model, _said = fit(recipe, X, **options)
    assert model.scaler.mode == "centred"
    plain, _said = fit(recipe, X, scaling="none", **options)
    assert fvu_of(model, X) < 1.0 < fvu_of(plain, X)


def test_series_between_0_and_1_are_no_different():
    X = DIGITS.reshape(200, 8, 8)
    model, _said = fit("vae", X, kind="series", latent_dim=4, steps=300, batch_size=50)
    assert model.signal.kind == "series"
    assert model.scaler.mode == "centred"
    assert fvu_of(model, X) < 0.7
    assert fit("gon", X, kind="series", latent_dim=4, steps=2)[0].scaler.mode == "none"


@pytest.mark.parametrize(
    "chosen",
    [{"scaling": "none"}, {"sigma": 0.1}, {"likelihood": "bernoulli"}],
)
def test_who_chooses_for_vectors_between_0_and_1_is_left_alone(chosen):
    X = DIGITS.reshape(200, 64)
    assert fit("vae", X, latent_dim=4, steps=2, **chosen)[0].scaler.mode == "none"
    assert fit("plain", X, latent_dim=4, steps=2)[0].scaler.mode == "none"
    assert fit("vae", DIGITS, latent_dim=4, steps=2)[0].scaler.mode == "none"


def test_vectors_between_0_and_1_in_a_collection():
    pair = {"a": DIGITS.reshape(200, 64), "b": DIGITS.reshape(200, 64)[:, :9]}
    own = {"latent_dim": 3, "steps": 2, "likelihood": {"b": "bernoulli"}}
    model, _said = fit("mvae", pair, **own)
    assert {n: part.mode for n, part in model.scaler.items()} == {"a": "centred", "b": "none"}


@pytest.mark.parametrize("factor", [255.0, 16.0, 300.0])
def test_a_vae_is_the_same_in_every_unit(factor):
    options = {"latent_dim": 4, "steps": 10, "network": "mlp", "batch_size": 100, "lr": 1e-3}
    plain, quiet = fit("vae", DIGITS, **options)
    scaled, said = fit("vae", DIGITS * np.float32(factor), **options)
    assert type(scaled.likelihood) is type(plain.likelihood)
    assert quiet == []
    assert len(said) == 1
    assert "scaling=none" in said[0]
    one, other = plain.reconstruct(DIGITS), scaled.reconstruct(DIGITS * np.float32(factor))
    assert np.abs(one - other / factor).max() < 0.02
    assert abs(scaled.sample(50).mean() / factor - plain.sample(50).mean()) < 0.02
    assert isthmus.evaluate(scaled, DIGITS * np.float32(factor), samples=2)["kl"].value < 30


def test_the_unit_is_kept_with_the_run(tmp_path):
    X = DIGITS * 255
    with notices.collected(quiet=True):
        model = isthmus.fit("vae", X, latent_dim=4, steps=3, progress=False, out=tmp_path / "r")
    assert model.config["options"]["scaling"] == "unit"
    loaded = isthmus.load(tmp_path / "r")
    np.testing.assert_array_equal(loaded.reconstruct(X), model.reconstruct(X))


def test_parts_of_a_collection_each_have_their_own():
    pair = {"image": DIGITS * 255, "row": DIGITS.reshape(200, -1)[:, :5] * 100}
    model, _said = fit("mvae", pair, latent_dim=3, steps=3)
    assert {n: part.mode for n, part in model.scaler.items()} == {"image": "unit", "row": "columns"}
    model, _ = fit("mvae", pair, latent_dim=3, steps=3, scaling={"row": "none"})
    assert model.scaler["row"].mode == "none"
    with pytest.raises(IsthmusError, match="did you mean 'row'"):
        fit("mvae", pair, latent_dim=3, steps=3, scaling={"raw": "none"})


def planted(rows=2000, width=24):
    torch.manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(64, width), dim=1)
    codes = torch.zeros(rows, 64).scatter_(1, torch.randint(0, 64, (rows, 3)), 1.0)
    return (codes * (torch.rand(rows, 64) + 0.5)) @ atoms


def fvu_of(model, X):
    return isthmus.evaluate(model, X)["fvu"].value


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["jumprelu", "topk", "batchtopk"])
def test_an_element_with_a_large_mean_spoils_nothing(recipe):
    X = planted()
    own = {"l0": 3} if recipe == "jumprelu" else {"k": 3}
    own |= {"latent_dim": 64, "steps": 60, "batch_size": 256}
    plain, quiet = fit(recipe, X, **own)
    assert quiet == []
    assert plain.scaler.mode in ("norm", "global")
    for mean in (5.0, 100.0):
        Y = X.clone()
        Y[:, 3] += mean
        model, said = fit(recipe, Y, **own)
        assert "the mean of element 3" in said[0]
        assert model.scaler.mode.startswith("centred")
        assert fvu_of(model, Y) < 1.03 * fvu_of(plain, X)
    many, said = fit(recipe, X + 3, **own)
    assert "taken off" in said[0]
    assert fvu_of(many, X + 3) < 1.03 * fvu_of(plain, X)


def test_what_was_asked_for_is_done():
    Y = planted(200)
    Y[:, 3] += 50
    assert fit("jumprelu", Y, l0=3, latent_dim=64, steps=2, scaling="norm")[0].scaler.mode == "norm"
    model, said = fit("topk", planted(200), k=3, latent_dim=64, steps=2, scaling="robust")
    assert model.scaler.mode == "robust"
    assert not any("scaling" in one for one in said)


@pytest.mark.parametrize("recipe", ["topk", "jumprelu"])
def test_a_dictionary_of_centred_data_says_the_same_of_itself(recipe):
    Y = planted(300) + 20
    own = {"l0": 3} if recipe == "jumprelu" else {"k": 3}
    model, _ = fit(recipe, Y, latent_dim=64, steps=20, batch_size=64, **own)
    z = model.encode(Y)
    np.testing.assert_allclose(
        z @ model.atoms() + offset(model).detach(), model.reconstruct(Y), atol=1e-3
    )
    rows, bias = model.read_rows()
    before = (Y @ rows.T + bias)[z != 0]
    np.testing.assert_allclose(before, z[z != 0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("recipe", ["topk", "jumprelu"])
@pytest.mark.parametrize(
    ("share", "times"),
    [(0.01, 300)]
    + [pytest.param(*p, marks=pytest.mark.slow) for p in ((0.02, 1000), (0.004, 100))],
)
def test_a_few_huge_rows_spoil_nothing(recipe, share, times):
    torch.manual_seed(0)
    A = torch.randn(500, 24)
    X, number = A.clone(), int(share * 500)
    X[:number] *= times
    own = {"l0": 4} if recipe == "jumprelu" else {"k": 4}
    own |= {"latent_dim": 64, "steps": 60}

    def fvu(model):
        recon = model.reconstruct(A[number:]).numpy()
        return 1 - r2_score(A[number:].numpy(), recon, multioutput="variance_weighted")

    with_them, said = fit(recipe, X, **own)
    assert f"{number} of 500 rows" in said[0]
    assert "max_norm=none" in said[0]
    assert fvu(with_them) < 1.05 * fvu(fit(recipe, A, **own)[0])


def test_modes_against_their_formula():
    x = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=(501, 7))).float()
    x[:, 2] += 30
    scaler = Scaler((7,), "centred")
    scaler.fit(x)
    moved = x.double() - x.double().mean(0)
    torch.testing.assert_close(scaler.scale.double(), moved.square().mean().sqrt())
    torch.testing.assert_close(scaler.inverse(scaler(x)), x)
    robust = Scaler((7,), "robust-norm")
    robust.fit(x)
    moved = x.double() - x.double().median(0).values
    size = moved.square().sum(1).median().sqrt()
    torch.testing.assert_close(robust.scale.double(), size)
    huge = x.clone()
    huge[:20] *= 1e4
    again = Scaler((7,), "robust-norm")
    again.fit(huge)
    assert abs(float(again.scale / robust.scale) - 1) < 0.1


def test_modes_of_what_is_observed():
    x = torch.randn(400, 5) * 2 + 9
    mask = torch.rand(400, 5) > 0.3
    hidden = torch.where(mask, x, 1e6)
    for mode in ("centred", "robust", "centred-norm", "unit"):
        scaler = Scaler((5,), mode)
        scaler.fit(hidden, mask)
        assert float(scaler(x).abs().max()) < 6


# Columns of very different size, as tables have them.
def table(rows=400, spread=(1.0, 1.0, 30_000.0)):
    pandas = pytest.importorskip("pandas")
    g = np.random.default_rng(0)
    shared = g.normal(size=(rows, 1))
    found = shared + 0.5 * g.normal(size=(rows, len(spread)))
    return pandas.DataFrame(found * spread, columns=["a", "b", "income"][: len(spread)])


@pytest.mark.parametrize(("recipe", "mode"), [("topk", "columns"), ("jumprelu", "columns-norm")])
def test_a_dictionary_on_a_table_learns_every_column(recipe, mode):
    frame = table()
    model, said = fit(recipe, frame, steps=60, latent_dim=16, batch_size=64, lr=0.01)
    assert model.scaler.mode == mode
    assert sum("'income' spreads" in one for one in said) == 1
    rebuilt = model.reconstruct(frame)
    for name in frame:
        assert np.corrcoef(rebuilt[name], frame[name])[0, 1] > 0.7, name


def test_a_table_of_like_columns_keeps_the_one_factor_and_arrays_do():
    frame = table(spread=(1.0, 2.0, 5.0))
    options = {"steps": 2, "latent_dim": 16, "batch_size": 64}
    assert fit("topk", frame, **options)[0].scaler.mode == "global"
    assert fit("topk", table(), scaling="global", **options)[0].scaler.mode == "global"
    uneven = table().to_numpy(np.float32)
    assert fit("topk", uneven, **options)[0].scaler.mode == "global"


def test_columns_norm_has_rows_of_norm_one():
    x = torch.tensor(table().to_numpy(np.float32))
    scaler = Scaler((3,), "columns-norm")
    scaler.fit(x)
    assert scaler(x).square().sum(1).mean().item() == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(scaler.inverse(scaler(x)), x)
    seen = torch.ones_like(x, dtype=torch.bool)
    masked = Scaler((3,), "columns-norm")
    masked.fit(x, seen)
    torch.testing.assert_close(masked.scale, scaler.scale)


def test_a_dim_first_image_is_no_notice():
    images = DIGITS.copy()
    images[:8] = 0.0  # the rows that are stored with a run, to be compared as it loads
    images[8, 0, 0, 0] = 1.0
    _, said = fit("plain", images, latent_dim=2, steps=2, batch_size=32, network="mlp", out=None)
    assert not any("images go from" in one for one in said)


def test_rows_scaled_each_by_itself_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12)) * rng.lognormal(0.0, 3.0, (200, 1)) + rng.normal(size=(200, 1))
    x = x.astype(np.float32)
    settings = {
        "latent_dim": 64, "k": 12, "steps": 300, "batch_size": 100, "lr": 3e-3, "warmup": 0,
        "progress": False,
    }  # fmt: skip
    model = isthmus.fit("batchtopk", x, scaling="rows", out=tmp_path / "run", **settings)
    assert model.scaler.mode == "rows"
    again = isthmus.load(tmp_path / "run")
    rebuilt = again.reconstruct(x)
    np.testing.assert_array_equal(rebuilt, model.reconstruct(x))
    std = x.std(1)
    error = ((rebuilt - x) ** 2).mean(1) / std**2
    small, large = error[std < np.median(std)].mean(), error[std > np.median(std)].mean()
    assert 0.5 < small / large < 2.0  # of another scaling the small ones are not rebuilt at all
    assert max(small, large) < 0.2
    plain = isthmus.fit("batchtopk", x, scaling="global", **settings)
    lost = ((plain.reconstruct(x) - x) ** 2).mean(1) / std**2
    assert lost[std < np.median(std)].mean() > 5 * small
    fvu = isthmus.evaluate(model, x)["fvu"].value
    assert fvu == pytest.approx(((rebuilt - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum(), rel=1e-4)
    assert model.read_rows() is None
    with notices.collected(quiet=True) as said:
        model.decode(model.encode(x[:3]))
    assert any("usual one (scaling=rows)" in str(line) for line in said)


def test_a_recipe_on_norms_brings_each_row_to_norm_one():
    model = isthmus.fit(
        "jumprelu", planted(100), latent_dim=32, steps=2, scaling="rows", progress=False
    )
    assert model.scaler.mode == "rows-norm"


def test_rows_of_several_arrays_are_not_scaled_each_by_itself():
    data = {"a": planted(50), "b": planted(50)}
    with pytest.raises(IsthmusError, match="scaling=rows is for one array"):
        isthmus.fit("crosscoder", data, latent_dim=16, steps=1, scaling="rows", progress=False)


def test_rows_scaled_each_by_itself_are_folded_into_no_weights():
    model, _ = fit("topk", planted(100), k=3, latent_dim=32, steps=2, scaling="rows")
    with pytest.raises(IsthmusError, match="which no weights can hold"):
        model.fold_scale()
    # The names are those of the scaled rows.
    x = planted(100)
    z, rows = model.encode(x), model.scaler(x)
    pre = (rows - model.b_dec) @ model.W_enc + model.b_enc
    torch.testing.assert_close(pre[z != 0], z[z != 0], atol=1e-4, rtol=1e-4)
    rebuilt = model.scaler.inverse(z @ model.W_dec + model.b_dec, x)
    torch.testing.assert_close(rebuilt, model.reconstruct(x), atol=1e-4, rtol=1e-4)
    assert model.cfg.normalize_activations == "rows"
