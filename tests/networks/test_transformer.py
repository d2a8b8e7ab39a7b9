import math

import pytest
import torch
from torch import nn

from isthmus.anatomy import Signal, TokenCode, View
from isthmus.errors import IsthmusError
from isthmus.networks import (
    PatchDecoder,
    PatchEncoder,
    TransformerDecoder,
    TransformerEncoder,
)
from isthmus.networks.attention import SelfAttention, TransformerBlock

IMAGE = Signal("image", (2, 8, 12))
COUNT = 6
SMALL = {"width": 16, "depth": 2, "heads": 2, "patch": 4}


def lively(module: nn.Module) -> nn.Module:
    """Random biases and scales too, so that a part which is left out is noticed."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


def some_visible(rows: int = 3, kept: int = 3) -> torch.Tensor:
    return torch.rand(rows, COUNT).argsort(1)[:, :kept]


def seen_by(encoder, x, visible):
    return encoder(x, view=View(x, visible))


@pytest.mark.parametrize("class_token", [False, True])
def test_hidden_patches_reach_no_token(class_token):
    torch.manual_seed(0)
    encoder = lively(PatchEncoder(IMAGE, **SMALL, class_token=class_token))
    x, visible = torch.randn(3, *IMAGE.shape).double(), some_visible()
    patches = encoder.patches.patchify(x)
    hidden = torch.ones(3, COUNT, dtype=torch.bool).scatter(1, visible, False)
    changed = torch.where(hidden[..., None], torch.full_like(patches, 1e6), patches)
    before = seen_by(encoder, x, visible)
    after = seen_by(encoder, encoder.patches.unpatchify(changed), visible)
    assert torch.equal(before.tokens, after.tokens)
    x.requires_grad_()
    seen_by(encoder, x, visible).tokens.square().sum().backward()
    reached = encoder.patches.patchify(x.grad).abs().sum(2) > 0
    assert torch.equal(reached, ~hidden)


def test_visible_tokens_equal_those_of_a_signal_without_the_others():
    """A row of hand-picked patches through the blocks is what the encoder computes."""
    torch.manual_seed(0)
    encoder = lively(PatchEncoder(IMAGE, **SMALL))
    x, visible = torch.randn(3, *IMAGE.shape).double(), some_visible()
    got = seen_by(encoder, x, visible)
    for row in range(3):
        alone = []
        for index in visible[row].tolist():
            top, left = 4 * (index // 3), 4 * (index % 3)
            patch = x[row, :, top : top + 4, left : left + 4].permute(1, 2, 0).reshape(-1)
            alone.append(encoder.embed(patch) + encoder.positions[index])
        torch.testing.assert_close(got.tokens[row], encoder.blocks(torch.stack(alone)[None])[0])


def test_the_order_of_visible_patches_only_orders_the_tokens():
    torch.manual_seed(0)
    encoder = lively(PatchEncoder(IMAGE, **SMALL))
    decoder = lively(PatchDecoder(IMAGE, 16, 8, 1, 2, 4))
    x, visible, order = torch.randn(3, *IMAGE.shape).double(), some_visible(), [2, 0, 1]
    straight, permuted = (seen_by(encoder, x, v) for v in (visible, visible[:, order]))
    torch.testing.assert_close(permuted.tokens, straight.tokens[:, order])
    pixels = [
        decoder(code=TokenCode(tokens.mean(1), tokens, where))
        for tokens, where in (straight, permuted)
    ]
    torch.testing.assert_close(*pixels)


def test_no_mask_sees_every_patch():
    torch.manual_seed(0)
    encoder = lively(PatchEncoder(IMAGE, **SMALL))
    x = torch.randn(3, *IMAGE.shape).double()
    everything = torch.arange(COUNT).repeat(3, 1)
    got, spelt_out = encoder(x, view=View(x)), seen_by(encoder, x, everything)
    assert torch.equal(got.visible, everything)
    assert torch.equal(encoder(x).tokens, got.tokens)  # without a view at all
    torch.testing.assert_close(got.tokens, spelt_out.tokens)


def test_the_decoder_puts_each_token_at_its_place():
    """With the blocks taken out, each patch depends on its own token or on the mask token."""
    torch.manual_seed(0)
    decoder = lively(PatchDecoder(IMAGE, 16, 8, 1, 2, 4))
    decoder.blocks = nn.Identity()
    tokens, visible = torch.randn(3, 3, 16).double(), some_visible()
    cut = decoder.patches.patchify(decoder(code=TokenCode(tokens.mean(1), tokens, visible)))
    for row in range(3):
        for place in range(COUNT):
            at = (visible[row] == place).nonzero()
            start = decoder.embed(tokens[row, at[0, 0]]) if len(at) else decoder.mask_token[0, 0]
            torch.testing.assert_close(
                cut[row, place], decoder.head(start + decoder.positions[place])
            )


def test_attention_follows_its_formula():
    torch.manual_seed(0)
    layer = lively(SelfAttention(12, 3))
    x = torch.randn(2, 5, 12).double()
    query, key, value = layer.qkv(x).chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(4)
        heads.append(scores.softmax(-1) @ value[..., part])
    torch.testing.assert_close(layer(x), layer.out(torch.cat(heads, -1)))


def test_a_block_agrees_with_the_pre_norm_layer_of_torch():
    torch.manual_seed(0)
    block = lively(TransformerBlock(12, 3))
    peer = nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
    ).double()
    peer.load_state_dict(
        dict(
            zip(
                ["norm1.weight", "norm1.bias", "self_attn.in_proj_weight", "self_attn.in_proj_bias",
                 "self_attn.out_proj.weight", "self_attn.out_proj.bias", "norm2.weight",
                 "norm2.bias", "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"],
                block.state_dict().values(),
                strict=True,
            )
        )
    )  # fmt: skip
    x = torch.randn(2, 5, 12).double()
    torch.testing.assert_close(block(x), peer(x))


def test_every_parameter_is_trained():
    torch.manual_seed(0)
    encoder = PatchEncoder(IMAGE, **SMALL, class_token=True)
    decoder = PatchDecoder(IMAGE, 16, 8, 1, 2, 4)
    tokens, visible = seen_by(encoder, torch.randn(3, *IMAGE.shape), some_visible())
    out = decoder(code=TokenCode(tokens.mean(1), tokens, visible))
    (out * torch.randn_like(out)).sum().backward()
    general = nn.Sequential(
        TransformerEncoder(IMAGE, 5, **SMALL), TransformerDecoder(IMAGE, 5, **SMALL)
    )
    out = general(torch.randn(3, *IMAGE.shape))
    (out * torch.randn_like(out)).sum().backward()
    for network in (encoder, decoder, general):
        assert [n for n, p in network.named_parameters() if not p.grad.any()] == []


def test_linears_start_xavier_uniform_and_positions_are_not_trained():
    encoder = PatchEncoder(IMAGE, 64, 2, 4, 4)
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            largest = float(module.weight.detach().abs().max())
            assert 0.97 * bound < largest <= bound, name
            assert not module.bias.any()
    assert not any("positions" in name for name in encoder.state_dict())
    assert "positions" in dict(encoder.named_buffers())


@pytest.mark.parametrize(
    "signal",
    [
        Signal("vector", (30,)),
        Signal("vector", (1,)),
        Signal("series", (12, 3)),
        Signal("image", (1, 28, 28)),
        Signal("image", (3, 27, 31)),
    ],
    ids=str,
)
def test_the_general_pair_serves_any_signal(signal):
    options = {"width": 16, "depth": 1, "heads": 2}
    x = torch.randn(2, *signal.shape)
    z = TransformerEncoder(signal, 3, **options)(x)
    assert z.shape == (2, 3)
    out = TransformerDecoder(signal, 3, **options, final="sigmoid")(z)
    assert out.shape == x.shape
    assert bool(((out > 0) & (out < 1)).all())


def test_the_general_encoder_averages_the_tokens():
    torch.manual_seed(0)
    encoder = lively(TransformerEncoder(IMAGE, 5, **SMALL))
    x = torch.randn(3, *IMAGE.shape).double()
    tokens = encoder.tokens(x).tokens
    expected = encoder.head(sum(tokens.unbind(1)) / COUNT)
    torch.testing.assert_close(encoder(x), expected)


def test_the_general_pair_learns_to_rebuild():
    torch.manual_seed(0)
    x = torch.randn(16, 2) @ torch.randn(2, 12)
    signal, options = Signal("vector", (12,)), {"width": 16, "depth": 1, "heads": 2}
    pair = nn.Sequential(
        TransformerEncoder(signal, 2, **options), TransformerDecoder(signal, 2, **options)
    )
    optimiser = torch.optim.Adam(pair.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (pair(x) - x).square().mean() / x.square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


def test_heads_must_divide_the_width():
    with pytest.raises(IsthmusError, match="width=16 does not divide into 3 heads"):
        PatchEncoder(IMAGE, 16, 1, 3, 4)
