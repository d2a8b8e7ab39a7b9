"""The small transformer of the study: what its codes are read by, and what setting one does."""

import numpy as np
import pytest
import torch

from isthmus.data.made.state_machines import Machine
from isthmus.interpretation import learn_through
from isthmus.language import Decoder
from isthmus.studies.quantised import codebook as study


@pytest.fixture(scope="module")
def network():
    """A machine of four states, and a network that learns it, with codebooks."""
    torch.manual_seed(0)
    machine, module = Machine(4, 2), Decoder(study.SHAPE)
    learn_through(module, {}, study.lessons(machine, 0), steps=40, lr=4e-3)
    edits = learn_through(module, study.codebooks(), study.lessons(machine, 1), steps=40, lr=4e-3)
    walks = machine.walks(60, 8, np.random.default_rng(0))
    return machine, module, edits, walks


def test_lessons_are_texts_and_what_follows():
    machine = Machine(4, 2)
    tokens, following = next(study.lessons(machine, 3))
    assert tokens.shape == following.shape == (study.TEXTS, study.LENGTH)
    assert torch.equal(tokens[:, 1:], following[:, :-1])
    states = following.numpy() - 1
    assert machine.allows(states[:, :-1].reshape(-1), states[:, 1:].reshape(-1)).all()


def test_what_is_drawn_follows_the_machine_and_comes_of_the_codes(network):
    machine, module, edits, walks = network
    assert study.accuracy(machine, module, edits, walks) > 0.8
    torch.manual_seed(1)
    assert study.accuracy(machine, Decoder(study.SHAPE), {}, walks) < 0.75


def test_codes_are_those_that_the_edits_put_in(network):
    machine, module, edits, walks = network
    tokens = torch.from_numpy(machine.tokens(walks))
    indices = study.codes_of(module, edits, tokens)
    assert indices.shape == (*tokens.shape, 2)
    place, codes = 5, indices[:, 5, 1]
    forced = {**edits, study.MLPS[1]: study._Forced(edits[study.MLPS[1]], place, codes)}
    with torch.no_grad(), study.spliced(module, edits):
        expected = module(tokens)
    with torch.no_grad(), study.spliced(module, forced):
        torch.testing.assert_close(module(tokens), expected)
    forced[study.MLPS[1]] = study._Forced(edits[study.MLPS[1]], place, (codes + 1) % study.CODES)
    with torch.no_grad(), study.spliced(module, forced):
        changed = module(tokens)
    torch.testing.assert_close(changed[:, :place], expected[:, :place])
    assert (changed[:, place] - expected[:, place]).abs().max() > 1e-3
