import pytest
import torch
from scipy import stats

from isthmus.corruptions import Mixup
from isthmus.errors import IsthmusError


def test_each_row_is_mixed_with_one_other_by_a_beta_weight():
    torch.manual_seed(0)
    rows = 3000
    # On one-hot rows the mixture shows both partners and their weights.
    y = Mixup(0.4)(torch.eye(rows)).x
    torch.testing.assert_close(y.sum(1), torch.ones(rows))
    assert int((y > 0).sum(1).max()) <= 2
    weights = y.diagonal().double()
    alone = weights == 1.0  # its own partner, or a weight that rounds to one
    assert int(alone.sum()) < rows * 0.15
    body = weights[(weights > 0.05) & (weights < 0.95)].numpy()
    law = stats.beta(0.4, 0.4)
    low, high = law.cdf(0.05), law.cdf(0.95)
    assert stats.kstest(body, lambda w: (law.cdf(w) - low) / (high - low)).pvalue > 1e-3
    partners = y - torch.diag(y.diagonal())
    assert int((partners > 0).sum(0).max()) == 1


def test_the_mean_of_the_batch_is_expected_to_stay():
    torch.manual_seed(0)
    x = torch.randn(4, 3)
    mean = torch.stack([Mixup(1.0)(x).x.mean(0) for _ in range(1500)]).mean(0)
    torch.testing.assert_close(mean, x.mean(0), rtol=0, atol=0.05)


def test_alpha_must_be_positive():
    with pytest.raises(IsthmusError, match="alpha=0"):
        Mixup(0.0)
