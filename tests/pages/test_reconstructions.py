"""Inputs and what is rebuilt of them, against the model itself."""

import numpy as np
import pytest

import isthmus
from isthmus.data import ArraySource, as_source
from isthmus.pages.kit import Binary
from isthmus.pages.reconstructions import reconstructions, samples

G = np.random.default_rng(0)
IMAGES = G.integers(0, 256, (90, 8, 8), dtype=np.uint8)


def fitted(recipe, data, **options):
    options = {"latent_dim": 4, "steps": 3, "batch_size": 16, **options}
    return isthmus.fit(recipe, data, progress=False, **options)


def part(binary, look, number, dtype, shape):
    start, length = look["strips"][number]["place"]
    found = np.frombuffer(binary.bytes()[start : start + length], dtype)
    return found.reshape(look["count"], *shape)


@pytest.fixture(scope="module")
def vae():
    return fitted("vae", IMAGES)


def test_images_stand_above_what_is_rebuilt_and_where_they_differ(vae):
    binary = Binary()
    (look,) = reconstructions(vae, ArraySource(IMAGES), binary)
    assert look["kind"] == "strips"
    places = [int(number) for number in look["captions"]]
    worst = np.argsort(vae.score(IMAGES, kind="error"), kind="stable")
    assert places[8:] == [k for k in worst.tolist() if k not in places[:8]][:4]
    first = part(binary, look, 0, np.uint8, (8, 8))
    assert np.array_equal(first, IMAGES[places])
    second = part(binary, look, 1, np.uint8, (8, 8))
    rebuilt = vae.reconstruct(IMAGES[places])
    assert np.abs(second.astype(int) - rebuilt).max() <= 1
    away = part(binary, look, 2, np.int8, (8, 8)).astype(float)
    right = second.astype(float) - first
    most = np.quantile(np.abs(right), 0.995)
    assert away == pytest.approx((right / most * 127).clip(-127, 127), abs=0.51)
    assert f"{most / 255:.2g} of the range" in look["about"]
    assert "the last 4 are the worst rebuilt of 90" in look["about"]


def test_samples_are_those_of_the_prior(vae):
    binary = Binary()
    (look,) = samples(vae, ArraySource(IMAGES), binary)
    right = np.asarray(vae.sample(look["count"], seed=0))
    drawn = part(binary, look, 0, np.uint8, (8, 8))
    assert np.abs(drawn.astype(int) - right.reshape(drawn.shape)).max() <= 1
    model = fitted("plain", IMAGES)
    assert samples(model, ArraySource(IMAGES), binary) == []


def test_series_are_curves_in_the_users_units():
    X = G.normal(size=(40, 7, 2)).astype(np.float32) * 5
    model, binary = fitted("plain", X), Binary()
    (look,) = reconstructions(model, ArraySource(X), binary)
    assert look["kind"] == "curves"
    places = [int(text.removeprefix("row ")) for text in look["captions"]]
    assert part(binary, look, 0, np.float32, (7, 2)) == pytest.approx(X[places])
    assert part(binary, look, 1, np.float32, (7, 2)) == pytest.approx(
        model.reconstruct(X[places]), abs=1e-4
    )


def test_every_part_of_a_collection_is_drawn_and_what_is_not_rebuilt_is_not():
    X = {n: G.normal(size=(60, k)).astype(np.float32) for n, k in (("in", 4), ("out", 3))}
    crosscoder, binary = fitted("crosscoder", X, k=2, latent_dim=8), Binary()
    looks = reconstructions(crosscoder, as_source(X), binary)
    assert [look["title"].split(":")[0] for look in looks] == ["in", "out"]
    transcoder, binary = fitted("transcoder", X, k=2, latent_dim=8), Binary()
    (look,) = reconstructions(transcoder, as_source(X), binary)
    assert look["title"].startswith("out")
    places = [int(text.removeprefix("row ")) for text in look["captions"]]
    assert part(binary, look, 0, np.float32, (3,)) == pytest.approx(X["out"][places])
    right = np.asarray(transcoder.reconstruct({n: x[places] for n, x in X.items()}))
    assert part(binary, look, 1, np.float32, (3,)) == pytest.approx(right, abs=1e-4)


def test_texts_stand_beside_what_is_rebuilt():
    texts = [f"a word {i} <b>" for i in range(30)]
    model = fitted("text-vae", texts, latent_dim=2)
    (look,) = reconstructions(model, as_source(texts), Binary())
    assert look["kind"] == "texts"
    shown = [row[0] for row in look["rows"]]
    assert set(shown) <= set(texts)
    assert [row[1] for row in look["rows"]] == model.reconstruct(shown)
    (drawn,) = samples(model, as_source(texts), Binary())
    assert [text for (text,) in drawn["rows"]] == model.sample(len(drawn["rows"]), seed=0)
