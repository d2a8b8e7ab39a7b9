"""The weight average against its closed form."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from isthmus.training.average import WeightAverage


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(5.0))


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_closed_form(decay):
    model = Scalar()
    average = WeightAverage(model, decay)
    values, weights = [5.0], []
    for step in range(12):
        with torch.no_grad():
            model.w.fill_(float((step * 7) % 5))
        values.append(model.w.item())
        weights.append(min(decay, (1 + step) / (10 + step)))
        average.update(step)
    # mean_T = sum_t (1 - d_t) w_t prod_{s > t} d_s, and the start weighs the product of all
    expected = values[0] * np.prod(weights)
    for t, d in enumerate(weights):
        expected += (1 - d) * values[t + 1] * np.prod(weights[t + 1 :])
    assert average.mean["w"].item() == pytest.approx(expected, rel=1e-5)
    assert model.w.item() == values[-1]  # the live weight goes its own way


@pytest.mark.parametrize("kind", ["deterministic", "adversarial"])
def test_a_run_ends_on_the_average_of_its_own_weights(kind):
    from isthmus.training import Callback

    class Track(Callback):
        def __init__(self):
            self.seen = []

        def on_start(self, trainer):
            self.on_step(trainer, 0)

        def on_step(self, trainer, step):
            own = trainer.model.named_parameters()
            self.seen.append({n: p.detach().double().clone() for n, p in own})

    track = Track()
    model = toys.trainer(toys.fresh(kind), average=0.7, callbacks=[track]).run()
    mean = track.seen[0]
    for step, weights in enumerate(track.seen[1:]):
        d = min(0.7, (1 + step) / (10 + step))
        mean = {n: d * mean[n] + (1 - d) * w for n, w in weights.items()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.double(), mean[name], rtol=1e-5, atol=1e-6)
