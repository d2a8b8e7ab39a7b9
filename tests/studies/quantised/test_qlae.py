"""QLAE without its codebooks."""

import numpy as np
import torch
from torch.nn import functional as F

from isthmus import data
from isthmus.anatomy import Clock
from isthmus.studies.quantised.qlae import continuous


def test_the_objective_is_the_mean_cross_entropy_of_an_element():
    rows = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    torch.manual_seed(0)
    model = continuous(data.as_source(rows).signal, latent_dim=3, hidden=(5,)).eval()
    (batch,) = model.batches(rows, 20)
    with torch.no_grad():
        out = model(batch, Clock(1, 1))
        loss = model.objective(model, out).total
    expected = F.binary_cross_entropy_with_logits(out.params, torch.from_numpy(rows))
    torch.testing.assert_close(loss, expected)
