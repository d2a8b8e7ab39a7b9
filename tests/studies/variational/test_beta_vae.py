"""When factors enter a code."""

import numpy as np
import torch

from isthmus.anatomy import GaussianCode
from isthmus.studies.variational.beta_vae import ENTERED, FACTORS, _explained, _Watch


class Fake:
    """A model whose code is the rows themselves, with one standard deviation."""

    def __init__(self, deviation):
        self.logvar = 2.0 * np.log(deviation)

    def encode(self, rows, code):
        assert code
        return GaussianCode(rows, rows, torch.full_like(rows, self.logvar))


def test_noise_hides_what_the_means_show():
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(rng.standard_normal((4000, 2)))
    truth = np.stack([rows[:, 0] - 3.0, rng.standard_normal(4000)], axis=1)
    clear = _explained(Fake(1e-3), rows, truth)
    np.testing.assert_allclose(clear, [1.0, 0.0], atol=1e-2)
    noisy = _explained(Fake(1.0), rows, truth)
    np.testing.assert_allclose(noisy[0], 0.5, atol=0.05)


def test_a_factor_enters_once_and_one_that_never_does_counts_as_the_end():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((1000, len(FACTORS)))
    seen = truth.copy()
    seen[:, FACTORS.index("scale")] = rng.standard_normal(1000)
    watch = _Watch(torch.from_numpy(seen), truth, 400)

    class Trainer:
        model = Fake(100.0)

    watch.on_step(Trainer, 100)
    assert set(watch.entered.values()) == {1.0}
    Trainer.model = Fake(0.1)
    watch.on_step(Trainer, 105)
    assert set(watch.entered.values()) == {1.0}
    for step in (110, 120):
        watch.on_step(Trainer, step)
    assert watch.entered == {"scale_entered": 1.0, "x_entered": 0.275, "y_entered": 0.275}
    assert ENTERED < 1.0
