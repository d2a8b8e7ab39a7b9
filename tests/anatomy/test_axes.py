"""How the axes of arrays are read, and what is said of it."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from isthmus import notices
from isthmus.anatomy import Reading, Signal
from isthmus.anatomy.axes import looks_like_images
from isthmus.errors import IsthmusError

DIGITS = load_digits().images[:200].astype(np.float32)
RNG = np.random.default_rng(0)


def read(rows, kind=None):
    with notices.collected(quiet=True) as said:
        signal = Signal.infer(rows, kind)
    return signal, said


def test_grey_floats_are_images_and_it_is_said():
    for rows in (DIGITS / 16, DIGITS, torch.from_numpy(DIGITS / 8 - 1), DIGITS.astype(np.int64)):
        signal, said = read(rows)
        assert (signal.kind, signal.shape, signal.flat) == ("image", (1, 8, 8), True)
        assert len(said) == 1
        assert "kind=series" in said[0]


def test_steps_of_features_in_no_order_stay_series():
    relu = np.maximum(RNG.normal(size=(200, 16, 32)), 0)
    shuffled = (DIGITS / 16)[..., RNG.permutation(8)][:, RNG.permutation(8)]
    waves = np.sin(np.linspace(0, 9, 300))[None, :, None] * RNG.random((40, 1, 3)) + 1
    for rows in (relu, RNG.normal(size=(50, 12, 12)), shuffled, waves, RNG.random((50, 20, 2))):
        assert read(rows)[0].kind == "series"


def test_a_square_series_is_said_and_a_long_one_is_certain():
    assert "kind=image" in read(RNG.normal(size=(50, 12, 12)))[1][0]
    assert read(RNG.normal(size=(50, 100, 3)))[1] == []


def test_the_look_does_not_depend_on_order_type_or_scale():
    rows = DIGITS[:64]
    for same in (rows[::-1], rows.astype(">f4"), rows.astype("f2"), np.asfortranarray(rows),
                 rows * 1e-20, torch.from_numpy(rows).double()):  # fmt: skip
        assert looks_like_images(same)


@pytest.mark.parametrize(
    ("shape", "expected", "last"),
    [
        ((28, 28, 2), (2, 28, 28), True),
        ((28, 28, 1), (1, 28, 28), True),
        ((2, 28, 28), (2, 28, 28), False),
        ((1, 28, 28), (1, 28, 28), False),
        ((20, 20, 9), (9, 20, 20), True),
        ((9, 20, 20), (9, 20, 20), False),
        ((5, 4, 3), (3, 5, 4), True),
        ((3, 4, 3), (3, 4, 3), False),
        ((3, 28, 3), (3, 28, 3), False),
        ((3, 28, 4), (3, 28, 4), False),
        ((3, 3, 3), (3, 3, 3), False),
        ((4, 4, 4), (4, 4, 4), False),
    ],
)
def test_where_channels_are(shape, expected, last):
    for dtype in (np.float32, np.uint8):
        signal, said = read(np.zeros((2, *shape), dtype))
        assert (signal.shape, signal.channels_last) == (expected, last)
        both, neither = max(shape[0], shape[2]) <= 4, min(shape) > 4
        assert bool(said) == (both or neither)


def test_the_axis_wins():
    assert read(np.zeros((2, 5, 4, 3)), Reading(axis=1))[0].shape == (5, 4, 3)
    assert read(np.zeros((2, 3, 4, 5)), Reading(axis=-1))[0].shape == (5, 3, 4)
    series, said = read(np.zeros((2, 3, 40)), Reading(axis=1))
    assert (series.kind, series.shape, said) == ("series", (40, 3), [])
    raw = torch.arange(6.0).reshape(1, 2, 3)
    signal = Signal.infer(raw, Reading(axis=1))
    assert torch.equal(signal.tensor(raw), raw.movedim(1, 2))
    assert torch.equal(signal.tensor(raw.movedim(1, 2), read=True), raw.movedim(1, 2))


def test_activations_are_rows_of_features_where_the_model_reads_these():
    how = Reading(features=True)
    signal, said = read(RNG.normal(size=(20, 16, 32)), how)
    assert (signal.kind, signal.shape, signal.axis) == ("vector", (32,), -1)
    assert "kind=series" in said[0]
    assert read(RNG.normal(size=(4, 64, 7, 7)), how)[0].axis == 1
    assert read(RNG.normal(size=(4, 7, 7, 64)), how)[0].axis == -1
    assert read(RNG.normal(size=(4, 2, 3, 5, 7)), how)[0].shape == (7,)


def test_pictures_stay_pictures_where_the_model_reads_features():
    how = Reading(features=True)
    for rows in (DIGITS / 16, DIGITS.astype(np.uint8), (DIGITS / 16)[:, None], DIGITS[..., None]):
        assert read(rows, how)[0].kind == "image"
    assert read(DIGITS / 16, Reading("series", features=True))[0].kind == "series"
    assert read(DIGITS / 16, Reading("vector", features=True))[0].shape == (8,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "imge"}, "did you mean 'image'"),
        ({"axis": 0}, "axis=0 is no axis"),
        ({"axis": "last"}, "axis='last'"),
        ({"size": "big"}, "size='big' is no size"),
        ({"size": (3, 4, 5)}, "is no size"),
        ({"size": 0}, "is no size"),
        ({"mode": "rbg"}, "did you mean 'rgb'"),
    ],
)
def test_options_that_say_nothing_are_one_sentence(options, words):
    with pytest.raises(IsthmusError, match=words):
        Reading.checked(**options)


def test_sizes_are_width_times_height_in_words():
    assert Reading.checked(size=32).size == (32, 32)
    assert Reading.checked(size="48x32").size == (32, 48)
    assert Reading.checked(size=[32, 48]).size == (32, 48)


def test_an_axis_that_is_not_there_is_one_sentence():
    with pytest.raises(IsthmusError, match="axis=7 is no axis of features of an array of 3 axes"):
        Signal.infer(np.zeros((2, 3, 4)), Reading(axis=7))
    with pytest.raises(IsthmusError, match="axis=2 lies between"):
        Signal.infer(np.zeros((2, 3, 4, 5)), Reading(axis=2))


def test_what_was_asked_for_is_written_and_read():
    how = Reading("image", 1, (3, 4), "grey", features=True)
    assert Reading.from_dict(how.to_dict()) == how
    assert Reading().to_dict() == {}
    for signal in (read(DIGITS)[0], read(np.zeros((2, 3, 40)), Reading(axis=1))[0]):
        assert Signal.from_dict(signal.to_dict()) == signal
