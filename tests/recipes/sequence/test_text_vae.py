"""The text VAE: on sentences of a small grammar, on sources of known entropy, on written text."""

import json
import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, View
from isthmus.comparison import compare
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer
from isthmus.language.resident_texts import samples
from isthmus.pages import report
from isthmus.recipes.sequence.text_vae import SigmoidRise
from isthmus.training import Callback

GRAMMAR = [
    " ".join(words) for words in product(["the cat", "a dog", "birds"], ["ran", "sat", "fell"])
]
SENTENCES = GRAMMAR * 8
SIZES = {"latent_dim": 4, "width": 32, "embedding": 8, "progress": False}
QUICK = {**SIZES, "steps": 8, "batch_size": 24}


@pytest.fixture(scope="module")
def plain():
    """A sequence autoencoder of the grammar."""
    return isthmus.fit(
        "text-vae", SENTENCES, variational=False, steps=300, batch_size=24, lr=1e-2,
        latent_dim=8, width=48, embedding=16, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def quick():
    return isthmus.fit("text-vae", SENTENCES, **QUICK)


def test_every_sentence_is_written_again_from_its_code_alone(plain):
    assert plain.reconstruct(GRAMMAR) == GRAMMAR
    assert plain.decode(plain.encode(GRAMMAR)) == GRAMMAR
    found = isthmus.evaluate(plain, GRAMMAR)
    assert found["exact_match"].value == 1.0
    assert found["token_accuracy"].value == 1.0
    assert found["bits_per_byte"].value < 0.1
    assert "fvu" not in found
    assert "error_per_element" not in found


def test_the_score_is_that_of_the_definition(plain):
    with torch.no_grad():
        for text, score in zip(GRAMMAR[:4], plain.score(GRAMMAR[:4]), strict=True):
            row = torch.tensor([list(text.encode())])
            logits = plain.decoder(plain.encoder(row), view=View(row))
            told = torch.distributions.Categorical(logits=logits[0])
            wanted = told.log_prob(torch.tensor([*text.encode(), 256])).mean()
            assert score.item() == pytest.approx(wanted.item(), abs=1e-6)


def test_sentences_of_no_grammar_score_lower(plain):
    strange = [text[::-1] for text in GRAMMAR]
    assert plain.score(GRAMMAR).min() > plain.score(strange).max() + 1.0


def test_nothing_depends_on_the_other_rows(plain):
    codes, scores = plain.encode(GRAMMAR), plain.score(GRAMMAR)
    for i, text in enumerate(GRAMMAR):
        torch.testing.assert_close(plain.encode([text])[0], codes[i], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(plain.score([text])[0], scores[i], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(plain.score(GRAMMAR, batch_size=5), scores, rtol=1e-6, atol=1e-6)


def test_the_decoder_sees_no_rows_when_it_rebuilds(plain, monkeypatch):
    def refuse(*_):
        raise AssertionError("the true tokens were shown")

    monkeypatch.setattr(plain.decoder, "teach", refuse)
    assert plain.reconstruct(GRAMMAR[:2]) == GRAMMAR[:2]
    with pytest.raises(AssertionError, match="were shown"):
        plain.score(GRAMMAR[:2])


def test_what_goes_in_comes_back_in_its_layout(plain, quick):
    rows = [text.encode() for text in GRAMMAR[:3]]
    arrays = [np.frombuffer(row, np.uint8).astype(np.int64) for row in rows]
    assert plain.reconstruct(rows) == rows
    assert plain.reconstruct(as_source(GRAMMAR[:3])) == GRAMMAR[:3]
    for given in (arrays, [torch.from_numpy(array) for array in arrays]):
        found = plain.reconstruct(given)
        assert {type(row) for row in found} == {type(given[0])}
        assert all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))
    assert isinstance(quick.sample(3)[0], str)
    assert quick.sample(3, seed=1) == quick.sample(3, seed=1)


def test_drawn_texts_differ_by_seed(quick):
    quick.decoder.temperature = 1.0
    z = quick.encode(GRAMMAR[:2])
    assert quick.decode(z, seed=1) == quick.decode(z, seed=1)
    assert quick.decode(z, seed=1) != quick.decode(z, seed=2)
    quick.decoder.temperature = 0.0


@pytest.mark.slow
def test_annealing_and_word_dropout_keep_the_code_in_use():
    """Against the same run at full price from the first step, without word dropout."""
    options = {**SIZES, "steps": 400, "batch_size": 48, "lr": 1e-2}
    kept = isthmus.fit(
        "text-vae", SENTENCES, word_dropout=0.75, anneal_steps=400, beta=0.3, **options
    )
    lost = isthmus.fit("text-vae", SENTENCES, word_dropout=0.0, anneal_steps=1, beta=1.0, **options)
    kept, lost = (isthmus.evaluate(model, GRAMMAR, samples=4) for model in (kept, lost))
    assert lost["kl"].value < 0.1
    assert kept["kl"].value > 1.0
    assert kept["exact_match"].value > lost["exact_match"].value + 0.2


@pytest.mark.slow
def test_a_memoryless_source_has_the_perplexity_of_its_entropy():
    """Tokens drawn one by one leave nothing to know: each costs the entropy, and the code 0."""
    chances = np.array([0.5, 0.25, 0.15, 0.1])
    rng = np.random.default_rng(0)
    rows = as_source(rng.choice(4, (600, 12), p=chances), kind="tokens")
    model = isthmus.fit(
        "text-vae", rows, steps=250, batch_size=100, anneal_steps=1, word_dropout=0.0,
        lr=1e-2, lr_schedule="cosine", **SIZES,
    )  # fmt: skip
    fresh = as_source(rng.choice(4, (2000, 12), p=chances), kind="tokens")
    found = isthmus.evaluate(model, fresh, samples=4)
    entropy = -(chances * np.log(chances)).sum()
    assert found["nats_per_token"].value == pytest.approx(entropy, rel=0.02)
    assert found["bits_per_dim"].value == pytest.approx(entropy / math.log(2), rel=0.02)
    assert "bits_per_byte" not in found
    assert model.reconstruct(fresh).shape == (2000, 12)


def test_the_weight_rises_by_a_sigmoid():
    rise = SigmoidRise(2.0, 100)
    at = [rise(Clock(step, 1000)) for step in (0, 25, 50, 75, 100, 900)]
    wanted = [2 / (1 + math.exp(-12.5 * (share - 0.5))) for share in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert at == pytest.approx(wanted)
    assert SigmoidRise(1.0, 10_000)(Clock(40, 100)) == pytest.approx(0.5)  # compressed to 80 steps


def test_without_a_price_nothing_is_drawn():
    for options in ({"variational": False}, {"beta": 0.0}):
        model = isthmus.fit("text-vae", SENTENCES, word_dropout=0.0, **options, **QUICK)
        batch = as_source(GRAMMAR).batch(torch.arange(3))
        one, other = (model(batch).params for _ in range(2))
        assert torch.equal(one, other)
        assert [term["term"] for term in model.objective.describe()] == ["nll"]
        with pytest.raises(IsthmusError, match="no prior"):
            model.sample(2)


def test_rows_of_whole_numbers_have_the_vocabulary_of_the_data():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 7, n) for n in rng.integers(1, 9, 60)]
    rows[0][0] = 6
    model = isthmus.fit("text-vae", rows, **QUICK)
    assert model.signal.vocabulary == 7
    assert model.likelihood.numbers == 8
    assert all(isinstance(row, np.ndarray) for row in model.reconstruct(rows[:3]))
    assert isthmus.evaluate(model, rows, samples=2).keys() >= {"exact_match", "elbo"}
    with pytest.raises(IsthmusError, match="token 9 is none of this model's"):
        model.encode([np.array([1, 9])])
    with pytest.raises(IsthmusError, match="token 7, and the model reads 0 to 6"):
        isthmus.fit("text-vae", rows, validation_data=[np.array([7]), np.array([1, 2])], **QUICK)


def test_written_text():
    texts = [one.text for one in samples(4)]
    model = isthmus.fit("text-vae", texts, steps=5, batch_size=4, lr=1e-2, log_every=1, **SIZES)
    assert len(model.reconstruct(texts)) == 4
    assert all(len(text) <= max(map(len, texts)) for text in model.reconstruct(texts))
    assert model.history[-1]["nll"] < model.history[0]["nll"]


class Stop(Callback):
    def on_step(self, trainer, step):
        if step >= 5:
            raise RuntimeError("killed")


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    options = {**QUICK, "log_every": 1, "validation": 0.1}
    whole = isthmus.fit("text-vae", SENTENCES, **options)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(
            "text-vae", SENTENCES, out=tmp_path / "run", save_every=2, callbacks=[Stop()], **options
        )
    again = isthmus.resume(tmp_path / "run", SENTENCES, progress=False)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    with pytest.raises(IsthmusError, match="not the data"):
        isthmus.resume(_unfinished(tmp_path, options), SENTENCES[:-1], progress=False)


def _unfinished(tmp_path, options):
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(
            "text-vae", SENTENCES, out=tmp_path / "b", save_every=2, callbacks=[Stop()], **options
        )
    return tmp_path / "b"


def test_saved_it_is_the_same_in_another_process(plain, tmp_path):
    isthmus.save(plain, tmp_path / "saved")
    code = (
        "import isthmus, json, sys; m = isthmus.load(sys.argv[1]); X = json.loads(sys.argv[2])\n"
        "print(json.dumps([m.reconstruct(X), m.encode(X).tolist(), m.score(X).tolist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "saved", json.dumps(GRAMMAR)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    texts, codes, scores = json.loads(done.stdout)
    assert texts == GRAMMAR
    np.testing.assert_array_equal(np.float32(codes), plain.encode(GRAMMAR).numpy())
    np.testing.assert_array_equal(np.float32(scores), plain.score(GRAMMAR).numpy())


def test_several_at_once_are_as_each_alone(quick):
    models = isthmus.fit_many(
        [{"word_dropout": 0.25}, {"word_dropout": 0.5}], SENTENCES, recipe="text-vae", **QUICK
    )
    first, second = models.values()
    for name, weight in quick.state_dict().items():
        assert torch.equal(weight, first.state_dict()[name])
    assert not torch.equal(first.decoder.head.weight, second.decoder.head.weight)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(SENTENCES))

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "isthmus.cli", *words],
            capture_output=True, text=True, cwd=tmp_path, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("fit", "text-vae", "lines.txt", "steps=4", "batch_size=24", "width=8", "-o", "run", "-q")
    assert "exact_match" in run("evaluate", "run", "--samples", "2")
    run("encode", "run", "lines.txt", "-o", "codes.npz")
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["mean"].shape == (len(SENTENCES), 32)


def test_a_report_says_that_there_are_no_directions(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(SENTENCES))
    isthmus.fit("text-vae", tmp_path / "lines.txt", out=tmp_path / "run", **QUICK)
    page = report(tmp_path / "run", progress=False).read_text()
    assert "so latents have no directions" in page
    assert "exact_match" in page


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((20, 3), np.float32), r"reads tokens \(text\), and the data are vectors"),
        (np.ones((20, 3), np.int64), 'vectors of whole numbers: .*kind="tokens"'),
        (["a", ""], "row 1 of the data is empty"),
        ([np.zeros(3), np.zeros(2)], "reads tokens"),
    ],
)
def test_other_data_are_one_sentence(rows, said):
    with pytest.raises(IsthmusError, match=said):
        isthmus.fit("text-vae", rows, **QUICK)


def test_where_texts_do_not_fit(quick):
    with pytest.raises(IsthmusError, match="compared on numbers"):
        compare(SENTENCES, recipes=["text-vae"], task="reconstruct")
    with pytest.raises(IsthmusError, match="reads no rows of numbers"):
        AutoencoderTransformer("text-vae").fit(np.zeros((20, 3)))
    with pytest.raises(IsthmusError, match="row 1 of the list is empty"):
        quick.encode(["a", ""])
    with pytest.raises(IsthmusError, match="reads vectors"):
        isthmus.fit("plain", SENTENCES, progress=False)


def test_rows_of_several_axes_are_refused_in_one_sentence():
    grids = np.zeros((6, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(IsthmusError, match=r"one sequence of tokens.*reshape"):
        isthmus.fit("text-vae", as_source(grids, kind="tokens"), steps=1, progress=False)
