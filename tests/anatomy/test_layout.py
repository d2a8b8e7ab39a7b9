"""What goes in comes back in its layout."""

import numpy as np
import pytest
import torch

from isthmus.anatomy import Batch, Ragged, Signal, tree
from isthmus.anatomy.layout import cut, like
from isthmus.anatomy.ragged import lengths_of, padded, text_of
from isthmus.data import as_source
from isthmus.errors import IsthmusError

ROWS = Ragged(torch.tensor([[104, 105, 0], [195, 164, 33]]), torch.tensor([2, 3]))


def test_texts_for_texts_and_bytes_for_bytes():
    assert like(["a", "b"], ROWS) == ["hi", "ä!"]
    assert like([b"a", "b"], ROWS) == [b"hi", "ä!".encode()]
    assert like(("a", "b"), ROWS) == ["hi", "ä!"]


def test_bytes_that_are_no_utf8_are_replaced():
    broken = Ragged(torch.tensor([[195, 33]]), torch.tensor([2]))
    assert like(["a"], broken) == ["\ufffd!"]


@pytest.mark.parametrize(
    ("given", "kind"), [(np.arange(2), np.ndarray), (torch.arange(2), torch.Tensor), ([1], list)]
)
def test_a_list_of_rows_at_their_lengths(given, kind):
    found = like([given, given], ROWS)
    assert all(isinstance(row, kind) for row in found)
    assert [list(map(int, row)) for row in found] == [[104, 105], [195, 164, 33]]


def test_latents_say_nothing_of_it_and_the_signal_does():
    texts, tokens = Signal.infer(["a", "bc"]), Signal.infer([np.arange(2), np.arange(3)])
    assert like(np.zeros((2, 4)), ROWS, texts) == ["hi", "ä!"]
    assert all(isinstance(row, np.ndarray) for row in like(np.zeros((2, 4)), ROWS, tokens))
    assert like(as_source(["a", "bc"]), ROWS) == ["hi", "ä!"]


def test_of_a_batch_the_padded_tensor():
    assert like(Batch(torch.zeros(2, 3)), ROWS) is ROWS.values


def test_each_part_of_a_collection_has_its_own():
    given = {"text": ["a", "b"], "x": np.zeros((2, 1))}
    found = like(given, {"text": ROWS, "x": torch.ones(2, 1)})
    assert found["text"] == ["hi", "ä!"]
    assert isinstance(found["x"], np.ndarray)


def test_ragged_reconstructions_are_cut_where_the_mask_ends():
    mask = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert lengths_of(mask).tolist() == [3, 1]
    assert lengths_of(mask[..., None].expand(2, 4, 2)).tolist() == [3, 1]
    series = Signal.infer([np.zeros((3, 2), "f4"), np.zeros((1, 2), "f4")])
    recon = torch.randn(2, 4, 2)
    first, second = like([np.zeros(1)], cut(recon, series, mask))
    np.testing.assert_array_equal(first, recon[0, :3])
    np.testing.assert_array_equal(second, recon[1, :1])
    assert cut(recon, Signal("series", (4, 2)), mask) is recon


def test_ragged_is_a_value_of_rows():
    longer = Ragged(torch.ones(1, 5, dtype=torch.int64), torch.tensor([4]))
    both = tree.joined([ROWS, longer])
    assert both.lengths.tolist() == [2, 3, 4]
    assert both.values.shape == (3, 5)
    assert [len(row) for row in tree.chosen(both, torch.tensor([2, 0])).rows()] == [4, 2]
    again = Ragged.restored(both.tensors())
    assert torch.equal(again.values, both.values)


def test_what_a_text_is():
    assert (text_of(["a"]), text_of(["a", b"b"]), text_of([b"a"])) == ("str", "bytes", "bytes")
    assert text_of([]) is text_of("a") is text_of(["a", 1]) is text_of([np.arange(2)]) is None


def test_text_is_kept_with_the_signal():
    signal = Signal.infer(["ab", "cde"]).bounded(0, 255)
    assert Signal.from_dict(signal.to_dict()) == signal
    assert (signal.text, signal.shape, signal.vocabulary) == ("str", (3,), 256)
    assert Signal.infer([np.arange(2), np.arange(3)]).text is None


def test_an_empty_row_is_one_sentence():
    with pytest.raises(IsthmusError, match="row 1 of the list is empty"):
        padded(["a", ""])
