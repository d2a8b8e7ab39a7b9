"""What is left of a model's predictions, against a few lines that compute the same."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Code, Signal
from isthmus.errors import IsthmusError
from isthmus.interpretation import Batch, behaviour, losses, losses_on
from isthmus.interpretation.ablations import Ablations
from isthmus.language import LanguageModel
from isthmus.objectives import MSE

from .made import POINT, WIDTH, dictionary, language, ordinary, residual, tokens

HOST, TEXT = language(), tokens()
CLEAN = residual(HOST, TEXT)
NAMES = [
    "ce", "ce_spliced", "ce_zero", "ce_mean", "ce_resample", "kl", "added_ce",
    "loss_recovered_zero", "loss_recovered_mean", "loss_recovered_resample",
]  # fmt: skip


class Perfect(nn.Module):
    def forward(self, h, *, sample=False):
        return Code(h)


def perfect():
    signal = Signal("vector", (WIDTH,))
    parts = {"encoder": nn.Identity(), "bottleneck": Perfect(), "decoder": nn.Identity()}
    return Autoencoder(signal, **parts, objective=MSE())


def logits_with(x, text=TEXT):
    handle = HOST.module.get_submodule(POINT).register_forward_hook(lambda m, a, out: x)
    found = HOST.logits(text.ids, text.mask)
    handle.remove()
    return found


def replaced(values):
    x = CLEAN.clone()
    x[ordinary(TEXT)] = values
    return x


def next_tokens(logits):
    """Cross-entropies by a loop over rows and places."""
    found = []
    for row in range(len(TEXT)):
        for place in range(TEXT.ids.shape[1] - 1):
            if TEXT.mask[row, place] and TEXT.mask[row, place + 1]:
                target = TEXT.ids[row, place + 1]
                found.append(float(F.cross_entropy(logits[row, place], target)))
    return np.array(found)


def test_every_loss_is_that_of_a_loop():
    model = dictionary()
    found = losses(HOST, POINT, model, TEXT, batch=5)
    inside = CLEAN[ordinary(TEXT)]
    clean, changed = logits_with(CLEAN), logits_with(replaced(model.reconstruct(inside)))
    np.testing.assert_allclose(found.ce, next_tokens(clean), rtol=1e-5)
    np.testing.assert_allclose(found.ce_spliced, next_tokens(changed), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.ce_zero, next_tokens(logits_with(replaced(0.0))), rtol=1e-4)
    mean = logits_with(replaced(inside.mean(0)))
    np.testing.assert_allclose(found.ce_mean, next_tokens(mean), rtol=1e-4)
    counted = TEXT.mask & torch.roll(TEXT.mask, -1, 1)
    counted[:, -1] = False
    p, q = Categorical(logits=clean[counted]), Categorical(logits=changed[counted])
    np.testing.assert_allclose(found.kl, kl_divergence(p, q), rtol=1e-3, atol=1e-5)
    documents = TEXT.document[:, None].expand_as(TEXT.ids)[counted]
    np.testing.assert_array_equal(found.document, documents)


def test_measures_are_those_of_the_losses():
    found = losses(HOST, POINT, dictionary(), TEXT)
    results = behaviour(HOST, POINT, dictionary(), TEXT)
    assert sorted(results) == sorted(NAMES)
    ce, spliced = found.ce.mean(), found.ce_spliced.mean()
    assert results["ce"].value == pytest.approx(ce, rel=1e-5)
    assert results["added_ce"].value == pytest.approx(spliced - ce, rel=1e-3)
    for kind in ("zero", "mean", "resample"):
        ablated = getattr(found, f"ce_{kind}").mean()
        result = results[f"loss_recovered_{kind}"]
        assert result.value == pytest.approx((ablated - spliced) / (ablated - ce), rel=1e-3)
        assert result.higher_is_better is True
    for result in results.values():
        low, high = result.interval
        assert low <= result.value <= high
        assert result.n == len(found.ce)
        assert "4 documents" in result.estimator


def test_intervals_resample_documents():
    """With all tokens of a document alike, the interval is that of as many numbers."""
    found = losses(HOST, POINT, dictionary(), TEXT)
    size = np.bincount(found.document)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 4, (20_000, 4))
    sums = {n: np.bincount(found.document, getattr(found, n)) for n in ("ce", "ce_spliced")}
    ratio = (sums["ce_spliced"] - sums["ce"])[drawn].sum(1) / size[drawn].sum(1)
    ends = np.quantile(ratio, [0.025, 0.975]) - ratio.mean()
    result = found.results(draws=20_000)["added_ce"]
    np.testing.assert_allclose(np.array(result.interval) - result.value, ends, rtol=0.05)


def test_a_perfect_reconstruction_loses_nothing():
    results = behaviour(HOST, POINT, perfect(), TEXT)
    assert results["added_ce"].value == 0.0
    assert results["kl"].value == 0.0
    for kind in ("zero", "mean", "resample"):
        assert results[f"loss_recovered_{kind}"].value == 1.0


def test_the_size_of_the_batches_changes_nothing():
    one, two = (losses(HOST, POINT, dictionary(), TEXT, batch=n) for n in (1, 7))
    for name in (*NAMES[:6], "document"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-3, atol=1e-4)
    other = losses(HOST, POINT, dictionary(), TEXT, seed=1)
    assert not np.allclose(one.ce_resample, other.ce_resample)
    np.testing.assert_allclose(one.ce_mean, other.ce_mean, rtol=1e-4)


def test_resampling_draws_another_ordinary_token(monkeypatch):
    monkeypatch.setattr("isthmus.interpretation.ablations.SAMPLE", 8 * WIDTH)
    touched = ordinary(TEXT)
    ablations = Ablations(0)

    def run():
        return HOST.logits(TEXT.ids)

    ablations.see(HOST.module, POINT, run, touched)
    ablations.begin()
    inside = CLEAN[touched]
    sources = set()
    for _ in range(20):
        drawn = ablations.draw(HOST.module, POINT, run, touched)
        ablations.at = 0
        assert not drawn[~touched].any()
        same = (drawn[touched][:, None] == inside[None]).all(2)
        # Equal tokens in the same place have equal activations.
        assert same.any(1).all()
        own = same.diagonal() & (same.sum(1) == 1)
        assert not own.any()
        sources |= set(same.float().argmax(1).tolist())
    assert 6 <= len(sources) <= 8


def test_one_document_has_no_interval():
    text = tokens(documents=1)
    result = behaviour(HOST, POINT, dictionary(), text)["ce"]
    assert result.interval is None
    assert result.note == "one document: no interval"


def test_where_the_ablation_changes_nothing_there_is_no_share():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.part = HOST.module, nn.Linear(3, WIDTH)

        def forward(self, tokens, attention_mask=None):
            self.part(torch.ones(*tokens.shape, 3))
            return self.inner(tokens)

    idle = LanguageModel("idle", "", Idle(), HOST.tokenizer, 32)
    result = behaviour(idle, "part", dictionary(), TEXT)["loss_recovered_zero"]
    assert np.isnan(result.value)
    assert result.interval is None
    assert "does not change" in result.note


def test_special_tokens_are_replaced_only_if_asked():
    """With BOS replaced by its reconstruction, the predictions from it change."""
    counted = TEXT.mask & torch.roll(TEXT.mask, -1, 1)
    counted[:, -1] = False
    first = torch.arange(TEXT.ids.shape[1]).expand_as(TEXT.ids)[counted] == 0
    kept = losses(HOST, POINT, dictionary(), TEXT)
    np.testing.assert_array_equal(kept.ce[first], kept.ce_zero[first])
    both = losses(HOST, POINT, dictionary(), TEXT, skip_special=False)
    assert (both.ce[first] != both.ce_zero[first]).all()


class Masked(type(HOST.tokenizer)):
    mask = 0


def test_a_masked_language_model_fills_in_what_was_masked():
    host = LanguageModel("masked", "", HOST.module, Masked(), 32, causal=False)
    text = tokens(rows=40)
    found = losses(host, POINT, dictionary(), text)
    share = len(found.ce) / int(ordinary(text).sum())
    assert 0.1 < share < 0.2
    # Only the place itself could know its token, and it is masked: a lookup table knows nothing.
    assert found.ce.mean() > 2.0
    again = losses(host, POINT, dictionary(), text, batch=3)
    np.testing.assert_allclose(found.ce, again.ce, rtol=1e-4)
    plain = LanguageModel("masked", "", HOST.module, HOST.tokenizer, 32, causal=False)
    with pytest.raises(IsthmusError, match="mask"):
        losses(plain, POINT, dictionary(), text)


def test_any_model_that_ends_in_logits():
    torch.manual_seed(0)
    images = nn.Sequential(nn.Linear(6, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 3))
    x, labels = torch.randn(50, 6), torch.randint(3, (50,))
    model = dictionary(x=images[0](x).detach())

    def batches():
        for part in torch.arange(50).split(20):
            everywhere = torch.ones(len(part), dtype=torch.bool)
            yield Batch(lambda part=part: images(x[part]), labels[part], everywhere, part)

    found = losses_on(images, "0", model, batches)
    expected = F.cross_entropy(images(x), labels, reduction="none").detach()
    np.testing.assert_allclose(found.ce, expected, rtol=1e-5)
    hidden = images[0](x).detach()
    rebuilt = images[2](torch.relu(model.reconstruct(hidden)))
    expected = F.cross_entropy(rebuilt, labels, reduction="none").detach()
    np.testing.assert_allclose(found.ce_spliced, expected, rtol=1e-4)
    zero = F.cross_entropy(images[2](torch.zeros(50, WIDTH)), labels, reduction="none").detach()
    np.testing.assert_allclose(found.ce_zero, zero, rtol=1e-5)


def test_what_does_not_fit_is_said():
    with pytest.raises(IsthmusError, match="2 points"):
        behaviour(HOST, "layers.*", dictionary(), TEXT)
    short = tokens().rows(torch.arange(2))
    short = type(short)(
        short.ids[:, :1], short.mask[:, :1], short.document, short.start, short.names
    )
    with pytest.raises(IsthmusError, match="two ordinary tokens"):
        behaviour(HOST, POINT, dictionary(), short)
