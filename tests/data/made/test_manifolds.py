import numpy as np

from isthmus.data.made.manifolds import embedded, sheet


def test_embedded_factors_have_their_dimension_and_the_stated_noise():
    rows = embedded(4, 4000, 0)
    assert rows.shape == (4000, 64)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.var(0), 1.25, rtol=0.1)
    spectrum = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    # Four directions far above the noise, and a bend that linear codes cannot follow.
    assert spectrum[3] > 5 * spectrum[4]
    assert spectrum[4] > 1.2 * 0.25
    np.testing.assert_array_equal(rows, embedded(4, 4000, 0))
    assert not np.array_equal(rows, embedded(4, 4000, 1))


def test_hardly_bent_and_without_noise_it_is_flat():
    spectrum = np.linalg.svd(embedded(3, 500, 0, bend=1e-3, noise=0.0), compute_uv=False)
    assert spectrum[3] < 1e-3 * spectrum[2]


def test_anomalies_fill_the_box_that_normal_rows_leave_empty():
    normal, odd = sheet(0, rows=600, anomalies=50)
    assert normal.shape == (600, 20)
    assert odd.shape == (50, 20)
    assert normal.dtype == odd.dtype == np.float32
    assert (odd >= normal.min(0)).all()
    assert (odd <= normal.max(0)).all()
    # Three dimensions and their sines: six directions, and noise of variance 0.01.
    spectrum = np.linalg.eigvalsh(np.cov(normal.T))[::-1]
    assert spectrum[6:].max() < 0.015
    axes = np.linalg.svd(normal - normal.mean(0))[2][:6]
    away = [
        np.linalg.norm(x - normal.mean(0) - (x - normal.mean(0)) @ axes.T @ axes, axis=1)
        for x in (normal, odd)
    ]
    assert away[1].min() > np.median(away[0])
    np.testing.assert_array_equal(sheet(0, rows=600, anomalies=50)[0], normal)
