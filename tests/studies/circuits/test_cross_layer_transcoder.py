"""The claim on cross-layer transcoders: errors of layers apart and together are one measure."""

import numpy as np
import pytest

import isthmus
from isthmus.data import as_source
from isthmus.evaluation import fvu
from isthmus.studies.circuits import cross_layer_transcoder as page


class Held:
    """What a store of activations gives."""

    def __init__(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(300, 6)).astype(np.float32)
        self.parts = {}
        for into, out in zip(page.READ, page.WRITTEN, strict=True):
            self.parts[into] = x
            y = np.maximum(x @ rng.normal(size=(6, 5)).astype(np.float32), 0.0)
            self.parts[out] = y.astype(np.float32)

    def source(self, points):
        return as_source({point: self.parts[point] for point in points})

    def pair(self, into, out):
        return self.source([into, out])


def test_errors_are_means_over_layers_and_active_latents_are_sums():
    held = Held()
    options = {"latent_dim": 12, "k": 2, "steps": 5, "batch_size": 50, "progress": False}
    across = isthmus.fit("cross-layer-transcoder", held.source(page.POINTS), **options)
    recon = across.reconstruct(held.parts)
    errors = [fvu(held.parts[name], recon[name]).value for name in page.WRITTEN]
    found = page.of_all(across, held)
    assert found["fvu"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert found["l0"] == pytest.approx((across.encode(held.parts) != 0).sum(1).mean(), rel=1e-4)

    models = [
        isthmus.fit("transcoder", held.pair(into, out), **options)
        for into, out in zip(page.READ, page.WRITTEN, strict=True)
    ]
    pairs = [dict(list(held.parts.items())[2 * i : 2 * i + 2]) for i in range(4)]
    errors = [
        fvu(pair[name], model.reconstruct(pair)).value
        for model, pair, name in zip(models, pairs, page.WRITTEN, strict=True)
    ]
    found = page.of_each(models, held)
    assert found["fvu"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert found["l0"] == pytest.approx(8.0, rel=0.05)
