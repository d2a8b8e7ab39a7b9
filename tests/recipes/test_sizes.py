"""Sizes that follow the data."""

from dataclasses import replace

import numpy as np
import pytest

from isthmus import notices
from isthmus.data import as_source
from isthmus.recipes import as_recipe, list_recipes
from isthmus.recipes.sizes import lengths, meant, ramped, sized


def rows(count, *shape):
    return np.broadcast_to(np.float32(0), (count, *shape)).copy()


def chosen(name, count, *shape, **asked):
    with notices.collected(quiet=True):
        found = sized(as_recipe(name), asked, as_source(rows(count, *shape)))
    return {k: v for k, v in found.items() if k not in asked}


@pytest.mark.parametrize(
    ("columns", "latents"), [(1, 1), (2, 1), (4, 1), (13, 4), (30, 10), (39, 13), (40, None)]
)
def test_a_dense_code_is_no_larger_than_half_the_elements(columns, latents):
    assert chosen("vae", 10_000, columns).get("latent_dim") == latents


def test_images_have_the_page_s_code():
    assert chosen("vae", 10_000, 1, 28, 28) == {}


def test_superfluous_latents_may_be_as_many_as_the_elements():
    assert chosen("ard-vae", 10_000, 30)["latent_dim"] == 30


@pytest.mark.parametrize(
    ("count", "columns", "width", "k"),
    [
        (500, 13, 64, 4),
        (20_000, 30, 64, 8),
        (5263, 512, 256, None),
        (60_000, 784, 2048, None),
        (1_000_000, 768, 2048, None),
        (1_000_000, 1024, None, None),
    ],
)
def test_a_dictionary_follows_columns_and_rows(count, columns, width, k):
    source = as_source(rows(64, columns))
    source.__class__ = type("Long", (type(source),), {"__len__": lambda self: count})
    with notices.collected(quiet=True):
        found = sized(as_recipe("topk"), {"batch_size": 4096}, source)
    assert (found.get("latent_dim"), found.get("k"), found.get("k_aux")) == (width, k, None)


@pytest.mark.parametrize(
    ("count", "published", "batch"),
    [
        (20, 128, 20), (100, 128, 16), (400, 128, 32), (1000, 128, 64), (1280, 128, None),
        (500, 4096, 32), (5263, 4096, 128), (60_000, 4096, 512), (500_000, 4096, None),
    ],
)  # fmt: skip
def test_a_pass_has_steps(count, published, batch):
    name = {128: "plain", 4096: "relu-l1"}[published]
    found = chosen(name, count, 80, **({} if published == 128 else {"latent_dim": 4096}))
    assert found.get("batch_size") == batch


@pytest.mark.parametrize(
    ("name", "count", "factor"),
    [
        ("plain", 400, 0.5),
        ("plain", 5000, None),
        ("relu-l1", 500, 0.25),
        ("relu-l1", 60_000, 0.354),
    ],
)
def test_the_rate_follows_the_batch(name, count, factor):
    asked = {} if name == "plain" else {"latent_dim": 4096}
    found = chosen(name, count, 80, **asked).get("lr")
    assert found == (None if factor is None else pytest.approx(1e-3 * factor, rel=1e-3))


def test_plain_descent_is_in_proportion_to_the_batch():
    assert chosen("k-sparse", 400, 80, latent_dim=1000)["lr"] == pytest.approx(0.2 * 0.32)


def test_a_rate_for_a_stated_batch_is_left():
    assert "lr" not in chosen("mae", 400, 8, 8)
    assert chosen("mae", 400, 8, 8)["batch_size"] == 32


def test_a_narrow_dictionary_has_a_higher_rate():
    found = chosen("topk", 500_000, 128)
    assert found["latent_dim"] == 512
    assert found["lr"] == pytest.approx(2 * 1.6e-3)  # of 2.8 no more than twice


def test_what_was_asked_for_is_left():
    asked = {"latent_dim": 50, "batch_size": 7, "lr": 0.5}
    assert chosen("vae", 400, 12, **asked) == {}
    assert chosen("topk", 400, 12, latent_dim=64, k=3, batch_size=50) == {}
    assert "lr" not in chosen("plain", 400, 12, batch_size=7)


@pytest.mark.parametrize("name", ["vae", "topk", "byol", "plain"])
def test_published_leaves_everything(name):
    assert chosen(name, 50, 6, length="published") == {}


def test_heads_follow_the_input():
    found = chosen("byol", 10_000, 12)
    assert (found["projector"], found["embedding"]) == (64, 64)
    assert "projector" not in chosen("barlow-twins", 10_000, 1, 28, 28)


def test_text_has_no_elements_to_count():
    with notices.collected(quiet=True):
        found = sized(as_recipe("text-vae"), {}, as_source(["one", "two three"] * 400))
    assert "latent_dim" not in found


def test_a_collection_counts_its_parts_on_average():
    both = as_source({"a": rows(10_000, 20), "b": rows(10_000, 40)})
    with notices.collected(quiet=True):
        assert sized(as_recipe("mopoe"), {}, both)["latent_dim"] == 10


def test_every_published_number_of_latents_says_what_it_is_for():
    for name, recipe in list_recipes().items():
        if recipe.builtin and "latent_dim" in recipe.model_options.model_fields:
            default = recipe.model_options.model_fields["latent_dim"].default
            wider = name in ("transcoder", "cross-layer-transcoder")  # a multiple of the input
            wanted = (name not in ("mae", "vq-vae") and default is not None) or wider
            assert ("latent_dim" in meant(recipe)) == wanted, name


def test_sizes_that_are_chosen_build_a_model():
    for name, recipe in list_recipes().items():
        if not recipe.builtin or "vector" not in recipe.kinds:
            continue
        data = np.random.default_rng(0).normal(size=(60, 9)).astype(np.float32)
        read = {"nmf": np.abs(data), "sparsey": (data > 0).astype(np.float32)}
        source = as_source(read.get(name, data))
        with notices.collected(quiet=True):
            options, _ = recipe.parse(sized(recipe, {}, source))
        if name not in ("depict", "vq-vae", "mae"):
            solver = recipe.build(source.signal, options).solver
            assert recipe.solved == (solver is not None), name


def test_ramps_shrink():
    recipe = as_recipe("jumprelu")
    options, _ = recipe.parse({})
    assert ramped(recipe, options, {}, 0.03)["sparsity_steps"] == 300
    assert ramped(recipe, options, {"sparsity_steps": 10_000}, 0.03) == options
    assert ramped(recipe, options, {}, 1.0) == options


def test_no_batch_is_chosen_where_nothing_is_trained_by_steps():
    assert chosen("k-means", 60, 9) == {"latent_dim": 64}
    assert lengths(as_recipe("k-means")) == (
        "A solver reads the rows: nothing is trained by steps or held out. By default "
        "(length=auto) latent_dim follows the data."
    )
    assert "latent_dim and k follow the data" in lengths(as_recipe("sparse-coding"))


def test_the_page_says_both_lengths():
    said = lengths(as_recipe("jumprelu"))
    assert said.startswith("Published: 100,000 steps of batches of 4,096 (length=published).")
    assert "sparsity_steps shrinks" in said
    assert lengths(as_recipe("plain")).startswith("Published: 20 passes of batches of 128")
    assert lengths(replace(as_recipe("plain"), defaults={})).startswith(
        "The page states no length."
    )
