"""The masked autoencoder: what its loss counts, what its encoder sees, what it rebuilds."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import isthmus
from isthmus.anatomy import Clock, Gaussian, Output, Signal, TokenCode, View
from isthmus.corruptions import RandomPatchMask
from isthmus.errors import IsthmusError
from isthmus.networks import PatchEncoder, Patches
from isthmus.recipes import get_recipe
from isthmus.recipes.masked.mae import (
    HiddenInTurn,
    MaskedMSE,
    MaskTokenEncoder,
    RebuildHidden,
    patch_size,
)
from isthmus.training.optimisers import learning_rate, make_optimiser

RECIPE = get_recipe("mae")
IMAGE = Signal("image", (1, 8, 8))
SMALL = {"latent_dim": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1}


def build(signal: Signal, **options):
    chosen, training = RECIPE.parse({**SMALL, **options})
    return RECIPE.build(signal, chosen), training


def output_of(x: Tensor, params: Tensor, visible: Tensor) -> Output:
    return Output(x, x, [View(x, visible)], [], params, Gaussian())


def by_hand(x: Tensor, params: Tensor, hidden: list[list[int]], side: int, norm: bool) -> list:
    """The loss of each row, patch by patch and pixel by pixel, in float64."""
    across = x.shape[3] // side
    losses = []
    for row, places in enumerate(hidden):
        errors = []
        for place in places:
            top, left = side * (place // across), side * (place % across)
            window = (slice(None), slice(top, top + side), slice(left, left + side))
            target, guess = (t[row][window].double().numpy() for t in (x, params))
            if norm:
                target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
            errors.append(((guess - target) ** 2).mean())
        losses.append(np.mean(errors))
    return losses


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 28, 28), (4, 4)),
        ((1, 8, 8), (2, 2)),
        ((3, 32, 32), (4, 4)),
        ((1, 30, 21), (3, 3)),
        ((3, 224, 224), (14, 14)),
        ((20,), (2,)),
        ((13,), (1,)),
        ((784,), (14,)),
        ((1, 31, 31), (1, 1)),
    ],
)
def test_default_patches_are_near_four_and_tile_the_signal(shape, size):
    signal = Signal("image" if len(shape) == 3 else "vector", shape)
    assert patch_size(signal) == size
    assert Patches(signal, size).patch == size


@pytest.mark.parametrize("normalise", [False, True])
def test_loss_is_that_of_a_loop_over_hidden_patches(normalise):
    torch.manual_seed(0)
    x, params = torch.rand(3, 2, 8, 12), torch.randn(3, 2, 8, 12)
    patches = Patches(Signal("image", (2, 8, 12)), 4)
    visible = torch.tensor([[0, 3], [1, 5], [2, 4]])
    hidden = [[p for p in range(6) if p not in row] for row in visible.tolist()]
    term = MaskedMSE(patches, normalise=normalise)
    value = term(None, output_of(x, params, visible))
    np.testing.assert_allclose(value, by_hand(x, params, hidden, 4, normalise), rtol=1e-4)
    everything = MaskedMSE(patches, normalise=normalise, everywhere=True)
    value = everything(None, output_of(x, params, visible))
    expected = by_hand(x, params, [list(range(6))] * 3, 4, normalise)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_loss_ignores_what_the_decoder_says_about_visible_patches():
    x = torch.rand(4, 1, 8, 8)
    patches, mask = Patches(IMAGE, 2), RandomPatchMask(16)
    params = torch.randn(4, 1, 8, 8, requires_grad=True)
    view = mask(x)
    MaskedMSE(patches, normalise=True)(None, output_of(x, params, view.visible)).sum().backward()
    touched = patches.patchify(params.grad).abs().sum(2) > 0
    seen = torch.zeros(4, 16, dtype=torch.bool).scatter(1, view.visible, True)
    assert torch.equal(touched, ~seen)


def test_normalised_loss_does_not_know_brightness_and_contrast():
    torch.manual_seed(0)
    x, params = 50.0 * torch.rand(4, 1, 8, 8), torch.randn(4, 1, 8, 8)
    patches = Patches(IMAGE, 4)
    cells = patches.patchify(x)
    changed = patches.unpatchify(cells * torch.rand(4, 4, 1).add(1.0) + torch.randn(4, 4, 1))
    visible = torch.tensor([[1], [0], [2], [3]])
    term = MaskedMSE(patches, normalise=True)
    torch.testing.assert_close(
        term(None, output_of(x, params, visible)), term(None, output_of(changed, params, visible))
    )


def test_repeating_the_batch_leaves_the_mean_loss():
    x, params, visible = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8), torch.tensor([[1, 2]] * 3)
    term = MaskedMSE(Patches(IMAGE, 4), normalise=True)
    once = term(None, output_of(x, params, visible))
    doubled = (t.repeat(2, *[1] * (t.ndim - 1)) for t in (x, params, visible))
    assert once.shape == (3,)
    torch.testing.assert_close(term(None, output_of(*doubled)).mean(), once.mean())


@pytest.mark.parametrize("mask_tokens", ["decoder", "encoder"])
def test_hidden_pixels_reach_neither_tokens_nor_prediction(mask_tokens):
    model, _ = build(IMAGE, mask_tokens=mask_tokens)
    patches = Patches(IMAGE, 2)
    x, visible = torch.rand(2, 1, 8, 8), torch.tensor([[0, 5, 6, 15], [1, 2, 3, 4]])
    noise = patches.patchify(torch.randn_like(x))
    noise = noise.scatter(1, visible[..., None].expand(-1, -1, 4), 0.0)
    other = x + patches.unpatchify(noise)
    codes = [model.bottleneck(model.encode_view(View(t, visible)), sample=True) for t in (x, other)]
    assert torch.equal(codes[0].tokens, codes[1].tokens)
    assert codes[0].tokens.shape[1] == (4 if mask_tokens == "decoder" else 16)
    assert torch.equal(*(model.decode_code(code) for code in codes))


def test_mask_tokens_leave_visible_places_to_the_encoder():
    torch.manual_seed(0)
    inner = PatchEncoder(IMAGE, 8, 1, 2, patch=4)
    encoder = MaskTokenEncoder(inner)
    x, visible = torch.rand(3, 1, 8, 8), torch.tensor([[0, 2]] * 3)
    embedded = inner.embed(inner.patches.patchify(x))
    embedded[:, [1, 3]] = encoder.mask_token.detach()
    expected = inner.blocks(embedded + inner.positions)
    torch.testing.assert_close(encoder(x, view=View(x, visible)).tokens, expected)
    torch.testing.assert_close(encoder(x, view=View(x)).tokens, inner(x, view=View(x)).tokens)


@pytest.mark.parametrize("count", [2, 5, 16, 49])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75, 0.9])
def test_turns_hide_every_patch_and_show_as_many_as_in_training(count, ratio):
    patches = Patches(Signal("vector", (count,)), 1)
    kept = min(RandomPatchMask(patches, ratio).kept, count - 1)
    turns = HiddenInTurn(nn.Identity(), patches, kept, statistics=False).turns
    shown = [set(turn) for turn in turns.tolist()]
    assert all(len(turn) == kept for turn in shown)
    assert set.intersection(*shown) == set()
    assert len(shown) == -(-count // (count - kept))
    again = HiddenInTurn(nn.Identity(), patches, kept, statistics=False).turns
    assert torch.equal(turns, again)


@pytest.mark.parametrize("mask_ratio", [0.4, 0.75])
def test_reconstruction_of_a_patch_comes_from_other_patches(mask_ratio):
    model, _ = build(IMAGE, mask_ratio=mask_ratio, normalise=False)
    patches, X = Patches(IMAGE, 2), torch.rand(2, 1, 8, 8)
    before = patches.patchify(model.reconstruct(X))
    reached = torch.zeros(16, dtype=torch.bool)
    for place in range(16):
        cells = patches.patchify(X).clone()
        cells[:, place] += 1.0
        after = patches.patchify(model.reconstruct(patches.unpatchify(cells)))
        assert torch.equal(after[:, place], before[:, place])
        reached |= (after != before).any(2).any(0)
    assert reached.all()


class Constant(nn.Module):
    """A decoder that predicts ``value`` everywhere, plus one where the place was visible."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, *, code: TokenCode) -> Tensor:
        seen = torch.zeros(len(code.z), 16).scatter(1, code.visible, 1.0)
        cells = (self.value + seen)[..., None].expand(-1, -1, 4)
        return Patches(IMAGE, 2).unpatchify(cells)


def test_normalised_predictions_are_undone_with_the_inputs_own_statistics():
    model, _ = build(IMAGE, decoder=Constant(0.5), normalise=True)
    X = np.random.default_rng(0).random((3, 1, 8, 8)).astype("float32")
    cells = X.reshape(3, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(3, 16, 4)
    mean, std = cells.mean(2, keepdims=True), cells.std(2, ddof=1, keepdims=True)
    wanted = (mean + 0.5 * std).repeat(4, 2)
    wanted = wanted.reshape(3, 4, 4, 2, 2).transpose(0, 1, 3, 2, 4).reshape(3, 1, 8, 8)
    np.testing.assert_allclose(model.reconstruct(X), wanted, atol=1e-5)
    scores = -((wanted - X) ** 2).reshape(3, -1).mean(1)
    np.testing.assert_allclose(model.score(X), scores, rtol=1e-4)


def test_unnormalised_predictions_are_pixels():
    model, _ = build(IMAGE, decoder=Constant(0.5), normalise=False)
    X = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(model.reconstruct(X), torch.full_like(X, 0.5))


def test_code_of_a_whole_example_is_the_mean_token_and_decodes_to_the_reconstruction():
    model, _ = build(IMAGE)
    X = torch.rand(5, 1, 8, 8)
    inner = model.encoder.encoder
    with torch.no_grad():
        tokens = inner(X, view=View(X)).tokens
    code = model.encode(X, code=True, batch_size=2)
    torch.testing.assert_close(model.encode(X), tokens.mean(1))
    torch.testing.assert_close(code.tokens, tokens)
    assert torch.equal(model.encode(X), model.encode(X))
    torch.testing.assert_close(model.decode(code), model.reconstruct(X))
    assert isinstance(model.decoder, RebuildHidden)


def test_patches_that_cannot_be_hidden_or_normalised_are_errors():
    with pytest.raises(IsthmusError, match="hides none of 4 patches"):
        build(IMAGE, patch=4, mask_ratio=0.1)
    with pytest.raises(IsthmusError, match="one element has no variance"):
        build(IMAGE, patch=1, normalise=True)
    with pytest.raises(IsthmusError, match="do not tile"):
        build(IMAGE, patch=3)


def test_normalisation_is_for_images_unless_asked_for():
    image, vector = build(IMAGE)[0], build(Signal("vector", (20,)))[0]
    assert [next(iter(m.objective)).term.normalise for m in (image, vector)] == [True, False]


def test_published_rate_and_decay():
    model, training = build(IMAGE)
    assert learning_rate(training, 10**7)(Clock(12_500, 10**7)) == pytest.approx(
        1.5e-4 * 4096 / 256, rel=1e-4
    )
    optimiser = make_optimiser(list(model.named_parameters()), training)
    for group in optimiser.param_groups:
        axes = {p.ndim for p in group["params"]}
        assert group["weight_decay"] == (0.0 if axes == {1} else 0.05)
        assert 1 not in axes or axes == {1}
        assert tuple(group["betas"]) == (0.9, 0.95)


def test_short_run_predicts_what_is_hidden_saves_and_loads(tmp_path):
    rng = np.random.default_rng(0)
    X = np.broadcast_to(rng.normal(size=(128, 1, 1, 1)), (128, 1, 8, 8)).astype("float32").copy()
    model = isthmus.fit(
        "mae", X, **SMALL, patch=4, normalise=False, steps=80, batch_size=64, lr=5e-3,
        lr_batch=64, progress=False,
    )  # fmt: skip
    assert isthmus.evaluate(model, X)["fvu"].value < 0.2
    isthmus.save(model, tmp_path / "run", X)
    loaded = isthmus.load(tmp_path / "run")
    np.testing.assert_allclose(loaded.reconstruct(X), model.reconstruct(X), atol=1e-6)
