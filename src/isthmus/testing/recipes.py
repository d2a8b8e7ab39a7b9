"""The contracts of a recipe: what users of any recipe may rely on."""

import functools
import tempfile
import unittest
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import runs
from isthmus.anatomy import Autoencoder, Clock, Only, Prior, tree
from isthmus.errors import IsthmusError
from isthmus.recipes import RecipeLike, as_recipe
from isthmus.testing.checks import Check, run_all
from isthmus.testing.small import Case, SmallRows, case, cut, repeated, sha

ROWS = 7
"""Unlike every other size of the small models, so that the row axis is unmistakable."""


def check_recipe(
    recipe: RecipeLike,
    rows: SmallRows | None = None,
    options: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> None:
    """Check that a recipe keeps the contracts of :func:`recipe_checks`, one after another.

    ``recipe`` is anything that :func:`isthmus.fit` takes; an autoencoder is copied. ``rows`` (at
    least 32) are data that it reads, by default small vectors or, where it does not build on
    them, images, a collection or texts; ``options`` make it small, beside the usual ones
    (``latent_dim``, ``hidden``, ...). ``given`` are arrays with one entry a row, as in
    :func:`isthmus.fit`; what ``@recipe(..., given=...)`` names is by default 0 and 1 in turn.
    Raises ``AssertionError`` with a sentence that says what is broken and what to do.
    """
    run_all(recipe_checks(recipe, rows, options, given))


def recipe_checks(
    recipe: RecipeLike,
    rows: SmallRows | None = None,
    options: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> list[Check]:
    """The checks of :func:`check_recipe`, each by itself.

    - *terms*: every term states a unit; repeating the batch changes no per-example value; a
      set-level term states its estimator
    - *seed*: the same seed gives the same bytes, another seed others, and the user's generators
      are left as they were
    - *rows*: a row's code does not depend on the other rows
    - *saved*: saved and loaded it gives the same codes
    - *loss*: in a hundred steps the loss falls
    - *half*: it trains in bfloat16, keeping its parameters in float32
    """
    entry = as_recipe(recipe)
    # Built when the first check runs: a list of checks costs nothing.
    small = functools.cache(lambda: case(entry, rows, options, given))
    checks: dict[str, Callable[[Case], None]] = {
        "terms": _terms,
        "seed": _seed,
        "rows": _rows,
        "saved": _saved,
        "loss": _loss,
        "half": _half,
    }
    return [
        Check(entry.name, name, functools.partial(_run, check, small))
        for name, check in checks.items()
    ]


def _run(check: Callable[[Case], None], small: Callable[[], Case]) -> None:
    check(small())


def fitted(small: Case, **options: Any) -> Autoencoder:
    """The small model after a few steps."""
    settings = {"steps": 6, "batch_size": 16, "progress": False, **small.options, **options}
    return runs.fit(small.recipe, small.rows, given=small.given or None, **settings)


def _terms(small: Case) -> None:
    model = small.build()
    if model.solver is None:
        _trained(model, small)
    model.train()
    for stage in range(len(model.objectives)):
        model.stage = stage
        _terms_of(small.recipe.name, model, small)


def _terms_of(name: str, model: Autoencoder, small: Case) -> None:
    """The terms of the present stage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        out = model(small.batch(model, ROWS), Clock(5, 10, 16))
        for part in model.modules():
            if isinstance(part, Prior):
                _repeat(part, ROWS)
        again = repeated(out)
        for weighted in model.objective:
            term = weighted.term
            assert term.unit, f"{name}: the term {term.name} states no unit: set unit = ..."
            torch.manual_seed(2)
            value = term(model, out).detach()
            if not term.per_example:
                assert term.estimator, (
                    f"{name}: the set-level term {term.name} states no estimator: say in "
                    "estimator = ... how it depends on the batch"
                )
                assert value.ndim == 0, (
                    f"{name}: the set-level term {term.name} is of shape {tuple(value.shape)}: "
                    "return a scalar"
                )
                continue
            assert value.shape == (ROWS,), (
                f"{name}: the term {term.name} is of shape {tuple(value.shape)} for {ROWS} rows: "
                "return one value a row, or set per_example = False"
            )
            torch.manual_seed(2)
            doubled = term(model, again).detach()
            assert doubled.shape == (2 * ROWS,), (
                f"{name}: the term {term.name} is of shape {tuple(doubled.shape)} for {2 * ROWS} "
                "rows: return one value a row"
            )
            for half in doubled.split(ROWS):
                _close(
                    half, value, 2e-4, 1e-5,
                    f"{name}: the term {term.name} changes when the batch is repeated: divide by "
                    "nothing that grows with the rows, or, where it compares rows or draws at "
                    "random, set per_example = False",
                )  # fmt: skip


def _seed(small: Case) -> None:
    name, rows = small.recipe.name, small.rows
    before, legacy = torch.get_rng_state(), _legacy()
    first = fitted(small, seed=3)
    for changed in (
        not torch.equal(torch.get_rng_state(), before),
        _legacy() != legacy,
    ):
        assert not changed, (
            f"{name}: fitting moves the user's random generator: draw from torch's only, while "
            "the model is built or trained, and seed nothing"
        )
    with torch.random.fork_rng(devices=[]):
        torch.rand(3)  # whatever the user drew in between
        second = fitted(small, seed=3)
    assert sha(first) == sha(second), (
        f"{name}: two fits of one seed differ: keep no state outside of the model, and draw from "
        "torch's generator only"
    )
    # A solver of one's own may have nothing to draw, and one of ours says so.
    drawn = first.solver is None or (
        small.recipe.builtin and not getattr(first.solver, "draws_nothing", False)
    )
    assert not drawn or sha(fitted(small, seed=4)) != sha(first), (
        f"{name}: two seeds give the same weights: draw from torch's generator, unseeded"
    )
    codes = _codes(first, small)
    same = "what encode gives must be deterministic: draw only where sample is true"
    for other in (_codes(second, small), _codes(first, small)):
        assert np.array_equal(codes, other), (
            f"{name}: two encodings of the same rows differ: {same}"
        )
    assert np.isfinite(codes).all(), f"{name}: the codes hold NaN or infinity after six steps"
    count = tree.count(rows)
    assert codes.shape[0] == count, (
        f"{name}: {count} rows give {codes.shape[0]} codes: keep the row axis first"
    )
    if first.decoder is not None:
        scores = [np.asarray(model.score(rows, given=small.given)) for model in (first, second)]
        assert np.array_equal(scores[0], scores[1]), (
            f"{name}: two scores of the same rows differ: {same}"
        )
        target = first.target(rows) if isinstance(first.target, Only) else rows
        built, given = _shapes(first.reconstruct(rows, given=small.given)), _shapes(target)
        assert built == given, (
            f"{name}: rows of shape {given} are rebuilt as {built}: decode to the signal's shape"
        )


def _rows(small: Case) -> None:
    model = fitted(small)
    whole = _codes(model, small)
    one = {name: part[5:6] for name, part in small.given.items()}
    alone = np.asarray(model.encode(cut(small.rows, 5, 6), given=one))
    # Codes of positions are as many as the longest row of a batch has.
    _close(
        alone, whole[5:6][tuple(slice(n) for n in alone.shape)], 1e-4, 1e-5,
        f"{small.recipe.name}: a row's code depends on the other rows of its batch: use nothing of "
        "the batch outside of training",
    )  # fmt: skip


def _saved(small: Case) -> None:
    name, recipe = small.recipe.name, small.recipe
    if recipe.model is not None:
        how: dict[str, Any] = {"model": recipe.build(recipe.model.signal, {"scaling": "auto"})}
    else:
        how = {} if recipe.builtin or recipe.importable else {"recipe": recipe}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = fitted(small, out=folder / "run")
        try:
            loaded = runs.load(folder / "run", **how)
        except IsthmusError as problem:
            raise AssertionError(
                f"{name}: what was saved cannot be loaded ({problem}): keep what training changes "
                "in parameters or buffers"
            ) from problem
        assert sha(model) == sha(loaded), (
            f"{name}: saved and loaded it has other weights: keep what training changes in "
            "parameters or buffers"
        )
        assert np.array_equal(_codes(loaded, small), _codes(model, small)), (
            f"{name}: saved and loaded it gives other codes: keep what training changes in "
            "parameters or buffers"
        )
        runs.save(loaded, folder / "copy")
        assert sha(runs.load(folder / "copy", **how)) == sha(model), (
            f"{name}: a copy that save wrote loads with other weights"
        )


def _loss(small: Case) -> None:
    model = small.build()
    if model.solver is not None or len(model.objective.players) > 1:
        raise unittest.SkipTest("no single loss falls")
    # The rate is one for Adam: under another optimiser the same number says nothing.
    learning = {
        "optimiser": "adam", "optimiser_options": {}, "lr": 3e-3, "lr_batch": None, "warmup": 0,
        "lr_schedule": "constant", "log_every": 1,
    }  # fmt: skip
    history = fitted(small, steps=100, **learning).history
    first = next(iter(model.objective)).term.name  # weights of later terms may rise
    losses = [record[first] for record in history if first in record]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]), (
        f"{small.recipe.name}: in a hundred steps {first} does not fall: see whether the gradient "
        "reaches the encoder and the decoder"
    )


def _half(small: Case) -> None:
    name = small.recipe.name
    if small.build().solver is not None:
        raise unittest.SkipTest("the solver does not train by gradients")
    model = fitted(small, precision="bf16")
    assert all(p.dtype == torch.float32 for p in model.parameters()), (
        f"{name}: in half precision its parameters are no longer float32: cast values, not "
        "parameters"
    )
    assert np.isfinite(_codes(model, small)).all(), (
        f"{name}: trained in half precision its codes hold NaN or infinity: use float32 for sums, "
        "exponents and logarithms"
    )
    assert sha(model) != sha(fitted(small)), (
        f"{name}: half precision changes nothing: leave the dtype of intermediate values to torch"
    )


def _repeat(prior: Prior, rows: int) -> None:
    """Have a prior give, for a multiple of ``rows``, the same ``rows`` draws over and over."""
    drawn = prior.sample(rows).detach()

    def sample(n: int) -> Tensor:
        return drawn.repeat(n // rows, *[1] * (drawn.ndim - 1))

    prior.sample = sample  # type: ignore[method-assign]


def _trained(model: Autoencoder, small: Case) -> None:
    """A few steps by hand, so that no weight and no counter is at its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.train()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        for step in range(3 * len(model.objectives)):
            model.stage = step // 3
            for player in model.objective.players:
                out = model(small.batch(model, 16), Clock(5, 10, 16))
                model.objective(model, out, player).total.backward()
                optimiser.step()
                optimiser.zero_grad()


def _legacy() -> str:
    """NumPy's global generator, whole: its position moves with every draw."""
    _, key, *rest = np.random.get_state()  # noqa: NPY002
    return f"{np.asarray(key).tobytes().hex()} {rest}"


def _codes(model: Autoencoder, small: Case) -> np.ndarray:
    return np.asarray(model.encode(small.rows, given=small.given))


def _shapes(rows: SmallRows) -> Any:
    """The shape of each part; of a list, whose rows may be generated, only how many of what."""

    def shape(part: Any) -> Any:
        return (len(part), type(part[0])) if isinstance(part, list) else tuple(part.shape)

    return tree.mapped(shape, rows)


def _close(actual: Any, expected: Any, rtol: float, atol: float, sentence: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    if not np.isclose(actual, expected, rtol=rtol, atol=atol).all():
        with np.errstate(all="ignore"):
            far = np.abs(actual - expected).max()
        raise AssertionError(f"{sentence} (by up to {far:.2g})")
