"""Columns that are 0 or 1 for a word, a gap or a truth value stay in these units."""

import numpy as np
import pandas as pd
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

import isthmus
from isthmus import notices
from isthmus.anatomy.scaler import Scaler
from isthmus.comparison.prepared import prepare, split


def grouped(rows=300):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, rows)
    frame = pd.DataFrame(
        {
            "age": 40 + 10 * group + 3 * rng.normal(size=rows),
            "spend": 300 * (1 + group) + 80 * rng.normal(size=rows),
            "visits": 5 + 2 * group * (group - 1) + rng.normal(size=rows),
            "rare": np.where(rng.random(rows) < 0.03, "x", "y"),
            "ok": rng.random(rows) < 0.96,
        }
    )
    frame.loc[rng.random(rows) < 0.03, "visits"] = np.nan
    return frame, group


def test_the_scaler_leaves_them():
    frame, _ = grouped()
    with notices.collected(quiet=True):
        model = isthmus.fit("plain", frame, latent_dim=2, steps=3, progress=False)
    names = model.preparation.parts[""].features
    scales = dict(zip(names, model.scaler.scale.tolist(), strict=True))
    assert {n for n, scale in scales.items() if scale == 1.0} == {*names} - {
        "age", "spend", "visits"
    }  # fmt: skip
    # Of what is no table nothing is known, and everything is standardised.
    X = (np.random.default_rng(0).random((50, 4)) < 0.1).astype(np.float32)
    model = isthmus.fit("plain", X, scaling="columns", latent_dim=2, steps=3, progress=False)
    np.testing.assert_allclose(model.scaler.scale, X.std(0), rtol=1e-5)


def test_norms_count_them_alike():
    scaler = Scaler((3,), "columns-norm")
    scaler.fit(torch.tensor([[0.0, 0.0, 1.0], [1.0, 4.0, 0.0]]))
    scaler.leave(torch.tensor([True, False, False]))
    np.testing.assert_allclose(scaler.scale, [3**0.5, 2 * 3**0.5, 0.5 * 3**0.5])


def test_comparisons_leave_them_and_find_the_groups():
    frame, group = grouped()
    with notices.collected(quiet=True):
        part = split(prepare(frame, group), 0)
    assert part.truths == (False, False, False, True, True, True, True)
    spread = part.train.std(0)
    np.testing.assert_allclose(spread[:3], 1.0, rtol=1e-3)
    assert (spread[3:] < 0.3).all()
    found = KMeans(3, n_init=10, random_state=0).fit(part.train).predict(part.test)
    assert normalized_mutual_info_score(found, part.test_labels) > 0.85
