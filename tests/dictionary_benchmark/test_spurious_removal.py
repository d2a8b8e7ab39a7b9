"""SCR against its formula written out, and where the right score is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.dictionary_benchmark.ablated_probes import (
    COUNTS,
    difference,
    largest_effects,
    spurious_effects,
    without,
)
from isthmus.dictionary_benchmark.concept_probes import STRENGTH, ConceptProbe
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.dictionary_benchmark.spurious_removal import SpuriousRemoval, biases, scr_score
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable

from .planted_host import POINT, ground, host, letters_of, random, true, two_attributes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model = host()
    return model, ground(tmp_path_factory.mktemp("scr"), [two_attributes()], model)


def score(outcome, n):
    ((value, below),) = outcome.figures[f"scr_{n}"].values()
    assert below == 1.0
    return value


def test_the_true_dictionary_removes_all_of_the_bias_and_a_random_one_does_not(tmp_path):
    model = host()
    place = ground(tmp_path, [two_attributes(rest="m")], model)
    right, wrong = (SpuriousRemoval().run(one, place, 0) for one in (true(model), random()))
    assert score(right, 2) == 1.0
    assert score(wrong, 2) < 0.6


def test_the_attribute_that_the_biased_probe_tells_worse_is_meant(world):
    (bias,) = biases(world[1], POINT, 0)
    # The letters of the second attribute are twice as many in a text.
    assert bias.name == "pairs/first not second"
    assert bias.original < bias.clean - 0.05


def test_every_number_is_that_of_the_formula_written_out(world):
    model, place = world
    one = random()
    (bias,) = biases(place, POINT, 0)
    texts = bias.texts
    codes = np.zeros((len(texts), one.latents))
    x = np.zeros((len(texts), one.atoms.shape[1]))
    for row, text in enumerate(texts.texts):
        tokens = model.module.embed.weight[model.tokenizer.encode(text)].numpy()
        x[row] = tokens.mean(0)
        codes[row] = np.maximum(tokens @ one.atoms.T, 0).mean(0)
    gap = np.zeros(one.latents)
    for latent in range(one.latents):
        values = codes[bias.train, latent]
        gap[latent] = values[bias.other_on].mean() - values[~bias.other_on].mean()
    effects = [abs(gap[j] * float(bias.other.direction @ one.atoms[j])) for j in range(one.latents)]
    best = sorted(range(one.latents), key=lambda j: -effects[j])[:5]
    ablated = x.copy()
    for latent in best:
        ablated -= codes[:, [latent]] * one.atoms[latent]
    right = [
        (ablated[i] @ bias.probe.direction + bias.probe.intercept > 0) == wanted
        for i, wanted in zip(bias.test, bias.wanted, strict=True)
    ]
    expected = (np.mean(right) - bias.original) / (bias.clean - bias.original)
    assert score(SpuriousRemoval().run(one, place, 0), 5) == pytest.approx(expected)


def test_a_text_without_latents_is_the_mean_of_its_tokens_without_them(world):
    model, place = world
    one, texts = true(model), place.sets[0]
    x, codes = place.pooled(texts, POINT), place.pooled_codes(one, texts)
    some = np.array([3, 17])
    ablated = without(x, codes, one.atoms, some)
    tokens = model.module.embed.weight[model.tokenizer.encode(texts.texts[7])].numpy()
    latents = np.maximum(tokens @ one.atoms.T, 0)
    by_token = tokens - latents[:, some] @ one.atoms[some]
    np.testing.assert_allclose(ablated[7], by_token.mean(0), atol=1e-5)


def test_effects_and_the_score_are_the_published_formulas():
    probe = ConceptProbe(np.array([1.0, -2.0]), 0.0)
    atoms = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    gap = np.array([0.5, 0.25, -1.0])
    np.testing.assert_allclose(spurious_effects(gap, atoms, probe), [0.5, 0.5, 1.0])
    assert largest_effects(np.array([0.5, 0.5, 1.0, 0.0]), 4).tolist() == [2, 0, 1]
    assert scr_score(0.6, 0.9, 0.75) == pytest.approx(0.5)
    assert scr_score(0.6, 0.9, 0.6) == 0.0


def test_the_probe_is_scikit_learns(world):
    place = world[1]
    x, on = place.pooled(place.sets[0], POINT), place.sets[0].of("first", "a")
    scaled = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(C=1 / (len(x) * STRENGTH), tol=1e-8).fit(scaled, on)
    probe = ConceptProbe.fit(x, on)
    np.testing.assert_allclose(
        x @ probe.direction + probe.intercept, model.decision_function(scaled), atol=5e-3
    )
    codes = place.pooled_codes(true(world[0]), place.sets[0])
    index = np.arange(len(x))
    plain = codes.toarray()
    np.testing.assert_allclose(
        difference(codes, index, on), plain[on].mean(0) - plain[~on].mean(0), atol=1e-12
    )


def test_texts_with_one_attribute_are_not_measurable(tmp_path):
    texts, labels = letters_of({"a": "a", "b": "b"})
    place = ground(tmp_path, [TextSet("one", tuple(texts), {"class": tuple(labels)})])
    with pytest.raises(NotMeasurable, match="two columns of labels of two classes"):
        SpuriousRemoval().premise(place, POINT, 0)
    assert {one.name for one in SpuriousRemoval.measures} == {f"scr_{n}" for n in COUNTS}


@pytest.mark.parametrize("seed", range(4))
def test_an_attribute_that_nothing_tells_is_not_taken_for_the_one_that_is_meant(tmp_path, seed):
    texts = two_attributes(each=30)
    coins = np.random.default_rng(seed).choice(["p", "q"], len(texts))
    noise = TextSet("noise", texts.texts, {"first": texts.labels["first"], "coin": tuple(coins)})
    with pytest.raises(NotMeasurable, match="no pair of attributes"):
        SpuriousRemoval().premise(ground(tmp_path, [noise]), POINT, seed)
