"""TopK that infers by one threshold: what it is an average of, and what it then does."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, Output, Step, View
from isthmus.bottlenecks import ThresholdTopK, TopK
from isthmus.bottlenecks.topk_threshold import smallest_of_rows
from isthmus.kernels import Preactivations


def preactivations(rows=40, width=64, d=5, seed=0):
    rng = np.random.default_rng(seed)
    x, w, b = rng.normal(size=(rows, d)), rng.normal(size=(width, d)), rng.normal(size=width)
    return Preactivations(*(torch.tensor(a, dtype=torch.float32) for a in (x, w, b)), None)


def trained_on(part, h, step=0, total=1_000_000):
    code = part(h, sample=True)
    part.observe(Output(h.x, h.x, [View(h.x)], [code]), Step(Clock(step, total)))
    return code


def test_training_keeps_k_and_inference_what_exceeds_the_mean_of_the_smallest_kept():
    part, h = ThresholdTopK(64, 4, 1000), preactivations()
    part.train()
    code = trained_on(part, h)
    assert torch.equal(code.z, TopK(64, 4, 1000).train()(h, sample=True).z)
    u = h.dense()
    fourth = u.topk(4, dim=1).values[:, 3].double()
    assert float(part.threshold) == pytest.approx(float(fourth[fourth > 0].mean()), rel=1e-5)
    part.eval()
    assert torch.equal(part(h).z, torch.where(u > float(part.threshold), u, 0.0))
    assert len({int(n) for n in (part(h).z != 0).sum(1)}) > 1


def test_batches_weigh_alike_until_the_average_forgets():
    part, seen = ThresholdTopK(64, 4, 1000, decay=0.75), []
    part.train()
    for seed in range(4):
        code = trained_on(part, preactivations(seed=seed))
        seen.append(float(smallest_of_rows(code.values)))
    assert float(part.threshold) == pytest.approx(np.mean(seen), rel=1e-6)
    last = trained_on(part, preactivations(seed=9))
    expected = 0.75 * np.mean(seen) + 0.25 * float(smallest_of_rows(last.values))
    assert float(part.threshold) == pytest.approx(expected, rel=1e-6)


def test_rows_without_a_positive_value_do_not_count():
    values = torch.tensor([[3.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    assert float(smallest_of_rows(values)) == pytest.approx(1.5)
    assert float(smallest_of_rows(torch.zeros(2, 3))) == 0.0


X = np.random.default_rng(0).normal(0.5, 1.0, (600, 12)).astype(np.float32)
OPTIONS = {"latent_dim": 48, "k": 6, "steps": 150, "batch_size": 100, "lr": 3e-3,
           "progress": False}  # fmt: skip


def test_the_recipe_trains_as_topk_does_and_has_about_k_latents(tmp_path):
    model = isthmus.fit("topk", X, threshold=True, **OPTIONS)
    plain = isthmus.fit("topk", X, **OPTIONS)
    assert torch.equal(model.decoder.weight, plain.decoder.weight)
    counts = (model.encode(X) != 0).sum(1)
    assert 4 < counts.mean() < 9
    assert counts.min() < counts.max()
    assert (plain.encode(X) != 0).sum(1).max() == 6
    assert model.cfg.architecture == "batchtopk"
    isthmus.save(model, tmp_path / "saved")
    np.testing.assert_array_equal(isthmus.load(tmp_path / "saved").encode(X), model.encode(X))


@pytest.mark.parametrize("other", [{"grouped": True}, {"multi_weight": 0.1}])
def test_options_that_leave_no_threshold_are_refused(other):
    with pytest.raises(isthmus.IsthmusError, match="threshold"):
        isthmus.fit("topk", X, threshold=True, **other, **OPTIONS)
