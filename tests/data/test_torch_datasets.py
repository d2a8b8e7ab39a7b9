import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from isthmus.data import DatasetSource, as_source
from isthmus.errors import IsthmusError


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


@pytest.mark.parametrize("wrap", [torch.tensor, np.array, lambda x: (torch.tensor(x), "label")])
def test_items_of_every_form_are_rows(wrap):
    source = as_source(Items([wrap([float(i), 2.0]) for i in range(5)]))
    assert isinstance(source, DatasetSource)
    assert len(source) == 5
    assert source.signal.shape == (2,)
    assert source.rows(torch.tensor([4, 1])).tolist() == [[4, 2], [1, 2]]


def test_pil_images_become_channels_first_fractions():
    raw = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    source = DatasetSource(Items([(Image.fromarray(x), 0) for x in raw]))
    assert source.signal.is_unit
    rows = source.rows(torch.tensor([2]))
    np.testing.assert_allclose(rows[0].numpy(), raw[2].transpose(2, 0, 1) / 255, rtol=1e-6)


def test_unsigned_items_are_read_exactly():
    source = DatasetSource(Items([np.array([65535], np.uint16)]))
    assert source.rows(torch.tensor([0])).item() == 65535


def test_tensor_dataset_is_read_as_an_array():
    x = torch.randn(4, 3)
    source = as_source(torch.utils.data.TensorDataset(x, torch.zeros(4)))
    assert torch.equal(source.rows(torch.arange(4)), x)
    assert source.signal.low == x.min().item()


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(2)


class Empty(IterableDataset):
    def __iter__(self):
        yield from ()


def test_a_stream_is_gathered():
    assert as_source(Stream()).rows(torch.arange(1)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (Items([]), "empty"),
        (Items(["text"]), "type str"),
        (Items([{"pixels": 1}]), "'pixels'"),
        (Items([torch.zeros(0)]), "no elements"),
        (Items([1.0, 2.0]), "Reshape"),
    ],
)
def test_unusable_data_sets_are_errors(items, said):
    with pytest.raises(IsthmusError, match=said):
        as_source(items)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (torch.zeros(3), r"item 1 .*\(3,\)"),
        (torch.zeros(2, dtype=torch.int64), "int64"),
        (torch.tensor([0, np.nan]), "in item 1"),
    ],
)
def test_odd_items_are_named(odd, said):
    source = DatasetSource(Items([torch.zeros(2), odd]))
    with pytest.raises(IsthmusError, match=said):
        source.rows(torch.tensor([0, 1]))
