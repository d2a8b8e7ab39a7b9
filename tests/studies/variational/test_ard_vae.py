"""What the counts are compared with, and the embedded factors."""

import numpy as np
import pytest

from isthmus.studies.variational.ard_vae import CELLS, NOISE, WIDTH, embedded, nearer


@pytest.mark.parametrize(("found", "octaves"), [("truth", -3.0), ("latents", 3.0), (8, 0.0)])
def test_the_quantity_sets_the_truth_against_the_number_of_latents(found, octaves):
    made = {}
    for truth, latents in CELLS:
        axes = {"truth": truth, "latents": latents}.get(found, (truth * latents) ** 0.5)
        made[f"axes_{truth}_{latents}"] = axes
    # From 4 and 8 to 16 and 64 it is 2, 4, 1 and 3 octaves, 2.5 in the mean.
    assert nearer("ard-vae")({"ard-vae": made}) == pytest.approx(octaves * 2.5 / 3.0)


def test_embedded_factors_have_their_dimension_and_the_stated_noise():
    rows = embedded(4, 4000, 0)
    assert rows.shape == (4000, WIDTH)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.var(0), 1.0 + NOISE**2, rtol=0.1)
    spectrum = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    # Four directions far above the noise, and a bend that linear codes cannot follow.
    assert spectrum[3] > 5 * spectrum[4]
    assert spectrum[4] > 1.2 * NOISE**2
    np.testing.assert_array_equal(rows, embedded(4, 4000, 0))
    assert not np.array_equal(rows, embedded(4, 4000, 1))
