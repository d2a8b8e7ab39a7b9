"""End-to-end training: the host's loss by hand, its gradient, and what training does to it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
from isthmus.anatomy import Batch
from isthmus.errors import IsthmusError
from isthmus.interpretation import behaviour, end_to_end
from isthmus.interpretation.host_training import HostLoss
from isthmus.interpretation.splice import spliced

from .made import POINT, language, ordinary, residual, tokens

HOST, TEXT = language(), tokens(rows=24)
ROWS = residual(HOST, TEXT)[ordinary(TEXT)].numpy()


def fitted(recipe="topk", **options):
    options = {"latent_dim": 64, "k": 4, "steps": 60, "batch_size": 64, "lr": 3e-3, **options}
    if recipe != "topk":
        del options["k"]
    return isthmus.fit(recipe, ROWS, progress=False, **options)


def of_text(model, text=TEXT):
    return behaviour(HOST, POINT, model, text)


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_the_term_is_what_behaviour_measures(loss):
    """Which goes another way: one batch of its own, in evaluation, with its own arithmetic."""
    model = fitted().train()
    term = HostLoss(HOST, POINT, loss)
    packed = TEXT.packed()
    rows = term.read(packed.ids, packed.mask.bool())
    np.testing.assert_allclose(rows.numpy(), ROWS, atol=1e-5)
    value = term(model, model(rows)).item()
    measured = of_text(model.eval())["kl" if loss == "kl" else "ce_spliced"].value
    assert value == pytest.approx(measured, rel=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    model = fitted().double().train()
    host = language()
    host.module.double()
    term = HostLoss(host, POINT, "kl")
    rows = term.read(TEXT.ids[:2], TEXT.mask[:2])

    def value():
        return term(model, model(Batch(rows)))

    bias = model.decoder.bias
    value().backward()
    for place in (0, 7):
        with torch.no_grad():
            sides = []
            for step in (1e-3, -2e-3):
                bias[place] += step
                sides.append(value().item())
            bias[place] += 1e-3
        expected = (sides[0] - sides[1]) / 2e-3
        assert bias.grad[place].item() == pytest.approx(expected, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_training_lowers_the_hosts_loss_and_leaves_the_host_alone(loss):
    model = fitted()
    weights = {n: w.clone() for n, w in HOST.module.state_dict().items()}
    better = end_to_end(
        model, HOST, POINT, TEXT, steps=60, lr=3e-3, loss=loss, rebuild=0.0, texts=12
    )
    name = "kl" if loss == "kl" else "ce_spliced"
    before, after = (of_text(m)[name].value for m in (model, better))
    assert after < before - 0.1 * (before if loss == "kl" else of_text(model)["added_ce"].value)
    for key, weight in HOST.module.state_dict().items():
        assert torch.equal(weight, weights[key])
    assert all(w.grad is None for w in HOST.module.parameters())
    assert not torch.equal(model.decoder.weight, better.decoder.weight)


def test_what_rebuilds_as_well_counts_as_asked():
    model = fitted()
    pure, both = (
        end_to_end(model, HOST, POINT, TEXT, steps=60, lr=3e-3, rebuild=r, texts=12)
        for r in (0.0, 5.0)
    )
    errors = [isthmus.evaluate(m, ROWS)["fvu"].value for m in (pure, both)]
    assert errors[1] < errors[0]


def test_penalties_of_the_dictionary_go_on_and_losses_are_reported():
    model, seen = fitted("relu-l1", sparsity=0.01), []
    end_to_end(
        model, HOST, POINT, TEXT, steps=3, texts=5, report=lambda step, losses: seen.append(losses)
    )
    assert len(seen) == 3
    assert {"mse", "l1", "host"} <= set(seen[0])


def test_the_result_is_a_dictionary_like_any(tmp_path):
    better = end_to_end(fitted(), HOST, POINT, TEXT, steps=2)
    isthmus.save(better, tmp_path / "run", ROWS)
    loaded = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.encode(ROWS), better.encode(ROWS))
    assert loaded.config["end_to_end"]["point"] == POINT
    assert [part.term.name for part in better.objective] == ["mse", "auxk"]
    assert not any("host" in name for name in better.state_dict())


def test_what_cannot_be_is_one_sentence():
    model = fitted(steps=1)
    with pytest.raises(IsthmusError, match="loss of the host"):
        end_to_end(model, HOST, POINT, TEXT, steps=1, loss="kld")
    with pytest.raises(IsthmusError, match=r"layers\.9"):
        end_to_end(model, HOST, "layers.9", TEXT, steps=1)


def test_rows_are_put_back_where_they_were_read():
    term = HostLoss(HOST, POINT, "kl")
    rows = term.read(TEXT.ids, TEXT.mask)
    from isthmus.interpretation.host_training import _Put

    with torch.no_grad(), spliced(HOST, {POINT: _Put(rows)}):
        same = HOST.logits(TEXT.ids, TEXT.mask)
    clean = HOST.logits(TEXT.ids, TEXT.mask)
    seen = TEXT.mask
    torch.testing.assert_close(same[seen], clean[seen], atol=1e-4, rtol=1e-4)
    assert F.mse_loss(same[seen], clean[seen]) < 1e-8
