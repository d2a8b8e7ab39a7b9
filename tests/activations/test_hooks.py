import pytest
import torch
from torch import nn

from isthmus.activations import Activations
from isthmus.activations.hooks import first_tensor
from isthmus.errors import IsthmusError

from .tiny import Model, language


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


X = torch.randint(2, 32, (4, 7), generator=torch.Generator().manual_seed(1))


def test_outputs_and_inputs_are_those_of_a_hand_written_pass(model):
    acts = Activations(model, ["layers.*", "layers.2.mlp:in", "embed:out", "head:in"])
    assert acts.points == (
        "layers.0",
        "layers.1",
        "layers.2",
        "layers.2.mlp:in",
        "embed",
        "head:in",
    )
    held = acts(X)
    assert list(held) == list(acts.points)
    with torch.no_grad():
        x = model.embed(X)
        assert torch.equal(held["embed"], x)
        for i, layer in enumerate(model.layers):
            if i == 2:
                means = x.cumsum(1) / torch.arange(1, 8)[:, None]
                assert torch.equal(held["layers.2.mlp:in"], means)
            x = layer(x)[0]
            assert torch.equal(held[f"layers.{i}"], x)
    assert held["head:in"].data_ptr() == held["layers.2"].data_ptr()  # nothing was copied


def test_the_pass_ends_with_the_last_point(model):
    ran = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    Activations(model, "layers.1.mlp.0")(X)
    assert ran[-1] == "layers.1.mlp.0"
    ran.clear()
    Activations(model, ["layers.1.mlp:in", "layers.0"])(X)
    assert ran[-1] == "layers.1.mlp"  # its hooks ran, and nothing in it


def test_points_may_be_reached_in_another_order_than_named():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.a(self.b(x))

    model, x = Backwards(), torch.randn(2, 3)
    held = Activations(model, ["a", "b"])(x)
    assert torch.equal(held["a"], model.a(held["b"]))


def test_a_pattern_matches_component_by_component(model):
    names = Activations(model, "layers.[01].mlp.*").points
    assert names == tuple(f"layers.{i}.mlp.{j}" for i in (0, 1) for j in (0, 1, 2))
    assert Activations(model, "*").points == ("embed", "layers", "head")
    assert Activations(model, "layers.1", side="input").points == ("layers.1:in",)
    assert Activations(model, ["layers.1:out", "layers.*"], side="input").points == (
        "layers.1", "layers.0:in", "layers.1:in", "layers.2:in",
    )  # fmt: skip


def test_a_dot_is_the_model_itself(model):
    held = Activations(model, [".", "head", "", ".:in"])(X)
    assert list(held) == [".", "head", ".:in"]
    assert torch.equal(held["."], held["head"])
    assert held[".:in"] is not X
    assert torch.equal(held[".:in"], X)


def test_a_point_named_twice_counts_once(model):
    acts = Activations(model, ["layers.1", "layers.*", "layers.1:out"])
    assert acts.points == ("layers.1", "layers.0", "layers.2")
    assert len(acts(X)) == 3


def test_a_module_that_runs_twice_gives_its_first_run():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.last = nn.Linear(3, 3), nn.Identity()

        def forward(self, x):
            return self.last(self.step(self.step(x)))

    model, x = Loop(), torch.randn(2, 3)
    held = Activations(model, ["step", "step:in", "last"])(x)
    assert torch.equal(held["step"], model.step(x))
    assert torch.equal(held["step:in"], x)
    assert torch.equal(held["last"], model(x))


def test_a_module_with_two_paths_is_found_by_both():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    x = torch.randn(2, 3)
    held = Activations(model, ["0", "2"])(x)
    assert torch.equal(held["0"], shared(x))
    assert torch.equal(held["2"], shared(x))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_what_a_later_module_overwrites_is_kept(mode):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(8, 4)
    acts = Activations(model, ["0", "1:in", "1", "2"])
    with mode():
        for _ in range(2):
            held = acts(x)
            assert torch.equal(held["0"], nn.functional.linear(x, model[0].weight, model[0].bias))
            assert torch.equal(held["1:in"], held["0"])
            assert (held["0"] < 0).any()
            assert torch.equal(held["1"], held["0"].relu())


def test_graph_only_where_asked_for(model):
    assert not Activations(model, "layers.0")(X)["layers.0"].requires_grad
    held = Activations(model, "layers.0", grad=True)(X)["layers.0"]
    held.sum().backward()
    assert model.embed.weight.grad is not None
    assert model.layers[1].mlp[0].weight.grad is None


def test_tensors_in_mappings_keywords_and_objects():
    class Named(nn.Module):
        def forward(self, *, mask, hidden_states):
            return {"mask": mask, "states": [hidden_states * 2]}

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.named, self.after = Named(), nn.Identity()

        def forward(self, x):
            return self.after(self.named(mask=torch.zeros(2), hidden_states=x)["states"][0])

    x = torch.randn(2, 3)
    held = Activations(Outer(), ["named", "named:in"], side="output")(x)
    assert torch.equal(held["named:in"], x)  # before the mask, which comes first
    assert torch.equal(held["named"], torch.zeros(2))  # the first of an output
    with pytest.raises(IsthmusError, match="'named' holds no tensor"):
        Activations(nn.ModuleDict({"named": Silent()}).named.outer, "named")(x)


class Silent(nn.Module):
    """Its part gives no tensor."""

    def __init__(self):
        super().__init__()
        self.outer = nn.Module()
        self.outer.named = nn.Identity()
        self.outer.forward = lambda x: self.outer.named("text")


def test_first_tensor_prefers_real_numbers():
    numbers, real = torch.arange(3), torch.ones(3)
    assert first_tensor((None, [numbers], {"x": (real,)})) is real
    assert first_tensor(("a", numbers)) is numbers
    assert first_tensor("nothing") is None


def test_hooks_go_whatever_happens(model):
    acts = Activations(model, ["layers.*", "head"])
    acts(X)
    assert hooks_of(model) == 0
    with pytest.raises(IndexError):
        acts(X + 1000)
    assert hooks_of(model) == 0
    assert torch.equal(acts(X)["head"], model(X))


def test_a_model_that_catches_exceptions_cannot_catch_the_end():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.fallback = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            try:
                return self.inner(x)
            except Exception:
                return self.fallback(x)

    model, x = Careful(), torch.randn(2, 3)
    assert torch.equal(Activations(model, "inner")(x)["inner"], model.inner(x))


def test_one_inside_another():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    inner = Activations(model[1], ".")
    seen = {}
    model[1].register_forward_pre_hook(lambda _, args: None)
    outer = Activations(model, ["0", "1"])
    x = torch.randn(2, 3)

    def look(module, args, output):
        if not seen:
            seen["output"] = inner(output)["."]

    model[0].register_forward_hook(look)
    held = outer(x)
    assert torch.equal(held["1"], model(x))
    assert torch.equal(seen["output"], held["1"])


def test_the_mode_is_left_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model.train()
    Activations(model, "1")(torch.ones(2, 3))
    assert model.training


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("layer.0", "no module 'layer.0': did you mean 'layers.0'"),
        ("layers.*.mpl", r"did you mean 'layers.\*.mlp'"),
        ("layers.7", "did you mean 'layers.2'"),
        ("zzzzzz", r"it has 'embed', 'layers', 'layers.\*'"),
        ("layers.0:in:a:b", "names more than a module"),
        ([], "no point of the model was named"),
    ],
)
def test_errors_name_the_nearest(model, at, message):
    with pytest.raises(IsthmusError, match=message):
        Activations(model, at)


def test_a_side_that_is_none(model):
    with pytest.raises(IsthmusError, match="neither 'output' nor 'input'"):
        Activations(model, "head", side="both")


def test_a_point_that_the_pass_does_not_come_by(model):
    model.spare = nn.Linear(2, 2)
    with pytest.raises(IsthmusError, match="does not come by 'spare'"):
        Activations(model, ["spare", "head"])(X)
    assert hooks_of(model) == 0


def test_the_same_through_a_language_model():
    host = language()
    held = Activations(host.module, "head")(X, attention_mask=torch.ones(4, 7, dtype=torch.bool))
    assert torch.equal(held["head"], host.logits(X))
