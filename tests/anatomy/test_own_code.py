"""Kinds of codes of one's own: a dataclass is all they need."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import isthmus
from isthmus.anatomy import Autoencoder, Code, Signal, SparseCode, ThresholdCode, unstored
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


@dataclass(eq=False)
class Scaled(Code):
    z: Tensor
    scale: Tensor
    levels: int
    trace: Tensor | None = unstored()


@dataclass(eq=False)
class Tree(Code):
    """A code of codes, whose z is built from them."""

    coarse: Scaled
    fine: SparseCode
    more: dict[str, Tensor | Code] = field(default_factory=dict)

    @property
    def z(self):
        return torch.cat((self.coarse.z, self.fine.z), 1)


def scaled(h):
    return Scaled(h, h.abs().amax(1), 3, trace=torch.ones(7))


def tree(h):
    values, indices = h.topk(2)
    return Tree(scaled(h), SparseCode(values, indices, 4, h), {"own": h[:, :1], "leaf": Code(-h)})


NAMES = {
    scaled: ["z", "scale"],
    tree: ["coarse.z", "coarse.scale", "fine.values", "fine.indices", "more.own", "more.leaf.z"],
}


class Bottleneck(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.make = make

    def forward(self, h, *, sample=False):
        return self.make(h)


def model_of(make, width):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (4,)),
        encoder=nn.Linear(4, 4),
        bottleneck=Bottleneck(make),
        decoder=nn.Linear(width, 4),
        objective=MSE(),
    )


@pytest.mark.parametrize(("make", "width"), [(scaled, 4), (tree, 8)])
def test_an_own_kind_is_encoded_joined_decoded_saved_and_loaded(make, width, tmp_path):
    model = isthmus.fit(model_of(make, width), X, steps=3, batch_size=16, progress=False)
    code = model.encode(X, code=True, batch_size=7)
    assert list(code.tensors()) == NAMES[make]
    assert (len(code), code.width) == (50, width)
    whole = model.encode(X, code=True)
    for name, tensor in code.tensors().items():
        assert not tensor.requires_grad
        torch.testing.assert_close(tensor, whole.tensors()[name])
    np.testing.assert_allclose(model.decode(code), model.reconstruct(X), atol=1e-6)
    np.testing.assert_array_equal(code.matrix().toarray(), code.z.numpy())
    assert isthmus.evaluate(model, X)["fvu"].value > 0
    isthmus.save(model, tmp_path / "m", X=X)
    again = isthmus.load(tmp_path / "m", model_of(make, width))
    np.testing.assert_array_equal(again.encode(X), model.encode(X))


def test_rows_are_taken_throughout_a_tree_and_scratch_is_left_behind():
    code = tree(torch.from_numpy(X).requires_grad_())
    assert code.coarse.trace is not None
    for rows in (slice(3, 9), torch.tensor([4, 0, 4]), torch.arange(50) % 7 == 0):
        part = code.take(rows)
        assert part.coarse.trace is None
        assert part.fine.preactivations is None
        assert part.coarse.levels == 3
        for name, tensor in code.tensors().items():
            assert torch.equal(part.tensors()[name], tensor[rows])
    there = code.to("meta")
    assert {t.device.type for t in there.tensors().values()} == {"meta"}
    assert not any(t.requires_grad for t in code.detached().tensors().values())


def test_one_part_is_replaced_by_its_name():
    code = tree(torch.from_numpy(X))
    other = torch.zeros(50)
    fresh = code.replaced(**{"coarse.scale": other, "more.leaf.z": other})
    assert fresh.coarse.scale is fresh.more["leaf"].z is other
    assert fresh.coarse.trace is code.coarse.trace
    assert code.coarse.scale is not other
    assert Code(other[:, None]).replaced(z=X).z is X
    with pytest.raises(IsthmusError, match="did you mean 'coarse'"):
        code.replaced(**{"course.z": other})
    with pytest.raises(IsthmusError, match="did you mean 'scale'"):
        code.replaced(**{"coarse.skale": other})


def test_draws_lie_behind_the_sample_axis():
    @dataclass(eq=False)
    class Drawn(Code):
        z: Tensor
        mean: Tensor
        samples: int | None = None

    mean = torch.randn(6, 2)
    code = Drawn(mean + torch.randn(3, 6, 2), mean, 3)
    parts = [code.take(slice(0, 2)), code.take(slice(2, 6))]
    whole = Code.join(parts)
    assert (len(whole), whole.width, whole.samples) == (6, 2, 3)
    assert torch.equal(whole.z, code.z)
    with pytest.raises(IsthmusError, match="3 draws"):
        code.active()


def test_what_cannot_be_stored_is_said_where_it_is_made():
    class Plain(Code):
        def __init__(self, z, more):
            self.z, self.more = z, more

    class Annotated(ThresholdCode):
        more: Tensor

    @dataclass(eq=False)
    class Headless(Code):
        more: Tensor

    x = torch.ones(2, 2)
    with pytest.raises(IsthmusError, match="Plain is a kind of code but no dataclass"):
        Plain(x, x)
    with pytest.raises(IsthmusError, match="Annotated is a kind of code but no dataclass"):
        Annotated(x)
    with pytest.raises(IsthmusError, match="Headless has no z"):
        Headless(x)


def test_codes_that_do_not_belong_together_are_not_joined():
    x = torch.ones(2, 4)
    index = torch.zeros(2, 4, dtype=torch.int64)
    for codes, why in (
        ([], "no codes"),
        ([Code(x), scaled(x)], "a Code and a Scaled"),
        ([SparseCode(x, index, 5), Code(x)], "a SparseCode and a Code"),
        ([SparseCode(x, index, 5), SparseCode(x, index, 6)], "width, 5 and 6"),
        ([Code(x), Code(x[:, :3])], r"their z, shape \(2, 4\) and shape \(2, 3\)"),
        ([scaled(x), Scaled(x, x[:, 0], 4)], "levels, 3 and 4"),
    ):
        with pytest.raises(IsthmusError, match=why):
            Code.join(codes)
