"""Replacing activations in a forward pass."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError
from isthmus.interpretation import Edit, Splice, spliced
from isthmus.language import generate

from .made import POINT, WIDTH, dictionary, language, ordinary, residual, tokens

HOST, TEXT = language(), tokens()
POINTS = ["layers.0", "layers.1:in", "layers.*.mlp", "layers.*.attention:in", "embed", "norm:in"]


def hooks(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def by_hand(point, change, text=TEXT):
    """Logits with the output of a module changed by a hook of one's own."""
    handle = HOST.module.get_submodule(point).register_forward_hook(lambda m, a, out: change(out))
    try:
        return HOST.logits(text.ids, text.mask)
    finally:
        handle.remove()


@pytest.mark.parametrize("point", POINTS)
def test_the_untouched_activation_changes_no_logit(point):
    with spliced(HOST.module, {point: lambda x: x}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    assert torch.equal(changed, HOST.logits(TEXT.ids, TEXT.mask))


@pytest.mark.parametrize("model", [HOST, HOST.module], ids=["language", "module"])
@pytest.mark.parametrize("recipe", ["topk", "relu-l1", "jumprelu"])
def test_with_the_error_kept_nothing_changes_but_by_rounding(model, recipe):
    edit = Splice(dictionary(recipe), keep_error=True)
    with spliced(model, {POINT: edit}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    torch.testing.assert_close(changed, HOST.logits(TEXT.ids, TEXT.mask), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("point", ["layers.0", "layers.1.mlp", "embed"])
def test_zero_ablation_is_that_of_a_hook_of_ones_own(point):
    with spliced(HOST.module, {point: torch.zeros_like}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    assert torch.equal(changed, by_hand(point, torch.zeros_like))
    assert not torch.allclose(changed, HOST.logits(TEXT.ids, TEXT.mask))


@pytest.mark.parametrize("scaling", ["none", "global", "columns"])
def test_a_reconstruction_takes_the_place_of_ordinary_tokens_alone(scaling):
    model = dictionary(scaling=scaling)

    def rebuilt(x):
        new = x.clone()
        new[ordinary(TEXT)] = model.reconstruct(x[ordinary(TEXT)])
        return new

    with spliced(HOST, {POINT: Splice(model)}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    torch.testing.assert_close(changed, by_hand(POINT, rebuilt))


def test_special_tokens_and_padding_keep_their_bits():
    kept = []
    with spliced(HOST, {POINT: Splice(dictionary()), "layers.1:in": lambda x: kept.append(x) or x}):
        HOST.logits(TEXT.ids, TEXT.mask)
    clean, out = residual(HOST, TEXT), ordinary(TEXT)
    assert torch.equal(kept[0][~out], clean[~out])
    assert (kept[0][out] != clean[out]).any(1).all()


def test_plain_edits_of_a_language_model_leave_special_tokens_alone_too():
    kept = []
    with spliced(HOST, {POINT: torch.zeros_like, "layers.1:in": lambda x: kept.append(x) or x}):
        HOST.logits(TEXT.ids, TEXT.mask)
    assert torch.equal(kept[0].any(2), ~ordinary(TEXT))


@pytest.mark.parametrize("model", [HOST, HOST.module], ids=["language", "module"])
def test_a_mask_says_where(model):
    mask = torch.rand(TEXT.ids.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    with spliced(model, {POINT: torch.zeros_like}, mask=mask):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    assert torch.equal(changed, by_hand(POINT, lambda x: x * ~mask[..., None]))
    own = Splice(dictionary(), mask=mask)
    with spliced(HOST.module, {POINT: own}):
        one = HOST.logits(TEXT.ids)
    with spliced(HOST.module, {POINT: Splice(dictionary())}, mask=mask):
        two = HOST.logits(TEXT.ids)
    assert torch.equal(one, two)


def test_places_by_numbers_and_slices():
    for places, wanted in (
        ([3, 5], [3, 5]),
        (slice(4, None), range(4, 14)),
        (slice(0, 9, 3), [0, 3, 6]),
    ):
        kept = []
        edits = {POINT: Zero(places), "layers.1:in": lambda x, kept=kept: kept.append(x) or x}
        with spliced(HOST.module, edits):
            HOST.logits(TEXT.ids)
        gone = ~kept[0].any(2)
        assert gone.all(0).nonzero().flatten().tolist() == list(wanted)
        assert gone.sum() == len(list(wanted)) * len(TEXT.ids)


class Zero(Edit):
    def rows(self, x, read):
        return torch.zeros_like(x)


@pytest.mark.parametrize("places", [[-1], slice(-2, None), slice(0, -1)])
def test_places_from_the_end_are_an_error(places):
    with spliced(HOST, {POINT: Zero(places)}), pytest.raises(IsthmusError, match="from the end"):
        HOST.logits(TEXT.ids)


def test_several_points_at_once():
    edits = {"layers.0": torch.zeros_like, "layers.1.mlp": lambda x: 2 * x}
    with spliced(HOST.module, edits):
        changed = HOST.logits(TEXT.ids)
    handle = HOST.module.layers[0].register_forward_hook(lambda m, a, out: out * 0)
    other = HOST.module.layers[1].mlp.register_forward_hook(lambda m, a, out: 2 * out)
    expected = HOST.logits(TEXT.ids)
    handle.remove()
    other.remove()
    assert torch.equal(changed, expected)


def test_edits_of_one_point_are_applied_in_order():
    with spliced(HOST.module, {"layers.0": torch.ones_like, "layers.[0]": lambda x: 3 * x}):
        changed = HOST.logits(TEXT.ids)
    assert torch.equal(changed, by_hand("layers.0", lambda x: torch.full_like(x, 3.0)))


def test_hooks_are_gone_after_the_block_and_after_errors():
    def broken(x):
        raise RuntimeError("broken")

    before = hooks(HOST.module)
    with pytest.raises(RuntimeError, match="broken"), spliced(HOST, {"layers.*": broken}):
        HOST.logits(TEXT.ids)
    assert hooks(HOST.module) == before
    with (
        pytest.raises(IsthmusError, match=r"layers\.1"),
        spliced(HOST, {"layers.0": broken, "layerz.1": broken}),
    ):
        pass
    assert hooks(HOST.module) == before
    assert torch.isfinite(HOST.logits(TEXT.ids)).all()


def test_gradients_pass_through_the_code_alone():
    model = dictionary()
    x = torch.randn(5, WIDTH, requires_grad=True)
    kept = Splice(model, keep_error=True)(x)
    torch.testing.assert_close(kept, x)
    (through,) = torch.autograd.grad(kept.square().sum(), x, retain_graph=True)
    (code,) = torch.autograd.grad((2 * kept.detach() * Splice(model)(x)).sum(), x)
    torch.testing.assert_close(through, code)
    assert not torch.allclose(through, 2 * x)


def test_the_autoencoders_mode_is_left_as_it_was():
    model = dictionary().train()
    silent = model.bottleneck.counter.silent_rows.clone()
    Splice(model)(torch.randn(5, WIDTH))
    assert model.training
    assert model.bottleneck.training
    assert torch.equal(model.bottleneck.counter.silent_rows, silent)


def test_half_precision_models():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(WIDTH, WIDTH, dtype=torch.bfloat16)

        def forward(self, x):
            return self.inner(x)

    x = torch.randn(2, 3, WIDTH, dtype=torch.bfloat16)
    half = Half()
    with spliced(half, {"inner": Splice(dictionary())}):
        out = half(x)
    assert out.dtype == torch.bfloat16
    expected = dictionary().reconstruct(half(x).float().detach().flatten(0, 1)).view(2, 3, WIDTH)
    torch.testing.assert_close(out, expected.bfloat16())


class Pair(NamedTuple):
    state: Tensor
    number: int


@dataclass
class Held:
    number: int
    states: tuple[Tensor, Tensor] = field(default_factory=tuple)


class Output(OrderedDict):
    pass


SHAPES = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, None),
    "ids first": lambda x: (torch.zeros(2, dtype=torch.int64), x),
    "list": lambda x: [x, x + 1],
    "named": lambda x: Pair(x, 3),
    "nested": lambda x: ((None, (x,)), 4),
    "mapping": lambda x: Output(loss=None, state=x),
    "dataclass": lambda x: Held(1, (x, x + 1)),
}


def inner(held):
    """The first floating-point tensor, by a loop that knows these shapes."""
    if isinstance(held, Tensor):
        return held if held.is_floating_point() else None
    values = held.values() if isinstance(held, dict) else held
    values = held.states if isinstance(held, Held) else values
    if not isinstance(held, (dict, Held, tuple, list)):
        return None
    return next((found for v in values if (found := inner(v)) is not None), None)


@pytest.mark.parametrize("name", SHAPES)
def test_of_any_output_the_first_tensor_is_edited(name):
    class Part(nn.Module):
        def forward(self, x):
            return SHAPES[name](x)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Part()

        def forward(self, x):
            return self.part(x)

    x, whole = torch.randn(2, 3), Whole()
    with spliced(whole, {"part": lambda x: x * 2}):
        out = whole(x)
    assert type(out) is type(SHAPES[name](x))
    torch.testing.assert_close(inner(out), 2 * x)
    torch.testing.assert_close(inner(whole(x)), x)


def test_inputs_that_have_names_are_edited():
    class Part(nn.Module):
        def forward(self, other=None, *, hidden_states):
            return hidden_states + other

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Part()

        def forward(self, x):
            return self.part(other=torch.ones(3), hidden_states=x)

    x, whole = torch.randn(2, 3), Whole()
    with spliced(whole, {"part:in": lambda x: x * 2}):
        torch.testing.assert_close(whole(x), 2 * x + 1)


def test_a_transcoder_reads_one_point_and_writes_another():
    model = dictionary(x=residual(HOST, TEXT, "layers.1.mlp_norm")[ordinary(TEXT)])
    point, read = "layers.1.mlp", "layers.1.mlp:in"
    with spliced(HOST, {point: Splice(model, reads=read)}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    inputs, out = residual(HOST, TEXT, "layers.1.mlp_norm"), residual(HOST, TEXT, point).clone()
    out[ordinary(TEXT)] = model.reconstruct(inputs[ordinary(TEXT)])
    torch.testing.assert_close(changed, by_hand(point, lambda x: out))
    with spliced(HOST, {point: Splice(model, keep_error=True, reads=read)}):
        changed = HOST.logits(TEXT.ids, TEXT.mask)
    torch.testing.assert_close(changed, HOST.logits(TEXT.ids, TEXT.mask), atol=1e-4, rtol=1e-4)


def test_what_is_read_has_to_come_first_and_to_be_one():
    with (
        spliced(HOST, {POINT: Splice(dictionary(), reads="layers.1")}),
        pytest.raises(IsthmusError, match="earlier"),
    ):
        HOST.logits(TEXT.ids)
    with (
        pytest.raises(IsthmusError, match="2 points"),
        spliced(HOST, {"layers.1": Splice(dictionary(), reads="layers.*.mlp")}),
    ):
        pass


def test_what_does_not_fit_is_said():
    with spliced(HOST, {POINT: lambda x: x[:, :1]}), pytest.raises(IsthmusError, match="shape"):
        HOST.logits(TEXT.ids)
    with (
        spliced(HOST, {"layers.0.mlp.up": Splice(dictionary())}),
        pytest.raises(IsthmusError, match="32 elements and the autoencoder reads 16"),
    ):
        HOST.logits(TEXT.ids)
    wrong = spliced(HOST.module, {POINT: torch.zeros_like}, mask=torch.ones(2, 3).bool())
    with wrong, pytest.raises(IsthmusError, match=r"\(2, 3\)"):
        HOST.logits(TEXT.ids)
    with spliced(HOST, {POINT: torch.zeros_like}), pytest.raises(IsthmusError, match="call its"):
        HOST.module.hidden(TEXT.ids)


def test_with_a_cache_each_place_is_edited_as_without():
    """The logits at each step are those of the whole text with the same edit."""
    edit = {POINT: Splice(dictionary(), mask=slice(2, 7))}
    with spliced(HOST, edit):
        text = generate(HOST, TEXT.ids[:, :4], 6, temperature=0.0)
        whole = HOST.logits(text)
    assert torch.equal(whole[:, 3:-1].argmax(2), text[:, 4:])
    assert not torch.equal(text, generate(HOST, TEXT.ids[:, :4], 6, temperature=0.0))


def test_models_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=40, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    module = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    clean = module(TEXT.ids).logits
    for point in ("model.layers.*", "model.layers.0.self_attn:in", "model.layers.1.mlp", ""):
        with spliced(module, {point: lambda x: x}):
            assert torch.equal(module(TEXT.ids).logits, clean)
    with spliced(module, {"model.layers.0.self_attn": torch.zeros_like}):
        changed = module(TEXT.ids).logits
    handle = module.model.layers[0].self_attn.register_forward_hook(
        lambda m, a, out: (torch.zeros_like(out[0]), *out[1:])
    )
    expected = module(TEXT.ids).logits
    handle.remove()
    assert torch.equal(changed, expected)
    host = language()
    host = type(host)("llama", "", module, host.tokenizer, 32, True, None, "model.layers.*")
    with spliced(host, {"model.layers.0": Splice(dictionary(), mask=slice(2, 7))}):
        text = generate(host, TEXT.ids[:, :4], 6, temperature=0.0)
        whole = host.logits(text)
    assert torch.equal(whole[:, 3:-1].argmax(2), text[:, 4:])
