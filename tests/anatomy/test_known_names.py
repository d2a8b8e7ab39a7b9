"""Dictionaries by the names people know, folded and unfolded."""

import pytest
import torch

import isthmus

SPARSE = {
    "topk": {"k": 4},
    "llama-scope": {"k": 4},
    "abstopk": {"k": 4},
    "batchtopk": {"k": 4},
    "relu-l1": {},
    "gated": {},
    "jumprelu": {"unit": False},
}


def rows(n=128, d=6):
    return 3.0 * torch.randn(n, d, generator=torch.Generator().manual_seed(0)) + 1.0


def fitted(name, **options):
    chosen = {"unit": False, **SPARSE[name], **options}
    if name == "llama-scope":
        chosen.pop("unit")
    return isthmus.fit(name, rows(), latent_dim=24, steps=6, batch_size=64, lr=3e-2,
                       progress=False, **chosen)  # fmt: skip


def expected(model, x):
    """Codes from the names alone, by the formula that users write."""
    centre = model.b_dec if model.cfg.apply_b_dec_to_input else 0.0
    u = (x - centre) @ model.W_enc + model.b_enc
    rule = model.bottleneck.rule()
    key = u * model.bottleneck._norms(model) if rule.activation == "topk" and rule.weigh else u
    match rule.activation:
        case "topk" | "abstopk":
            key = key.abs() if rule.activation == "abstopk" else key
            kept = torch.zeros_like(u).scatter(1, key.topk(model.cfg.k).indices, 1.0)
            return kept * (u if rule.activation == "abstopk" else u.relu())
        case "relu":
            return u.relu()
        case "gated":
            size = rule.log_scale.exp() * (u - model.b_enc) + rule.bias
            return torch.where(u > 0, size.relu(), 0.0)
        case _:
            return torch.where(u > model.thresholds, u, 0.0)


@pytest.mark.parametrize("scaling", ["global", "centred", "none"])
@pytest.mark.parametrize("name", SPARSE)
def test_codes_and_reconstructions_follow_from_the_names(name, scaling):
    model, x = fitted(name, scaling=scaling), rows()
    z = model.encode(x)
    assert (z != 0).any()
    assert (model.d_in, model.d_sae) == (6, 24)
    torch.testing.assert_close(expected(model, x), z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z @ model.W_dec + model.b_dec, model.reconstruct(x),
                               rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("scaling", ["global", "centred", "columns"])
@pytest.mark.parametrize("name", SPARSE)
def test_folding_the_scale_changes_nothing_and_unfolding_takes_it_back(name, scaling, tmp_path):
    model, x = fitted(name, scaling=scaling), rows()
    z, y = model.encode(x), model.reconstruct(x)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    if (name, scaling) == ("llama-scope", "columns"):
        with pytest.raises(isthmus.IsthmusError, match="lengths of their atoms"):
            model.fold_scale()
        assert torch.equal(model.encode(x), z)
        return
    scaler = model.fold_scale()
    assert model.scaler.mode == "none"
    torch.testing.assert_close(model.encode(x), z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.reconstruct(x), y, rtol=1e-4, atol=1e-4)
    isthmus.save(model, tmp_path / "run")
    torch.testing.assert_close(isthmus.load(tmp_path / "run").reconstruct(x), model.reconstruct(x))
    model.unfold_scale(scaler)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.encode(x), z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "lengths", [torch.zeros(24), torch.ones(3), torch.ones(()), torch.full((24,), torch.nan)]
)
def test_what_is_no_length_takes_nothing_back(lengths):
    model = fitted("relu-l1")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    width = model.d_sae
    with pytest.raises(isthmus.IsthmusError, match=f"are not {width} positive numbers"):
        model.unfold_decoder_norm(lengths)
    assert all(torch.equal(weight, before[n]) for n, weight in model.state_dict().items())


@pytest.mark.parametrize("name", ["llama-scope", "relu-l1", "gated", "jumprelu"])
def test_folding_the_norms_makes_unit_atoms_and_unfolding_takes_it_back(name):
    model, x = fitted(name), rows()
    z, y = model.encode(x), model.reconstruct(x)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    lengths = model.fold_decoder_norm()
    assert (lengths - 1).abs().max() > 1e-2
    own = model.decoder.weight.norm(dim=1)
    torch.testing.assert_close(own, torch.ones_like(own))
    torch.testing.assert_close(model.encode(x), z * lengths, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.reconstruct(x), y, rtol=1e-4, atol=1e-4)
    model.unfold_decoder_norm(lengths)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["topk", "abstopk", "batchtopk"])
def test_norms_are_not_folded_where_other_latents_would_be_on(name):
    model = fitted(name)
    before = model.encode(rows())
    with pytest.raises(isthmus.IsthmusError, match="chosen by their size"):
        model.fold_decoder_norm()
    assert torch.equal(model.encode(rows()), before)


def test_a_shared_weight_is_not_folded():
    model = isthmus.fit("relu-l1", rows(), latent_dim=24, tied=True, steps=2, progress=False)
    with pytest.raises(isthmus.IsthmusError, match="share one weight"):
        model.fold_scale()


@pytest.mark.parametrize("fold", ["fold_scale", "fold_decoder_norm"])
def test_matching_pursuit_is_not_folded_and_stays_as_it_was(fold):
    model = isthmus.fit("mp-sae", rows(), latent_dim=24, k=4, steps=2, progress=False)
    assert (model.cfg.architecture, model.cfg.k, model.d_sae) == ("matching_pursuit", 4, 24)
    before = model.encode(rows()), model.reconstruct(rows())
    with pytest.raises(isthmus.IsthmusError, match="tied or none"):
        getattr(model, fold)()
    torch.testing.assert_close(model.encode(rows()), before[0], rtol=0, atol=0)
    torch.testing.assert_close(model.reconstruct(rows()), before[1], rtol=0, atol=0)


def test_what_is_no_dictionary_has_no_such_names():
    model = isthmus.fit("vae", rows(), latent_dim=2, steps=2, progress=False)
    assert not hasattr(model, "W_enc")
    assert not hasattr(model, "cfg")


def test_positions_are_rows_everywhere():
    model = fitted("topk")
    x = rows().reshape(4, 32, 6)
    z = model.encode(x)
    assert z.shape == (4, 32, 24)
    assert torch.equal(z.flatten(0, 1), model.encode(rows()))
    assert model.decode(z).shape == model.reconstruct(x).shape == x.shape
    assert model.score(x).shape == (4, 32)
