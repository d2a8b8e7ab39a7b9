"""The same seed gives the same bits alone, in threads, in processes, beside a user's draws."""

import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from toys import X

import isthmus
from isthmus.anatomy.randomness import drawing
from isthmus.errors import IsthmusError
from isthmus.training import Callback

CPU = torch.device("cpu")
RECIPES = {
    "vae": {"latent_dim": 2},
    "denoising": {"latent_dim": 2},
    "bigan": {"latent_dim": 2},
    "topk": {"latent_dim": 16, "k": 2},
}


def codes(recipe="vae", steps=12, seed=0):
    options = {**RECIPES[recipe], "steps": steps, "batch_size": 32, "seed": seed}
    return isthmus.fit(recipe, X, progress=False, **options).encode(X)


@pytest.mark.parametrize("recipe", RECIPES)
def test_fits_in_threads_have_the_bits_that_they_have_alone(recipe):
    alone = [codes(recipe, seed=seed) for seed in (0, 1, 0)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as pool:
            several = list(pool.map(lambda seed: codes(recipe, seed=seed), (0, 1, 0)))
    finally:
        sys.setswitchinterval(switch)
    for mine, theirs in zip(alone, several, strict=True):
        assert np.array_equal(mine, theirs)
    assert not np.array_equal(alone[0], alone[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_fits_in_processes_have_the_bits_that_they_have_alone(method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert all(np.array_equal(codes(), other) for other in pool.map(codes, ["vae"] * 2))


def test_a_fork_while_a_thread_draws_does_not_hang():
    held, free = threading.Event(), threading.Event()
    child = multiprocessing.get_context("fork").Process(target=codes)
    thread = threading.Thread(target=hold, args=(held, free))
    thread.start()
    held.wait()
    child.start()
    child.join(30)
    free.set()
    thread.join()
    assert child.exitcode == 0


def hold(held, free):
    with drawing(CPU, 0):
        held.set()
        free.wait(60)


def user_state():
    return torch.get_rng_state(), np.random.get_state()  # noqa: NPY002


def same_state(a, b):
    numpy = all(np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True))
    return torch.equal(a[0], b[0]) and numpy


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_global_generators_are_neither_read_nor_moved(recipe):
    before = codes(recipe)
    torch.manual_seed(7), np.random.seed(7)  # noqa: NPY002
    state = user_state()
    assert np.array_equal(codes(recipe), before)
    assert same_state(state, user_state())


@pytest.mark.slow
def test_pythons_own_generator_is_left_alone_even_by_imports():
    """In a process of its own: the checks of shapes in these tests draw from it."""
    fits = (
        "import random; random.seed(3); import isthmus; isthmus.fit('vae', [[0.1 * i, -i * 0.2] "
        "for i in range(40)], latent_dim=1, steps=3, progress=False); print(random.random())"
    )
    plain = "import random; random.seed(3); print(random.random())"
    said = [
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (fits, plain)
    ]
    assert said[0] == said[1]


def test_the_users_draws_in_threads_go_on_as_if_nothing_had_been_between_them():
    """Many fits end in another order than they began: whose state is put back?"""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda steps: codes(steps=steps), (5, 20, 10, 15)))
    assert torch.equal(torch.rand(4), expected)


def test_a_callback_that_draws_and_seeds_changes_nothing():
    class Draws(Callback):
        def on_step(self, run, step):
            torch.manual_seed(step), torch.rand(5), np.random.rand(3)  # noqa: NPY002

    options = {"latent_dim": 2, "steps": 12, "batch_size": 32, "progress": False}
    plain = isthmus.fit("vae", X, **options)
    drawn = isthmus.fit("vae", X, callbacks=[Draws()], **options)
    assert np.array_equal(plain.encode(X), drawn.encode(X))


def test_a_fit_inside_a_fit_changes_neither():
    class Nested(Callback):
        def on_step(self, run, step):
            self.inner = codes(steps=3)

    options = {"latent_dim": 2, "steps": 6, "batch_size": 32, "progress": False}
    nested = Nested()
    outer = isthmus.fit("vae", X, callbacks=[nested], **options)
    assert np.array_equal(outer.encode(X), isthmus.fit("vae", X, **options).encode(X))
    assert np.array_equal(nested.inner, codes(steps=3))


def test_samples_and_measures_in_threads_are_those_alone():
    prior = isthmus.fit("vae", X, latent_dim=2, steps=5, batch_size=32, progress=False)
    alone = [prior.sample(20, seed=seed) for seed in range(6)]
    bound = isthmus.evaluate(prior, X)["elbo"].value
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda seed: prior.sample(20, seed=seed), range(6)))
        bounds = list(pool.map(lambda _: isthmus.evaluate(prior, X)["elbo"].value, range(4)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, drawn, strict=True))
    assert set(bounds) == {bound}


def test_blocks_stand_in_one_another_and_give_back_after_an_error():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with drawing(CPU, 1):
        first = torch.rand(2)
        with drawing(CPU, 2):
            other = torch.rand(2)
        rest = torch.rand(2)
    with pytest.raises(RuntimeError), drawing(CPU, 1):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), state)
    with drawing(CPU, 1):
        assert torch.equal(torch.rand(2), first)
        assert torch.equal(torch.rand(2), rest)
    with drawing(CPU, 2):
        assert torch.equal(torch.rand(2), other)


def test_nobody_starves_beside_a_busy_thread():
    """A lock alone lets the thread that gave it back take it again and again."""
    done = []

    def busy(name, steps):
        for _ in range(steps):
            with drawing(CPU, 0):
                torch.rand(2000)
        done.append(name)

    long = threading.Thread(target=busy, args=("long", 3000))
    long.start()
    short = threading.Thread(target=busy, args=("short", 20))
    short.start()
    long.join(), short.join()
    assert done == ["short", "long"]


def test_a_seed_that_no_generator_takes_is_said():
    with pytest.raises(IsthmusError, match="too large"), drawing(torch.device("cpu"), 1 << 64):
        pass
