"""Batches: parts of equal length, what is given, masks."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Batch, Given, Signal, Step
from isthmus.anatomy.batch import entries
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

X = torch.arange(12.0).reshape(4, 3)
TREE = {"a": X, "b": torch.arange(4)}


def whole():
    return Batch(
        TREE,
        torch.tensor([7, 5, 3, 1]),
        {"a": torch.ones(4, 3, dtype=torch.bool), "b": None},
        {"label": torch.arange(4), "weight": torch.rand(4)},
    )


def test_length():
    assert len(Batch(X)) == len(Batch(TREE)) == 4
    with pytest.raises(IsthmusError, match="'a' has 4, 'b' has 3: pair them"):
        len(Batch({"a": X, "b": torch.zeros(3)}))


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (
            Batch(X, given={"label": torch.zeros(3)}),
            r"the given\['label'\] of a batch has 3 entries for 4",
        ),
        (
            Batch(X, mask=torch.ones(5, dtype=torch.bool)),
            "the mask of a batch has 5 entries for 4 rows",
        ),
        (Batch(TREE, mask={"b": torch.ones(2)}), "the mask b of a batch has 2 entries for 4 rows"),
    ],
)
def test_parts_of_different_lengths_are_one_sentence(batch, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        batch.checked()
    assert "\n" not in str(problem.value)
    assert str(problem.value).endswith("pass one per row")


def test_a_batch_that_fits_is_itself():
    batch = whole()
    assert batch.checked() is batch


def test_a_name_that_is_not_given_is_one_sentence():
    assert isinstance(Batch(X).given, Given)
    assert isinstance(Batch(X, given={"y": X}).given, Given)
    with pytest.raises(
        IsthmusError, match=r"asks for 'label' of each row, and the data give none: p"
    ):
        Batch(X).given["label"]
    said = "asks for 'lable' of each row, and the data give 'label'"
    with pytest.raises(IsthmusError, match=said):
        whole().given["lable"]
    assert whole().given.get("lable") is None


def test_a_part_of_everything():
    part = whole().part(1, 3)
    assert len(part) == 2
    assert torch.equal(part.x["a"], X[1:3])
    assert part.rows.tolist() == [5, 3]
    assert part.mask["a"].shape == (2, 3)
    assert part.mask["b"] is None
    assert part.given["label"].tolist() == [1, 2]
    assert isinstance(part.given, Given)
    bare = Batch(X).part(0, 2)
    assert bare.rows is None
    assert bare.mask is None
    assert Batch(X, mask=X > 3).part(1, 2).mask.tolist() == [[False, True, True]]


def test_moving_leaves_the_numbers_of_the_rows():
    moved = whole().to(torch.device("meta"))
    assert moved.x["a"].device.type == moved.x["b"].device.type == "meta"
    assert moved.mask["a"].device.type == "meta"
    assert moved.mask["b"] is None
    assert moved.given["label"].device.type == "meta"
    assert moved.rows.device.type == "cpu"
    assert Batch(X, mask=X > 3).to(torch.device("meta")).mask.device.type == "meta"


def test_whole_numbers_stay_whole():
    assert whole().to(torch.device("cpu")).x["b"].dtype == torch.int64
    assert whole().part(0, 1).x["b"].dtype == torch.int64


def test_where_nothing_is_said_the_step_is_the_models_first():
    step = Step()
    assert (step.clock.step, step.player, step.parts, step.batch) == (0, "model", 1, None)


class Units(nn.Module):
    """An encoder that notes the units of the batch that it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(3, 2), []

    def forward(self, x, *, batch):
        self.seen.append(batch.x.clone())
        return self.linear(x)


def test_parts_see_the_batch_in_the_users_units_wherever_they_are_asked():
    X = 100.0 + 5.0 * np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    encoder = Units()
    model = Autoencoder(
        Signal.infer(X), encoder=encoder, bottleneck=Identity(), decoder=nn.Linear(2, 3),
        objective=MSE(),
    )  # fmt: skip
    isthmus.fit(model, X, scaling="columns", steps=2, batch_size=8, progress=False)
    for verb in (model.encode, model.reconstruct, model.score, partial(isthmus.evaluate, model)):
        encoder.seen.clear()
        verb(X)
        np.testing.assert_array_equal(torch.cat(encoder.seen).numpy(), X)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (3, "a single value"),
        (None, "a single value"),
        ([0, 1], "2 entries for 3 rows"),
        (["a", "b", "a"], "number its levels"),
        ([0.0, np.nan, 1.0], "not finite in row 1"),
        ([[0], [1, 2], [3]], "not numeric"),
    ],
)
def test_what_is_given_is_checked_wherever_it_is_given(values, said):
    with pytest.raises(IsthmusError, match=said):
        entries("y", values, 3)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.float64, bool])
def test_what_is_given_has_one_dtype_wherever_it_is_given(kind):
    found = entries("y", np.array([0, 1, 1]).astype(kind), 3)
    own = {"f": torch.float32, "b": torch.bool}.get(np.dtype(kind).kind, torch.int64)
    assert found.dtype == own
    assert found.tolist() == [0, 1, 1]


class Conditional(nn.Module):
    """A decoder that is given a label."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, z, *, given):
        hot = nn.functional.one_hot(given["y"], 2)
        return self.linear(torch.cat([z, hot.float()], 1))


def test_labels_for_other_rows_are_refused_and_small_integers_are_read():
    X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    y = np.arange(12) % 2
    model = Autoencoder(
        Signal.infer(X), encoder=nn.Linear(3, 2), bottleneck=Identity(), decoder=Conditional(),
        objective=MSE(), prior=lambda n: torch.zeros(n, 2),
    )  # fmt: skip
    isthmus.fit(model, X, given={"y": y}, steps=2, batch_size=4, progress=False)
    Z = model.encode(X)
    for given in ({"y": np.r_[y, y]}, {"y": y[:5]}, {"y": 1}, {"y": y.astype(str)}, y):
        for verb in (partial(model.decode, Z), partial(model.sample, 12),
                     partial(model.reconstruct, X), partial(model.score, X),
                     partial(isthmus.evaluate, model, X),
                     partial(isthmus.fit, model, X, steps=1, progress=False)):  # fmt: skip
            with pytest.raises(IsthmusError, match="given"):
                verb(given=given)
    rows = model.reconstruct(X, given={"y": y})
    for kind in (np.uint8, np.int32):
        np.testing.assert_array_equal(rows, model.reconstruct(X, given={"y": y.astype(kind)}))
        np.testing.assert_array_equal(rows, model.decode(Z, given={"y": y.astype(kind)}))
    with pytest.raises(IsthmusError, match="what is given"):
        model.decode(Z, given={"y": np.arange(12)})  # levels that there are not
