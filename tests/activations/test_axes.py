"""Which axis holds the features: of maps, steps and windows, found or asked for, and said."""

import pytest
import torch
from torch import nn

from isthmus import notices
from isthmus.activations import Store, harvest
from isthmus.cli.harvest import _axes
from isthmus.data import as_source
from isthmus.errors import IsthmusError


class Maps(nn.Module):
    """Patches with the channels last, as Swin and ConvNeXt have them."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.block = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.GELU())
        self.back = nn.Identity()

    def forward(self, x):
        last = self.block(self.patch(x).permute(0, 2, 3, 1))
        return self.back(last.permute(0, 3, 2, 1))


class Steps(nn.Module):
    """A convolution over steps, and what it is halved and flattened to."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(5, 9, 3, padding=1)
        self.act = nn.ReLU()
        self.flat = nn.Flatten()

    def forward(self, x):
        return self.flat(self.act(self.conv(x.transpose(1, 2))))


class Windows(nn.Module):
    """Two windows of each row go through a layer as if they were rows."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 6)

    def forward(self, x):
        return self.inner(x.reshape(-1, 3, 4)).reshape(len(x), 6, 6)


IMAGES = torch.rand(5, 3, 16, 24)
SERIES = torch.randn(5, 7, 5)


def taken(model, data, at, tmp_path, **options):
    notices.forget()
    with notices.collected() as said:
        store = harvest(model, as_source(data), at, tmp_path / "s", dtype="float32",
                        progress=False, **options)  # fmt: skip
    return store, store.rows(at, torch.arange(len(store))), said


@pytest.mark.parametrize("at", ["patch", "block", "block.0", "block.2", "block.1:in"])
def test_maps_are_one_token_a_pixel_whatever_their_order(at, tmp_path):
    torch.manual_seed(0)
    model = Maps()
    store, rows, said = taken(model, IMAGES, at, tmp_path)
    assert (len(store), store.width(at)) == (5 * 24, 12)
    with torch.no_grad():
        patch = model.patch(IMAGES)
        last = patch.permute(0, 2, 3, 1)
        right = {"patch": last, "block.0": model.block[0](last), "block": model.block(last),
                 "block.2": model.block(last), "block.1:in": model.block[0](last)}[at]  # fmt: skip
    torch.testing.assert_close(rows, right.reshape(-1, 12))
    assert not [line for line in said if "axis" in line]
    assert store.provenance.points[at].axis == (1 if at == "patch" else 3)


def test_a_guess_is_said_and_overridden(tmp_path):
    model = Maps()
    _, rows, said = taken(model, IMAGES, "back", tmp_path)
    assert rows.shape == (5 * 24, 12)
    assert any("axis 1 is taken for that of the 12 features" in line for line in said)
    store, rows, said = taken(model, IMAGES, "back", tmp_path / "other", axis={"back": -1})
    assert rows.shape == (5 * 12 * 6, 4)
    assert not said
    assert Store(store.path).provenance.points["back"].axis == 3


@pytest.mark.parametrize(
    ("at", "tokens", "width"), [("conv", 35, 9), ("act", 35, 9), ("flat", 5, 63)]
)
def test_convolutions_over_steps(at, tokens, width, tmp_path):
    model = Steps()
    store, rows, _ = taken(model, SERIES, at, tmp_path)
    assert (len(store), store.width(at)) == (tokens, width)
    with torch.no_grad():
        conv = model.conv(SERIES.transpose(1, 2))
    right = {"conv": conv.transpose(1, 2), "act": conv.relu().transpose(1, 2), "flat": conv.relu()}
    torch.testing.assert_close(rows, right[at].reshape(tokens, width))


def test_windows_belong_to_their_rows(tmp_path):
    model, x = Windows(), torch.randn(4, 6, 4)
    store, rows, _ = taken(model, x, "inner", tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(rows, model.inner(x).reshape(-1, 6))
    assert store.where(torch.arange(7))["row"].tolist() == [0] * 6 + [1]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_modules_read_rows_of_steps(kind, batch_first, tmp_path):
    torch.manual_seed(0)
    model = kind(5, 4, batch_first=batch_first)
    store, rows, said = taken(model, SERIES, ".", tmp_path, batch=2)
    with torch.no_grad():
        right = torch.cat([model(x[:, None] if not batch_first else x[None])[0].reshape(7, 4)
                           for x in SERIES])  # fmt: skip
    torch.testing.assert_close(rows, right)
    assert store.width(".") == 4
    assert not [line for line in said if "depend" in line]


def test_rows_that_see_each_other_are_said(tmp_path):
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(5, 4)  # which takes the rows for steps

        def forward(self, x):
            return self.lstm(x.flip(0))[0].flip(0)

    _, _, said = taken(Crossed(), SERIES, "lstm", tmp_path)
    assert any("depend on the other rows" in line for line in said)


@pytest.mark.parametrize(
    ("axis", "message"),
    [(4, "use one from 1 to 3"), (0, "use one from 1 to 3"), ({"pat": 1}, "did you mean 'patch'")],
)
def test_axes_that_are_none(axis, message, tmp_path):
    with pytest.raises(IsthmusError, match=message):
        taken(Maps(), IMAGES, "patch", tmp_path, axis=axis)


def test_axes_as_they_are_written():
    assert _axes([]) is None
    assert _axes(["-1"]) == -1
    assert _axes(["layers.1=-1", "conv=1"]) == {"layers.1": -1, "conv": 1}
    for wrong in (["x"], ["1", "2"], ["1", "conv=1"]):
        with pytest.raises(IsthmusError, match="--axis"):
            _axes(wrong)
