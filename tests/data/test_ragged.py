"""Rows of different lengths, texts, what is given with rows, and masks."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Batch
from isthmus.data import ArraySource, Subset, as_source
from isthmus.data.ragged import GivenSource, RaggedSource, RowsSource, is_ragged
from isthmus.data.sources import CollectionSource
from isthmus.errors import IsthmusError

TEXTS = ["abc", "é", "longer text"]
SERIES = [np.arange(2 * n, dtype=np.float64).reshape(n, 2) + n for n in (3, 1, 4, 2)]
ALL = torch.arange(4)


def test_texts_are_their_bytes():
    source = as_source(TEXTS)
    assert isinstance(source, RaggedSource)
    assert (source.signal.kind, source.signal.ragged, source.signal.shape) == (
        "tokens",
        True,
        (11,),
    )
    assert source.signal.vocabulary == 256
    batch = source.batch(torch.tensor([1, 0]))
    assert batch.x.dtype == torch.int64
    assert batch.x.tolist() == [[195, 169, 0], [97, 98, 99]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.rows.tolist() == [1, 0]
    bytes_ = as_source([t.encode() for t in TEXTS])
    assert torch.equal(bytes_.rows(ALL[:3]), source.rows(ALL[:3]))


def test_a_batch_is_as_long_as_its_longest_row():
    source = as_source(SERIES)
    assert (source.signal.kind, source.signal.shape) == ("series", (4, 2))
    batch = source.batch(torch.tensor([3, 0, 3]))
    assert batch.x.shape == (3, 3, 2)
    assert batch.x.dtype == torch.float32
    for row, number in zip(batch.x, (3, 0, 3), strict=True):
        own = torch.from_numpy(SERIES[number]).float()
        assert torch.equal(row[: len(own)], own)
        assert not row[len(own) :].any()
    assert batch.mask.sum(1).tolist() == [2, 3, 2]
    assert source.batch(ALL).x.shape == (4, 4, 2)
    assert source.batch(torch.tensor([2])).mask.all()
    assert (source.signal.low, source.signal.high) == (1.0, 11.0)


def test_ragged_numbers():
    whole, real = as_source([[1, 2], [3]]), as_source([torch.zeros(2), torch.ones(3)])
    assert whole.signal.kind == "tokens"
    assert whole.signal.vocabulary == 4
    assert whole.rows(torch.tensor([0, 1])).tolist() == [[1, 2], [3, 0]]
    assert real.signal.kind == "series"
    assert real.rows(torch.tensor([1])).dtype == torch.float32


def test_rows_of_one_length_are_no_ragged_ones():
    assert not is_ragged([[1, 2], [3, 4]])
    assert not is_ragged([])
    assert not is_ragged([np.float64(1), np.float64(2)])
    assert is_ragged(["a", "b"])
    assert isinstance(as_source([[1.0, 2.0], [3.0, 4.0]]), ArraySource)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a", ""], "row 1 of the data is empty: drop it, or give it a step"),
        ([[1.0], []], "row 1 of the data is empty"),
        ([[1.0, np.nan], [2.0, 3.0, 4.0]], r"NaN or infinity \(first in row 0\): drop or fill"),
        ([[1.0, 2.0], [3.0], [1.0, np.inf, 2.0]], r"\(first in row 2\)"),
        ([np.ones((2, 2)), np.array([[1.0, 2.0], [1.0, np.nan], [1.0, 1.0]])], r"first in row 1"),
        ([[1, 2], [-3]], "have the token -3: tokens begin at 0"),
        (
            [np.ones((2, 3)), np.ones((3, 2))],
            r"row 1 of the list has steps of shape \(2,\) and row 0",
        ),
        ([["a"], ["b", "c"]], "numeric"),
    ],
)
def test_bad_rows_are_one_sentence(rows, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        RaggedSource(rows)
    assert "\n" not in str(problem.value)


def test_a_named_part_is_named():
    with pytest.raises(IsthmusError, match="row 1 of the data of 'caption' is empty"):
        as_source({"image": np.zeros((2, 3)), "caption": ["a", ""]})


# --- given with rows -----------------------------------------------------------------------------

PLAIN = ArraySource(np.arange(12, dtype=np.float32).reshape(4, 3))
SEEN = np.array([[True, True, False]] * 3 + [[False] * 3])


def test_what_is_given_keeps_its_kind():
    source = GivenSource(
        PLAIN,
        {
            "label": np.array([3, 1, 2, 0], np.uint8), "weight": np.array([0.5, 1, 2, 3]),
            "flag": [True, False, True, True], "tensor": torch.arange(4.0), "list": [1, 2, 3, 4],
            "vector": np.ones((4, 2), np.float16),
        },
    )  # fmt: skip
    batch = source.batch(torch.tensor([2, 0]))
    kinds = {name: value.dtype for name, value in batch.given.items()}
    assert kinds == {
        "label": torch.int64, "weight": torch.float32, "flag": torch.bool,
        "tensor": torch.float32, "list": torch.int64, "vector": torch.float32,
    }  # fmt: skip
    assert batch.given["label"].tolist() == [2, 3]
    assert batch.given["vector"].shape == (2, 2)
    assert torch.equal(batch.x, PLAIN.rows(torch.tensor([2, 0])))
    assert batch.rows.tolist() == [2, 0]
    assert source.given_names == ("label", "weight", "flag", "tensor", "list", "vector")
    assert batch.mask is None
    assert source.signal == PLAIN.signal


def test_givens_of_givens_and_of_subsets():
    inner = GivenSource(PLAIN, {"label": [0, 1, 2, 3], "weight": [1.0, 1.0, 1.0, 1.0]}, SEEN)
    outer = GivenSource(Subset(inner, [3, 1]), {"weight": [5.0, 6.0]}, np.array([True, False]))
    batch = outer.batch(torch.tensor([1, 0]))
    assert batch.given["label"].tolist() == [1, 3]
    assert batch.given["weight"].tolist() == [6.0, 5.0]
    assert batch.mask.tolist() == [[False] * 3, [False] * 3]
    assert outer.given_names == ("label", "weight")
    assert outer.numbers(torch.tensor([0, 1])).tolist() == [3, 1]


def test_a_subset_of_each_of_these():
    index = torch.tensor([2, 0])
    ragged = Subset(as_source(SERIES), [0, 2, 3])
    batch = ragged.batch(index)
    assert batch.rows.tolist() == [2, 0]
    assert batch.mask.sum(1).tolist() == [2, 3]
    assert ragged.numbers(index).tolist() == [3, 0]
    given = Subset(GivenSource(PLAIN, {"label": [0, 1, 2, 3]}, SEEN), [3, 2, 1])
    batch = given.batch(torch.tensor([0, 2]))
    assert batch.given["label"].tolist() == [3, 1]
    assert batch.mask.tolist() == [[False] * 3, [True, True, False]]
    assert given.given_names == ("label",)


def test_a_mask_is_read_with_the_rows():
    source = GivenSource(PLAIN, mask=SEEN)
    assert torch.equal(source.batch(ALL).mask, torch.from_numpy(SEEN))
    assert source.batch(ALL).given == {}


def test_a_mask_over_ragged_rows_leaves_out_both():
    """What is not there, and what the user masks."""
    source = GivenSource(as_source(SERIES), mask=np.array([True, False, True, True]))
    mask = source.batch(torch.tensor([0, 1])).mask
    assert mask.tolist() == [[True, True, True], [False, False, False]]


def test_a_collection_has_masks_by_name():
    source = as_source({"x": PLAIN, "s": SERIES})
    batch = source.batch(torch.tensor([1, 0]))
    assert isinstance(source, CollectionSource)
    assert batch.mask["x"] is None
    assert batch.mask["s"].sum(1).tolist() == [1, 3]
    plain = as_source({"x": PLAIN, "y": PLAIN}).batch(ALL)
    assert plain.mask is None
    masked = GivenSource(source, {"label": [1, 2, 3, 4]}, {"x": SEEN})
    batch = masked.batch(torch.tensor([3, 0]))
    assert batch.mask["x"].tolist() == [[False] * 3, [True, True, False]]
    assert batch.mask["s"].sum(1).tolist() == [2, 3]
    assert batch.given["label"].tolist() == [4, 1]
    part = Subset(masked, [3, 2]).batch(torch.tensor([0]))
    assert part.mask["x"].tolist() == [[False] * 3]
    assert part.given["label"].tolist() == [4]
    both = GivenSource(source, mask={"s": np.array([False, True, True, True])})
    assert both.batch(torch.tensor([1, 0])).mask["s"].sum(1).tolist() == [1, 0]
    assert isinstance(part, Batch)


def test_what_the_parts_of_a_collection_are_given_is_put_together():
    source = CollectionSource({"x": GivenSource(PLAIN, {"label": [4, 3, 2, 1]}), "y": PLAIN})
    assert source.batch(torch.tensor([3])).given["label"].tolist() == [1]
    assert source.given_names == ("label",)


@pytest.mark.parametrize(
    ("given", "mask", "said"),
    [
        ({"label": [1, 2]}, None, r"given\['label'\] has 2 entries for 4 rows: pass one per row"),
        ({"label": ["a"] * 4}, None, r"given\['label'\] is not numeric: number its levels first"),
        (
            {"w": [1.0, np.nan, 1.0, 1.0]},
            None,
            r"given\['w'\] is not finite in row 1: drop or fill",
        ),
        ({"w": np.full((4, 2), np.inf)}, None, r"given\['w'\] is not finite in row 0"),
        ({}, np.ones((4, 3)), "the mask is torch.float64: pass booleans, True where observed"),
        ({}, np.ones((2, 3), bool), "the mask has 2 rows for 4: pass one entry per row"),
        ({}, np.zeros((4, 3), bool), "nothing of it is observed in any row: leave it out"),
        ({}, {"x": SEEN}, "a mask by names is for several named parts: pass one array"),
    ],
)
def test_what_cannot_be_given_is_one_sentence(given, mask, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        GivenSource(PLAIN, given, mask)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (SEEN, "the mask of several parts is a mapping of their names to masks"),
        ({"z": SEEN}, "the mask names 'z', and the parts are 'x', 'y'"),
        ({"y": SEEN[:2]}, "the mask of 'y' has 2 rows for 4"),
        ({"y": SEEN.astype(int)}, "the mask of 'y' is torch.int64: pass booleans"),
        ({"y": np.zeros(4, bool)}, "the mask of 'y' says that nothing of it is observed"),
    ],
)
def test_masks_of_several_parts_that_do_not_fit_are_one_sentence(mask, said):
    with pytest.raises(IsthmusError, match=said):
        GivenSource(as_source({"x": PLAIN, "y": PLAIN}), mask=mask)


def test_order_spec_and_origin_are_those_of_the_source():
    class Ordered(ArraySource):
        spec, origin = "mine", "tokens"

        def order(self, seed):
            return torch.arange(len(self)).flip(0)

    source = GivenSource(Ordered(np.zeros((4, 2), np.float32)), {"label": [1, 2, 3, 4]})
    assert source.order(0).tolist() == [3, 2, 1, 0]
    assert (source.spec, source.origin) == ("mine", "tokens")
    assert len(source) == 4


# --- opaque rows ---------------------------------------------------------------------------------


class Bags:
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def take(self, index):
        return Bags([self.values[i] for i in index.tolist()])

    def to(self, device):
        return self

    def tensors(self):
        return {"flat": torch.cat(self.values)}

    @classmethod
    def collate(cls, parts):
        return cls([v for part in parts for v in part.values])

    @classmethod
    def restored(cls, tensors):
        return cls([tensors["flat"]])


def test_opaque_rows():
    source = as_source(Bags([torch.ones(2), torch.zeros(1)]))
    assert isinstance(source, RowsSource)
    assert source.signal.kind == "graph"
    assert source.rows(torch.tensor([1])).values[0].tolist() == [0.0]
    with pytest.raises(IsthmusError, match="the data are empty"):
        as_source(Bags([]))


def test_rows_of_bfloat16_are_read():
    rows = [torch.ones(2, 3, dtype=torch.bfloat16), torch.zeros(1, 3, dtype=torch.bfloat16)]
    assert RaggedSource(rows).rows(torch.tensor([0])).tolist() == [[[1.0] * 3] * 2]


@pytest.mark.parametrize("rows", [[[[1.0, 2.0], [3.0]], [[1.0]]], ["a", None], [1, [2, 3]]])
def test_rows_that_are_none_are_one_sentence_to_a_model_too(rows):
    model = isthmus.fit("text-vae", ["ab", "cde"] * 4, steps=1, batch_size=4, progress=False)
    with pytest.raises(IsthmusError, match="of the list"):
        model.encode(rows)
