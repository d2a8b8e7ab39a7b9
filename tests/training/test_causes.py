"""What a NaN is blamed on: the data, the rate, a gradient, a part, half precision, or a term."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training.non_finite_loss import NonFiniteLoss, investigate

QUICK = {"steps": 60, "batch_size": 32, "progress": False}


def model(objective=None, encoder=None, decoder=None, **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=encoder or nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=decoder or nn.Linear(3, 6),
        objective=objective or MSE(),
        **parts,
    )


def blamed(made, **options):
    with pytest.raises(NonFiniteLoss) as found:
        isthmus.fit(made, toys.X, **{**QUICK, **options})
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("lr", [1e2, 1e3, 1e6])
def test_a_rate_that_is_too_large(lr):
    text = blamed(model(), lr=lr, optimiser="sgd")
    assert f"the learning rate is too large (lr={lr:g}): lower it" in text


class Root(Term):
    """Its value is finite at 0, and its gradient is not."""

    name, unit = "root", "units"

    def __init__(self, kind):
        self.kind = kind

    def forward(self, model, out):
        zero = (out.code.z * 0).square().sum(1)
        if self.kind == "root":
            return zero.sqrt()
        if self.kind == "norm":
            return torch.where(zero > 0, zero / zero, zero)
        return (zero + 1e-46).pow(0.5)


@pytest.mark.parametrize("kind", ["root", "norm", "power"])
def test_a_gradient_that_is_not_finite_though_the_loss_is(kind):
    text = blamed(model(MSE() + Root(kind)), lr=1e-4)
    assert "at step 1 " in text
    assert "encoder.weight" in text
    assert "gradient" in text


class Emits(nn.Module):
    def __init__(self, inputs, outputs, after=3, value=torch.nan, when=(True,)):
        super().__init__()
        self.inner, self.after, self.value, self.when = (
            nn.Linear(inputs, outputs),
            after,
            value,
            when,
        )
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        late = self.calls > self.after and self.training in self.when
        return self.inner(x) * (self.value if late else 1.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_part_that_emits_it(value):
    assert "the encoder Emits returned it" in blamed(model(encoder=Emits(6, 3, value=value)))
    assert "the decoder Emits returned it" in blamed(model(decoder=Emits(3, 6, value=value)))


def test_a_corruption_that_emits_it():
    from isthmus.anatomy import View

    class Breaks(nn.Module):
        def forward(self, x):
            return View(x / 0.0)

    assert "the corruption Breaks returned it" in blamed(model(corruption=Breaks()))


@pytest.mark.parametrize("folder", [True, False])
def test_a_part_that_emits_it_in_evaluation_only(folder, tmp_path):
    broken = model(decoder=Emits(3, 6, when=(False,)))
    if folder:
        with pytest.raises(IsthmusError, match="in evaluation the model returns NaN"):
            isthmus.fit(broken, toys.X, out=tmp_path / "m", **QUICK)
        return
    fitted = isthmus.fit(broken, toys.X, **QUICK)
    assert any("in evaluation the model returns NaN" in note for note in fitted.config["notes"])


def test_half_precision_that_overflows():
    class Large(Term):
        name, unit = "large", "units"

        def forward(self, model, out):
            return (out.code.z[:, 0].abs() + 1).log() * torch.tensor(1e38) * 1e38

    assert "precision=32" in blamed(model(MSE() + Large()), precision="bf16")


@pytest.mark.parametrize(("row", "column"), [(0, 0), (7, 5), (31, 2)])
def test_data_are_blamed_by_row_and_column(row, column):
    """Data are checked where they are read; of a source that is not, the row is named."""
    made = model()
    x = torch.as_tensor(toys.X[:32]).clone()
    x[row, column] = torch.nan
    batch = isthmus.anatomy.Batch(x, torch.arange(32) + 32)
    out = made(batch)
    losses = made.objective(made, out)
    found = investigate(made, out, "model", batch, losses, toys.SOURCE, None, 0)
    assert f"the data hold NaN or infinity in row {row + 32}, column {column}" in str(found)


class Few(Term):
    name, unit = "few", "units"

    def forward(self, model):
        return 0


class Detached(Term):
    name, unit = "detached", "units"

    def forward(self, model, out):
        return out.code.z.detach().square().sum(1)


class Shaped(Term):
    name, unit = "shaped", "units"

    def __init__(self, shape):
        self.shape = shape

    def forward(self, model, out):
        z = out.code.z
        return {"matrix": z, "scalar": z.sum(), "column": z[:, :1], "number": 1.0}[self.shape]


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (Few, "write forward\\(self, model, out\\)"),
        (Detached, "has no gradient"),
        (lambda: Shaped("matrix"), r"shaped returned shape \(32, 3\)"),
        (lambda: Shaped("column"), r"shaped returned shape \(32, 1\)"),
        (lambda: Shaped("scalar"), r"shaped returned shape \(\)"),
        (lambda: Shaped("number"), "shaped returned float"),
    ],
)
def test_a_term_that_is_none_is_one_sentence(term, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        isthmus.fit(model(term()), toys.X, **QUICK)
    assert "\n" not in str(problem.value)


def test_a_detached_term_beside_another_is_welcome():
    fitted = isthmus.fit(model(MSE() + Detached()), toys.X, **{**QUICK, "steps": 2})
    assert np.isfinite(fitted.history[-1]["detached"])
