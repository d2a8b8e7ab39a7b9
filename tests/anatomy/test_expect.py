"""A code or a part of another kind than is needed is one sentence that says who needs what."""

import pytest
import torch
from torch import nn

from isthmus.anatomy import AnySparseCode, Autoencoder, Code, GaussianCode, Signal, SparseCode
from isthmus.anatomy import ThresholdCode as Threshold
from isthmus.bottlenecks import Identity, TopK
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, MSE, AuxK

X = torch.randn(7, 5)


def plain():
    return Autoencoder(
        Signal("vector", (5,)), encoder=nn.Linear(5, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 5), objective=MSE(),
    )  # fmt: skip


def sparse():
    dictionary = Dictionary(8, (5,))
    return Autoencoder(
        Signal("vector", (5,)), encoder=DictionaryEncoder(dictionary),
        bottleneck=TopK(8, 2, 100), decoder=dictionary, objective=MSE(),
    )  # fmt: skip


def test_a_part_of_the_kind_is_returned_by_its_name_dotted_or_not():
    model = sparse()
    assert model.part_as("decoder", Dictionary, "a test") is model.decoder
    assert model.part_as("bottleneck.counter", FiringCounter, "a test") is model.bottleneck.counter


def test_another_part_and_no_part_are_told_apart():
    model = plain()
    with pytest.raises(IsthmusError, match="a test needs a Dictionary as the decoder, and the mod"):
        model.part_as("decoder", Dictionary, "a test")
    with pytest.raises(IsthmusError, match=r"model has a Linear: build the model with one$"):
        model.part_as("decoder", Dictionary, "a test")
    model.decoder = None
    with pytest.raises(IsthmusError, match="the model has none"):
        model.part_as("decoder", Dictionary, "a test")
    with pytest.raises(IsthmusError, match=r"as the bottleneck\.counter, and the model has none"):
        model.part_as("bottleneck.counter", FiringCounter, "a test")


@pytest.mark.parametrize("term", [L1(), AuxK(2)])
def test_a_term_says_its_name_and_the_kind_of_code_that_it_needs(term):
    model = plain()
    with pytest.raises(IsthmusError) as problem:
        term(model, model(X))
    said = f"the term {term.name} needs an AnySparseCode as the code, and the model has a Code"
    assert str(problem.value).startswith(said)


def test_a_part_that_asks_is_told_by_its_class():
    model = sparse()
    with pytest.raises(IsthmusError, match=r"^TopK needs a GaussianCode as the code"):
        model(X).code_as(GaussianCode, model.bottleneck)


def test_each_view_has_its_own_code():
    model = plain()
    out = model(X)
    out.codes = [Code(X), Threshold(X)]
    assert out.code_as(Threshold, "a test", view=1) is out.codes[1]
    with pytest.raises(IsthmusError):
        out.code_as(Threshold, "a test")


@pytest.mark.parametrize(
    "code", [SparseCode(torch.ones(4, 2), torch.zeros(4, 2, dtype=torch.int64), 5), Threshold(X)]
)
def test_both_layouts_are_sparse_codes_with_entries(code):
    assert isinstance(code, AnySparseCode)
    assert code.is_sparse
    assert code.preactivations is None
    assert code.gates is None
    stored = code.values if isinstance(code, SparseCode) else code.z
    assert torch.equal(code.entries, stored)


def test_an_objective_and_a_prior_can_be_exchanged():
    model = plain()
    model.objective = L1()
    assert [part.term.name for part in model.objective] == ["l1"]
    assert list(model.state_dict()) == list(plain().state_dict())
    model.prior = lambda n: torch.zeros(n, 3)
    assert model.sample(2).shape == (2, 5)
