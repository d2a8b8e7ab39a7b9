"""The rivals' layers, and what the checks of k-sparse codes compare."""

import torch

from isthmus.studies import get_study
from isthmus.studies.sparse.k_sparse import KS, WIDTH, layers


def test_rivals_start_from_the_same_weights_and_leave_the_generator_alone():
    state = torch.random.get_rng_state()
    plain, dropped, other = layers(3), layers(3, dropout=0.5), layers(4)
    assert torch.equal(state, torch.random.get_rng_state())
    x = torch.rand(4, 1, 14, 14)
    assert torch.equal(plain["encoder"](x), dropped["encoder"].eval()(x))
    assert not torch.equal(plain["encoder"](x), other["encoder"](x))
    assert plain["decoder"](plain["encoder"](x)).shape == x.shape


def test_dropout_drops_units_in_training_only():
    encoder, x = layers(0, dropout=0.5)["encoder"], torch.rand(64, 1, 14, 14)
    active = (encoder.eval()(x) > 0.0).float().mean()
    torch.manual_seed(0)
    kept = (encoder.train()(x) > 0.0).float().mean()
    assert encoder(x).shape == (64, WIDTH)
    # Some 16,000 active units are tossed: the share's standard deviation is 0.004.
    assert abs(kept / active - 0.5) < 0.02


def test_the_best_k_meets_the_better_rival_and_dead_units_meet_both_limits():
    figures = {f"k={k}": {"error": 10.0, "error_k_latents": 10.0} for k in KS}
    figures["k=40"]["error"] = 6.0
    figures |= {"denoising": {"error": 9.0}, "dropout": {"error": 8.0}}
    figures |= {"k=10": {"dead_share": 0.3}, "k=10 at once": {"dead_share": 0.1}}
    best, small, alpha, annealed, at_once = get_study("k-sparse").checks
    assert best.value(figures) == 6.0 / 8.0
    assert small.value(figures) == 10.0 / 10.0
    assert alpha.value(figures) == 1.0
    assert not annealed.passes(annealed.value(figures))
    assert not at_once.passes(at_once.value(figures))
