"""What parts ask for: each word reaches each role, and words that are none are refused."""

import gc
import weakref

import pytest
import torch
from torch import nn

from isthmus.anatomy import (
    Autoencoder,
    Batch,
    Clock,
    Code,
    Each,
    Part,
    Signal,
    SparseCode,
    Step,
    View,
    ask,
)  # fmt: skip
from isthmus.anatomy.signature import ALWAYS, ROLES, WORDS, Wanted, check_hook, function_of, wanted
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary
from isthmus.objectives import MSE

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(5)
MASK = torch.ones(5, 4, dtype=torch.bool)
STEP = Step(Clock(3, 10))


def asking_for(words, kind, **extra):
    """A module of a role that asks for these words and keeps what it was given."""
    space = {"made": kind, "View": View, "Code": Code, **extra}
    offers = ", ".join(words)
    asked = f", *, {offers}" if words else ""
    kept = "{" + ", ".join(f"{w!r}: {w}" for w in words) + "}"
    source = f"def forward(self, x{asked}):\n    self.seen = {kept}\n    return made(x)"
    exec(source, space)
    return type("Asking", (nn.Module,), {"forward": space["forward"]})()


def made_of(**parts):
    chosen = {
        "encoder": nn.Identity(), "bottleneck": Identity(), "decoder": nn.Identity(),
        "objective": MSE(), **parts,
    }  # fmt: skip
    return Autoencoder(Signal("vector", (4,)), **chosen)


KINDS = {
    "corruption": View, "encoder": lambda x: x, "bottleneck": Code, "decoder": lambda x: x,
    "target": lambda x: x,
}  # fmt: skip


@pytest.mark.parametrize("role", list(ROLES))
def test_each_word_reaches_each_role(role):
    part = asking_for(ROLES[role], KINDS[role])
    model = made_of(**{role: part})
    batch = Batch(X, torch.arange(5), MASK, {"label": LABELS})
    out = model(batch, STEP)
    expected = {
        "batch": batch, "step": STEP, "model": model, "mask": MASK, "view": out.views[0],
        "sample": True, "code": out.code, "generator": None,
    }  # fmt: skip
    assert list(part.seen) == list(ROLES[role])
    for word, value in part.seen.items():
        if word == "given":
            assert torch.equal(value["label"], LABELS)
        else:
            assert value is expected[word], word


@pytest.mark.parametrize("role", list(ROLES))
def test_without_a_run_there_is_no_step_and_without_a_batch_nothing_given(role):
    part = asking_for(ROLES[role], KINDS[role])
    made_of(**{role: part})(X)
    assert part.seen["step"] is None
    assert part.seen["given"] == {}
    assert part.seen["mask"] is None
    with pytest.raises(IsthmusError, match=r"asks for 'label' of each row, and the data give none"):
        part.seen["given"]["label"]


def test_at_inference_nothing_is_drawn_and_the_generator_is_the_seeds():
    bottleneck = asking_for(("sample", "given"), Code)
    decoder = asking_for(("generator", "given", "code"), lambda z: z)
    model = made_of(bottleneck=bottleneck, decoder=decoder)
    model.reconstruct(X, given={"label": LABELS})
    assert bottleneck.seen["sample"] is False
    assert torch.equal(bottleneck.seen["given"]["label"], LABELS)
    assert torch.equal(decoder.seen["given"]["label"], LABELS)
    assert isinstance(decoder.seen["generator"], torch.Generator)
    model.decode(X, given={"label": LABELS.flip(0)})
    assert torch.equal(decoder.seen["given"]["label"], LABELS.flip(0))


def test_a_target_and_a_corruption_may_be_functions():
    seen = {}

    def target(x, *, given, step):
        seen.update(given=given, step=step)
        return x * given["label"][:, None]

    out = made_of(target=target)(Batch(X, given={"label": LABELS}), STEP)
    assert torch.equal(out.target, X * LABELS[:, None])
    assert seen["step"] is STEP


# --- words that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("role", list(ROLES))
@pytest.mark.parametrize("default", ["", "=None"])
def test_a_misspelt_word_is_one_sentence_with_the_nearest(role, default):
    part = asking_for((f"modle{default}",), KINDS[role]) if not default else with_default(role)
    with pytest.raises(
        IsthmusError, match=r"Asking asks for 'modle': did you mean 'model'\?$"
    ) as p:
        made_of(**{role: part})
    assert role in str(p.value)
    assert "\n" not in str(p.value)


def with_default(role):
    def forward(self, x, *, modle=None):
        return KINDS[role](x)

    return type("Asking", (nn.Module,), {"forward": forward})()


def test_a_word_like_none_is_answered_with_all_there_are():
    with pytest.raises(IsthmusError, match=r"'zzzz': known are .*batch.*view"):
        made_of(encoder=asking_for(("zzzz",), lambda x: x))


@pytest.mark.parametrize("role", list(ROLES))
def test_a_word_that_a_role_cannot_have(role):
    foreign = sorted(set(WORDS) - set(ROLES[role]))
    assert foreign
    for word in foreign:
        article = "an" if role == "encoder" else "a"
        message = f"the {role} Asking asks for '{word}', which {article} {role} cannot have: it may"
        with pytest.raises(IsthmusError, match=message) as problem:
            made_of(**{role: asking_for((word,), KINDS[role])})
        assert str(problem.value).endswith(", ".join(ROLES[role]))


def test_an_option_with_a_default_is_the_parts_own():
    class Scaled(nn.Module):
        def forward(self, x, *, gain=3.0, view):
            return gain * view.x

    assert torch.equal(made_of(encoder=Scaled())(X).code.z, 3.0 * X)


def test_every_role_has_the_words_that_all_have():
    assert all(set(ALWAYS) <= set(words) <= set(WORDS) for words in ROLES.values())


# --- what is read off a function ----------------------------------------------------------------


def test_wanted_of_functions():
    def plain(x):
        return x

    def asks(x, *, view, mask=None):
        return x

    def whole(*, code):
        return code

    assert wanted(plain) == Wanted((), True)
    assert wanted(asks) == Wanted(("view", "mask"), True)
    assert wanted(whole) == Wanted(("code",), False)
    assert wanted(lambda *rows: rows) == Wanted((), True)
    assert wanted(min) == Wanted((), True)  # has no signature that could be read
    assert wanted(Identity.forward).positional  # not "self", but h
    assert not wanted(Dictionary.forward).positional


def test_ask_offers_what_is_asked_for_and_leaves_out_what_is_not_offered():
    def part(x, *, view, gain=2.0):
        return x, view, gain

    assert ask(part, 1, view=5, mask=7) == (1, 5, 2.0)
    assert ask(lambda *, code: code, 1, code=4) == 4
    with pytest.raises(TypeError, match="view"):
        ask(part, 1, mask=7)


def test_callable_objects_and_replaced_forwards_are_asked():
    class Callable:
        def __call__(self, x, *, step):
            return step

    assert ask(Callable(), X, step=STEP) is STEP
    module = nn.Identity()
    module.forward = lambda x, *, step: step
    assert ask(module, X, step=STEP) is STEP


def test_hooks_are_checked_by_the_same_words():
    def good(self, *, model, step, mine=None):
        pass

    def bad(self, *, stepp):
        pass

    check_hook(good, "Mine.after_update")
    with pytest.raises(
        IsthmusError, match=r"Mine.after_update asks for 'stepp': did you mean 'step'"
    ):
        check_hook(bad, "Mine.after_update")


# --- wrappers ----------------------------------------------------------------------------------


class Wrapper(nn.Module):
    """Passes on what its inner part asks for."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, *, view, batch, given, step, model, mask):
        offers = {"view": view, "batch": batch, "given": given, "step": step, "model": model}
        return 2.0 * ask(self.inner, x, mask=mask, **offers)


def test_a_wrapper_passes_words_on():
    inner = asking_for(ROLES["encoder"], lambda x: x)
    model = made_of(encoder=Wrapper(Wrapper(inner)))
    batch = Batch(X, given={"label": LABELS})
    out = model(batch, STEP)
    assert torch.equal(out.code.z, 4.0 * X)
    assert inner.seen["model"] is model
    assert inner.seen["view"] is out.views[0]
    assert inner.seen["batch"] is batch


def test_a_container_that_knows_of_no_words_gives_none():
    """torch's own Sequential calls its parts with one argument: one that needs more is refused."""
    with pytest.raises(IsthmusError, match=r"'view', which nn\.Sequential does not pass on"):
        made_of(encoder=nn.Sequential(asking_for(("view",), lambda x: x)))


# --- the whole code ----------------------------------------------------------------------------


def test_a_decoder_of_the_whole_code_is_never_given_z(monkeypatch):
    """Building z of a sparse code takes as much memory as all latents of all rows."""

    def dense(self):
        raise AssertionError("z was built")

    class Sparse(nn.Module):
        def forward(self, h, *, sample=False):
            return SparseCode(h[:, :2], torch.tensor([[0, 3]] * len(h)), 7)

    decoder = Dictionary(7, (4,))
    model = made_of(bottleneck=Sparse(), decoder=decoder)
    expected = decoder.decode(model(X).code)
    monkeypatch.setattr(SparseCode, "z", property(dense))
    out = model(X, STEP)
    MSE()(model, out)
    torch.testing.assert_close(out.recon, expected)
    torch.testing.assert_close(model.reconstruct(X), expected)
    model.score(X)
    code = model.encode(X, code=True)
    torch.testing.assert_close(model.decode(code), expected)
    with pytest.raises(AssertionError, match="z was built"):
        _ = out.code.z


def test_what_is_known_of_a_function_keeps_no_model_alive():
    class Told(Part):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 4)

        def forward(self, x, *, view):
            return self.line(x)

        def after_update(self, *, model, step):
            self.last = step

    part = Told()
    ask(part, X, view=View(X))
    ask(part.after_update, model=None, step=STEP)
    assert part.last is STEP
    gone = weakref.ref(part)
    del part
    gc.collect()
    assert gone() is None
    assert function_of(Told().after_update) is Told.after_update


def built(**parts):
    whole = {"encoder": nn.Linear(4, 2), "bottleneck": Identity(), "decoder": nn.Linear(2, 4)}
    return Autoencoder(Signal("vector", (4,)), **{**whole, **parts}, objective=MSE())


class Ordinary(nn.Module):
    def forward(self, h, sample=False):
        return Code(h + torch.randn_like(h) if sample else h)


class Two(nn.Module):
    def forward(self, x, view):
        return x[:, :2]


class Foreign(nn.Module):
    """As modules written for elsewhere have it."""

    def forward(self, x, mask=None, batch=None, dropped=0.0):
        return x[:, :2]


class Misspelt(nn.Module):
    def forward(self, x, *, veiw):
        return x[:, :2]


class NeedsView(nn.Module):
    def forward(self, x, *, view):
        return x[:, :2]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"bottleneck": Ordinary()}, r"'sample' as an ordinary argument .* forward\(h, \*, sample"),
        ({"encoder": Two()}, r"'view' as an ordinary argument .* forward\(x, \*, view\)"),
        ({"encoder": Each({"a": Misspelt()})}, "'veiw': did you mean 'view'"),
        ({"encoder": Each({"a": Each({"b": Misspelt()})})}, "'veiw': did you mean 'view'"),
        ({"encoder": nn.Sequential(nn.ReLU(), NeedsView())}, "nn.Sequential does not pass on"),
    ],
)
def test_what_would_never_be_passed_is_refused_at_once_and_when_it_is_put_in(parts, said):
    with pytest.raises(IsthmusError, match=said):
        built(**parts)
    model = built()
    for role, part in parts.items():
        with pytest.raises(IsthmusError, match=said):
            setattr(model, role, part)


def test_modules_written_for_elsewhere_are_welcome():
    assert built(encoder=Foreign()).encode(torch.ones(3, 4)).shape == (3, 2)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    built(encoder=nn.Sequential(layer, nn.Linear(4, 2)))
    built(encoder=nn.TransformerEncoder(layer, 1, enable_nested_tensor=False))


def test_a_bottleneck_that_returns_no_code_is_one_sentence():
    with pytest.raises(IsthmusError, match="the bottleneck ReLU returned a Tensor: return a Code"):
        built(bottleneck=nn.ReLU())(torch.ones(3, 4))
