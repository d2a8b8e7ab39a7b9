"""Activations at the end of prompts, and what a probe reads of rows with and without a signal."""

import numpy as np
import pytest
import torch

from isthmus.errors import IsthmusError
from isthmus.interpretation.controls import read_out, states
from isthmus.language import resident


def test_states_are_those_of_each_prompt_alone():
    model = resident()
    prompts = ["The captain of the ship", "No", "It was a fine morning and they", "He said"]
    found = states(model, prompts, ["layers.1", "embed"], batch=3)
    for row, prompt in enumerate(prompts):
        kept = []
        hook = model.module.layers[1].register_forward_hook(lambda m, i, out, k=kept: k.append(out))
        tokens = model.tokenizer.encode(prompt)
        model.module(torch.tensor([[model.tokenizer.bos, *tokens]]))
        hook.remove()
        np.testing.assert_allclose(found["layers.1"][row], kept[0][0, -1], atol=1e-4)
        np.testing.assert_array_equal(found["embed"][row], model.module.embed.weight[tokens[-1]])


def test_an_empty_prompt_is_refused():
    with pytest.raises(IsthmusError, match="empty"):
        states(resident(), ["a", ""], ["embed"])


def rows(number=300, signal=1.5, classes=2):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, number)
    centres = rng.standard_normal((classes, 20)) * signal
    return centres[labels] + rng.standard_normal((number, 20)), labels


def test_a_signal_is_read_and_none_is_not():
    found = read_out(*rows())
    assert (found.measure, found.chance) == ("AUROC", 0.5)
    assert found.score > 0.95
    assert abs(found.shuffled - 0.5) < 0.12
    assert abs(read_out(rows()[0], rows(signal=0)[1][::-1]).score - 0.5) < 0.12


def test_of_more_classes_accuracy_beside_the_most_frequent():
    x, labels = rows(classes=4)
    labels[:3] = 9  # too few to be on both sides of a split
    found = read_out(x, labels)
    assert found.measure == "accuracy"
    assert np.isclose(found.chance, np.bincount(labels[3:]).max() / 297)
    assert found.score > 0.9 > 0.5 > found.shuffled


def test_groups_are_kept_on_one_side():
    """Labels that are a group's own can be read only where the group is on both sides."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    labels = rng.integers(0, 2, 40)[groups]
    x = rng.standard_normal((40, 30))[groups] + 0.1 * rng.standard_normal((400, 30))
    apart = read_out(x, labels, groups, strength=1.0)
    assert read_out(x, labels, strength=1.0).score > 0.95
    assert apart.score < 0.75


def test_one_class_is_refused():
    with pytest.raises(IsthmusError, match="two classes"):
        read_out(np.zeros((8, 2)), [1] * 8)


def test_a_missing_label_is_no_class():
    found, labels = rows()
    names = ["ab"[int(one)] for one in labels]
    with pytest.raises(IsthmusError, match="labels of the probe contain missing values"):
        read_out(found, [*names[:-10], *[float("nan")] * 10])
