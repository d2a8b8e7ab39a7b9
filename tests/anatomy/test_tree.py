"""Trees: what is done to every leaf, and names that do not fit."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from isthmus.anatomy import Rows, tree
from isthmus.errors import IsthmusError


@dataclass(eq=False)
class Bags:
    """Opaque rows: one list of numbers each."""

    values: list

    def __len__(self):
        return len(self.values)

    def take(self, index):
        return Bags([self.values[i] for i in index.tolist()])

    def to(self, device):
        return Bags([value.to(device) for value in self.values])

    def tensors(self):
        return {
            "flat": torch.cat(self.values),
            "sizes": torch.tensor([len(v) for v in self.values]),
        }

    @classmethod
    def collate(cls, parts):
        return cls([value for part in parts for value in part.values])

    @classmethod
    def restored(cls, tensors):
        return cls(list(tensors["flat"].split(tensors["sizes"].tolist())))


A, B = torch.arange(6.0).reshape(3, 2), torch.arange(3)
BAGS = Bags([torch.ones(2), torch.zeros(1), torch.full((3,), 5.0)])
NESTED = {"a": A, "b": {"c": B, "d": BAGS}}


def test_an_opaque_value_is_known_by_what_it_can():
    assert isinstance(BAGS, Rows)


def test_leaves_have_dotted_names_and_a_single_leaf_has_none():
    assert [(n, leaf) for n, leaf in tree.leaves(A)] == [("", A)]
    assert [n for n, _ in tree.leaves(NESTED)] == ["a", "b.c", "b.d"]
    assert list(tree.leaves(None)) == []
    assert [n for n, _ in tree.leaves({"a": None, "b": B})] == ["b"]
    assert tree.names(NESTED) == {"a", "b.c", "b.d"}
    assert tree.names(A) == set()


def test_a_map_over_one_tensor_and_over_names():
    assert torch.equal(tree.mapped(lambda t: t + 1, A), A + 1)
    found = tree.mapped(lambda t: len(t), NESTED)
    assert found == {"a": 3, "b": {"c": 3, "d": 3}}


def test_a_map_over_several_trees_pairs_names_and_gives_none_for_those_that_lack():
    pairs = tree.mapped(lambda t, m: (t, m), NESTED, {"b": {"c": "mask"}})
    assert pairs == {"a": (A, None), "b": {"c": (B, "mask"), "d": (BAGS, None)}}
    assert tree.mapped(lambda t, m: m, {"a": A, "b": B}, None) == {"a": None, "b": None}
    assert tree.mapped(lambda t, m, n: (m, n), {"a": A}, 3, {"a": 4}) == {"a": (3, 4)}


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ({"a": A}, {"a": A, "b": B}, r"^X lacks 'b': give it the names of the model, 'a', 'b'$"),
        ({"a": A, "c": B}, {"a": A}, r"^X has 'c' too many: give it the names of the model, 'a'$"),
        ({"c": A}, {"a": A}, r"^X lacks 'a' and has 'c' too many: give it"),
        ({"a": A}, A, r"^X has 'a' too many: .* which is a single tensor$"),
        ({"a": {"b": A}}, {"a": {"c": A}}, r"^X lacks 'a\.c' and has 'a\.b' too many"),
    ],
)
def test_names_that_differ_are_one_sentence(mine, theirs, said):
    with pytest.raises(IsthmusError, match=said):
        tree.same_names(mine, theirs, "X", "the model")


def test_names_that_agree_are_not():
    tree.same_names({"a": 1, "b": 2}, {"b": 3, "a": 4}, "X", "the model")
    tree.same_names(A, B, "X", "the model")


def test_rows_are_counted_and_must_agree():
    assert tree.count(A) == tree.count(NESTED) == 3
    with pytest.raises(IsthmusError, match="'a' has 3, 'b' has 2: pair them"):
        tree.count({"a": A, "b": B[:2]})
    with pytest.raises(IsthmusError, match="the data are empty"):
        tree.count({})


def test_rows_are_chosen_cut_and_moved():
    index = torch.tensor([2, 0, 2])
    chosen = tree.chosen(NESTED, index)
    assert torch.equal(chosen["a"], A[index])
    assert torch.equal(chosen["b"]["c"], B[index])
    assert [len(v) for v in chosen["b"]["d"].values] == [3, 2, 3]
    cut = tree.sliced(NESTED, 1, 9)
    assert torch.equal(cut["a"], A[1:])
    assert cut["a"].data_ptr() == A[1:].data_ptr()
    assert [len(v) for v in cut["b"]["d"].values] == [1, 3]
    moved = tree.moved(NESTED, torch.device("meta"))
    assert {leaf.device.type for _, leaf in tree.leaves(moved) if isinstance(leaf, Tensor)} == {
        "meta"
    }
    assert moved["b"]["d"].values[0].device.type == "meta"


def test_trees_are_joined():
    joined = tree.joined([NESTED, tree.sliced(NESTED, 0, 1)])
    assert torch.equal(joined["a"], torch.cat([A, A[:1]]))
    assert joined["b"]["c"].tolist() == [0, 1, 2, 0]
    assert joined["b"]["c"].dtype == torch.int64
    assert [len(v) for v in joined["b"]["d"].values] == [2, 1, 3, 2]
    assert tree.joined([None, None]) is None
    assert tree.joined([{"a": None, "b": B}, {"a": None, "b": B}])["a"] is None


@pytest.mark.parametrize("rest", [(), (2,), (2, 3)])
def test_ragged_rows_are_joined_to_the_longest(rest):
    short, long = torch.ones(2, 3, *rest), torch.full((1, 5, *rest), 2.0)
    for first, second in ((short, long), (long, short)):
        joined = tree.joined([first, second])
        assert joined.shape == (3, 5, *rest)
        assert joined.sum() == short.sum() + long.sum()
        rows = joined[:2] if first is short else joined[1:]
        assert torch.equal(rows[:, :3], short)
        assert not rows[:, 3:].any()
    masks = tree.joined([torch.ones(2, 3, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool)])
    assert masks.dtype == torch.bool
    assert masks.sum(1).tolist() == [3, 3, 5]


def test_a_tree_is_flattened_for_a_file():
    assert list(tree.flattened(A, "x")) == ["x"]
    flat = tree.flattened(NESTED, "x")
    assert list(flat) == ["x.a", "x.b.c", "x.b.d.flat", "x.b.d.sizes"]
    again = Bags.restored({"flat": flat["x.b.d.flat"], "sizes": flat["x.b.d.sizes"]})
    assert all(torch.equal(a, b) for a, b in zip(again.values, BAGS.values, strict=True))


def test_errors_are_cut_where_nothing_was_observed():
    error = torch.ones(3, 2, 2)
    assert tree.observed(error, None) is error
    rows = torch.tensor([True, False, True])
    assert tree.observed(error, rows).flatten(1).sum(1).tolist() == [4, 0, 4]
    steps = torch.tensor([[True, False], [True, True], [False, False]])
    assert tree.observed(error, steps).flatten(1).sum(1).tolist() == [2, 4, 0]
    # NaN where nothing was observed does not get through
    error[1] = torch.nan
    assert tree.observed(error, rows).isfinite().all()


def test_elements_that_count():
    x = torch.zeros(3, 2, 5)
    assert tree.elements(x, None) == 10
    assert tree.elements(x, torch.tensor([True, False, True])).tolist() == [10, 0, 10]
    steps = torch.tensor([[True, False], [True, True], [False, False]])
    assert tree.elements(x, steps).tolist() == [5, 10, 0]
    assert tree.elements(x, x == 0).tolist() == [10, 10, 10]
    assert tree.elements(torch.zeros(0, 3), None) == 1
