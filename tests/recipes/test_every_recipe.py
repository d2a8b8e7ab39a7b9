"""Contracts that hold for every recipe, in a small size."""

import numpy as np
import pytest
import torch

import isthmus
import zoo
from isthmus.anatomy import Clock
from isthmus.anatomy.autoencoder import Autoencoder

ROWS = 7  # unlike every other size of the small models, so that the row axis is unmistakable


def run(name, **options):
    small, rows = zoo.small(name)
    settings = {**small, "steps": 6, "batch_size": 16, "progress": False, **options}
    return isthmus.fit(name, rows, **settings), rows


def trained(model: Autoencoder, rows: np.ndarray) -> None:
    """A few steps by hand, so that no weight and no counter is at its start."""
    torch.manual_seed(0)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(3):
        for player in model.objective.players:
            out = model(torch.from_numpy(rows[:16]), Clock(5, 10, 16))
            model.objective(model, out, player).total.backward()
            optimiser.step()
            optimiser.zero_grad()


def repeating(prior, rows):
    """The prior, but for a multiple of ``rows`` the same ``rows`` draws over and over."""
    drawn = prior(rows)
    return lambda n: drawn.repeat(n // rows, *[1] * (drawn.ndim - 1))


@pytest.mark.parametrize("name", zoo.NAMES)
def test_terms_do_not_depend_on_the_size_of_the_batch(name):
    model, _, rows = zoo.build(name)
    if model.solver is None:
        trained(model, rows)
    model.train()
    torch.manual_seed(1)
    out = model(torch.from_numpy(rows[:ROWS]), Clock(5, 10, 16))
    if model.prior is not None:
        model.prior = repeating(model.prior, ROWS)
    again = zoo.repeated(out)
    for part in model.objective:
        term = part.term
        assert term.unit, f"{name}: the term {term.name} states no unit"
        torch.manual_seed(2)
        value = term(model, out).detach()
        if not term.per_example:
            assert term.estimator, f"{name}: the set-level term {term.name} states no estimator"
            assert value.ndim == 0
            continue
        assert value.shape == (ROWS,)
        torch.manual_seed(2)
        doubled = term(model, again).detach()
        assert doubled.shape == (2 * ROWS,)
        for half in doubled.split(ROWS):
            torch.testing.assert_close(half, value, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_same_seed_same_bytes_and_the_users_generator_untouched(name):
    zoo.small(name)
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002 (the global state is what must not change)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, rows = run(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    torch.rand(3)  # whatever the user drew in between
    second, _ = run(name, seed=3)
    assert zoo.sha(first) == zoo.sha(second)
    assert zoo.sha(run(name, seed=4)[0]) != zoo.sha(first)

    a, b = first.encode(rows), second.encode(rows)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.encode(rows), a)
    assert np.isfinite(a).all()
    assert a.shape[0] == len(rows)
    if first.decoder is not None:
        np.testing.assert_array_equal(first.score(rows), second.score(rows))
        assert first.reconstruct(rows).shape == rows.shape


@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_rows_code_does_not_depend_on_the_other_rows(name):
    model, rows = run(name)
    whole = model.encode(rows)
    np.testing.assert_allclose(model.encode(rows[5:6]), whole[5:6], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_saved_and_loaded_it_gives_the_same_codes(name, tmp_path):
    model, rows = run(name, out=tmp_path / "run")
    loaded = isthmus.load(tmp_path / "run")
    assert zoo.sha(model) == zoo.sha(loaded)
    np.testing.assert_array_equal(loaded.encode(rows), model.encode(rows))
    isthmus.save(loaded, tmp_path / "copy")
    assert zoo.sha(isthmus.load(tmp_path / "copy")) == zoo.sha(model)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_the_loss_falls(name):
    """On data of rank three every recipe learns something in a hundred steps."""
    model, _, _ = zoo.build(name)
    if model.solver is not None or len(model.objective.players) > 1:
        pytest.skip("no single loss falls")
    fitted, _ = run(name, steps=100, lr=3e-3, warmup=0, lr_schedule="constant", log_every=1)
    name_of = next(iter(model.objective)).term.name  # weights of later terms may rise
    losses = [record[name_of] for record in fitted.history]
    assert np.mean(losses[-20:]) < np.mean(losses[:20])


@pytest.mark.parametrize("name", zoo.NAMES)
def test_half_precision_runs_and_stays_finite(name):
    if zoo.build(name)[0].solver is not None:
        pytest.skip("the solver does not train by gradients")
    model, rows = run(name, precision="bf16")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert np.isfinite(model.encode(rows)).all()
    assert zoo.sha(model) != zoo.sha(run(name)[0])
