"""The counts that the rule reads, and the embedded factors."""

import numpy as np
import pytest

from isthmus.studies.variational.ard_vae import (
    LATENTS,
    NOISE,
    TRUTHS,
    WIDTH,
    _added,
    _cells,
    _error,
    _is_beaten,
    _largest_spread,
    _off,
    embedded,
)


def figures():
    """Counts that are the truth for the ARD-VAE and a quarter of the latents for the VAE."""
    made = {"ard-vae": {}, "vae": {}, "beta-vae": {}}
    for cell in _cells():
        truth, latents = cell.split("_")
        axes = 20 if truth == "digits" else int(truth)
        made["ard-vae"] |= {f"axes_{cell}": axes, f"mse_{cell}": 1.0, f"mse_axes_{cell}": 1.02}
        made["vae"] |= {f"units_{cell}": int(latents) // 4, f"mse_{cell}": 1.0}
        made["beta-vae"] |= {f"units_{cell}": 5, f"mse_{cell}": 1.05}
    return made


def test_the_rule_reads_every_cell():
    made = figures()
    assert len(list(_cells())) == len(TRUTHS) * len(LATENTS) + 2
    assert _off(made) == 0
    assert _largest_spread(made, "ard-vae", "axes") == 0
    assert _largest_spread(made, "vae", "units") == 12
    assert _added(made, "ard-vae") == pytest.approx(0.02)
    assert _error(made, "beta-vae") == pytest.approx(1.05)
    assert _is_beaten(made, "vae"), "its count varies"
    assert _is_beaten(made, "beta-vae"), "its error is worse"
    assert not _is_beaten(made, "ard-vae", "axes")
    made["ard-vae"]["axes_8_32"] = 11
    assert _off(made) == 3
    assert _largest_spread(made, "ard-vae", "axes") == 3


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
