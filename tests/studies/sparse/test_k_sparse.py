"""The rivals' layers of k-sparse codes."""

import numpy as np
import torch

from isthmus.studies.arms import Ground
from isthmus.studies.sparse.k_sparse import WIDTH, decoder, encoder

ROWS = np.zeros((2, 1, 14, 14), np.float32)


def test_rivals_start_from_the_same_weights_and_leave_the_generator_alone():
    state = torch.random.get_rng_state()
    third, fourth = Ground(ROWS, ROWS, 3), Ground(ROWS, ROWS, 4)
    plain, dropped, other = encoder(third), encoder(third, 0.5), encoder(fourth)
    back = decoder(third)
    assert torch.equal(state, torch.random.get_rng_state())
    x = torch.rand(4, 1, 14, 14)
    assert torch.equal(plain(x), dropped.eval()(x))
    assert not torch.equal(plain(x), other(x))
    assert back(plain(x)).shape == x.shape


def test_dropout_drops_units_in_training_only():
    layer, x = encoder(Ground(ROWS, ROWS, 0), 0.5), torch.rand(64, 1, 14, 14)
    active = (layer.eval()(x) > 0.0).float().mean()
    torch.manual_seed(0)
    kept = (layer.train()(x) > 0.0).float().mean()
    assert layer(x).shape == (64, WIDTH)
    # Some 32,000 active units are tossed: the share's standard deviation is 0.003.
    assert abs(kept / active - 0.5) < 0.02
