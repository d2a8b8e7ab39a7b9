"""A loss that is not finite: named term, step and rows, and the batch kept for replay."""

import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Signal, Term
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE
from isthmus.training import non_finite_loss as forensics
from isthmus.training.non_finite_loss import NonFiniteLoss


class Poisoned(Term):
    """NaN for rows whose first value is above a limit, from a step on."""

    name, unit = "poisoned", "units"

    def __init__(self, limit, step, value=torch.nan):
        self.limit, self.step, self.value = limit, step, value

    def forward(self, model, out):
        bad = (out.x[:, 0] > self.limit) & (out.clock.step >= self.step)
        return torch.where(bad, self.value, 0.0)


class Together(Poisoned):
    name, per_example, estimator = "together", False, "the sum over the batch"

    def forward(self, model, out):
        return super().forward(model, out).sum()


def model(extra):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=MSE() + extra,
    )


LIMIT = float(np.sort(toys.X[:, 0])[-12])
BAD = set(np.flatnonzero(toys.X[:, 0] > LIMIT).tolist())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("options", [{}, {"accumulate": 4}, {"validation": 0.25}])
def test_term_step_rows_and_batch(tmp_path, value, options):
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteLoss) as found:
        isthmus.fit(
            model(Poisoned(LIMIT, 3, value)), toys.X, steps=40, batch_size=32, out=folder,
            save_every=2, progress=False, **options,
        )  # fmt: skip
    problem = found.value
    assert problem.terms == ["poisoned"]
    assert problem.step >= 3
    assert problem.rows
    # the user's own row numbers, also where part of the rows is held out
    assert set(problem.rows) <= BAD
    saved = load_file(folder / "nonfinite.safetensors")
    np.testing.assert_array_equal(saved["x"].numpy(), toys.X[saved["row"].numpy()])
    assert set(saved["row"].tolist()) & BAD == set(problem.rows)
    text = str(problem)
    assert f"poisoned became NaN or infinite at step {problem.step}" in text
    assert str(problem.rows[0]) in text
    assert str(folder / "nonfinite.safetensors") in text
    assert "\n" not in text
    isthmus.load(folder, model(Poisoned(LIMIT, 3)))  # the last good checkpoint is there


def test_rows_held_out_are_named_as_the_user_knows_them():
    class Quiet(Poisoned):
        def forward(self, model, out):
            value = super().forward(model, out)
            return torch.zeros_like(value) if model.training else value

    with pytest.raises(NonFiniteLoss) as found:
        isthmus.fit(
            model(Quiet(LIMIT, 0)), toys.X, steps=9, batch_size=16, validation=0.4,
            validate_every=1, progress=False,
        )  # fmt: skip
    assert found.value.rows
    assert set(found.value.rows) <= BAD


def test_a_set_level_term_has_no_rows():
    with pytest.raises(NonFiniteLoss, match=r"term together .* \(no single row\): lower lr"):
        toys.trainer(model(Together(-100.0, 0))).run()


def test_an_overflow_of_the_sum_alone_is_called_the_total():
    class Huge(Term):
        name, unit = "huge", "units"

        def forward(self, model, out):
            return torch.full((len(out.x),), 3e38)

    with pytest.raises(NonFiniteLoss) as found:
        toys.trainer(model(10.0 * Huge())).run()
    assert found.value.terms == ["total"]


def test_many_rows_are_cut_short():
    with pytest.raises(NonFiniteLoss, match=r"and 10 more of the data"):
        toys.trainer(model(Poisoned(-1e9, 0))).run()


def test_where_the_batch_cannot_be_saved_the_news_is_still_the_loss(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(forensics, "save_file", full)
    with pytest.raises(NonFiniteLoss) as found:
        toys.trainer(model(Poisoned(-1e9, 2)), tmp_path / "run").run()
    assert found.value.saved is None


def test_a_diverging_run_is_found():
    with pytest.raises(NonFiniteLoss, match="mse"):
        toys.trainer(toys.fresh("sparse"), optimiser="sgd", lr=1e18, steps=50).run()
