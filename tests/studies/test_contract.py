"""Claims: how a page declares one, and what it must have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from claims_made import ABOUT, a_claim, figures

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.recipes import recipes
from isthmus.studies import (
    Bench,
    Control,
    Fit,
    Ground,
    Primary,
    Trial,
    Tuning,
    claim,
    claims,
    control,
    get_claim,
    quantity,
    ratio,
)  # fmt: skip
from isthmus.studies.contract import _CLAIMS


def test_a_claim_has_five_seeds_and_both_controls():
    with pytest.raises(ValueError, match="4 seeds are fewer than 5"):
        a_claim(seeds=4)
    with pytest.raises(TypeError, match="negative"):
        Primary(ratio("x", "a", to="b"), positive="c", below=1.0)
    own = Primary(quantity("own", lambda f: 0.0), positive="best", negative="null", above=0.0)
    with pytest.raises(ValueError, match="give its control as a quantity"):
        a_claim(primary=own)


def test_controls_and_rates_are_of_arms_that_there_are():
    main = a_claim().primary
    with pytest.raises(IsthmusError, match="unknown arm of made 'bst': did you mean 'best'"):
        a_claim(primary=replace(main, positive="bst"))
    with pytest.raises(IsthmusError, match="unknown arm of made 'methd'"):
        a_claim(tuning=Tuning((1.0, 2.0, 3.0), "size", ("methd",)))
    with pytest.raises(ValueError, match="have to pass and have to fail"):
        a_claim(primary=replace(main, positive="null"))


def test_options_that_are_modules_and_classes_are_left_alone(bench):
    fit = Fit("plain", own=torch.nn.ReLU(), kind=torch.nn.GELU, drawn=lambda ground: ground.seed)
    wanted = fit.wanted("plain", bench.open(Trial(3)), Trial(3))
    assert wanted["kind"] is torch.nn.GELU
    assert isinstance(wanted["own"], torch.nn.ReLU)
    assert wanted["drawn"] == 3


def test_results_become_numbers_and_arms_are_those_announced():
    result = Result("size", 2.0, True, None, 1, "counted")
    made = a_claim(lambda trial: {**figures(), "method": {"size": result}})
    assert made.run(Trial(1))["method"] == {"size": 2.0}
    other = a_claim(lambda trial: {"another": {"size": 1.0}})
    with pytest.raises(ValueError, match="measured the arms"):
        other.run(Trial(1))


def test_a_missing_data_set_is_one_sentence(monkeypatch):
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    with pytest.raises(
        IsthmusError,
        match=r"'mnist': fetch it with 'isthmus data fetch mnist', or set ISTHMUS_DATA",
    ):
        a_claim(needs=("mnist",)).run(Trial(1))


def test_names_and_families_are_offered_when_misspelt():
    with pytest.raises(IsthmusError, match="did you mean 'topk'"):
        get_claim("topkk")
    with pytest.raises(IsthmusError, match="did you mean 'sparse'"):
        claims("sparze")
    assert "topk" in claims("sparse")


@pytest.fixture
def correlated_rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((128, 3)) @ rng.standard_normal((3, 8))
    return (rows + 0.1 * rng.standard_normal((128, 8))).astype(np.float32)


@pytest.fixture
def bench(correlated_rows):
    def open_ground(trial):
        return Ground(correlated_rows[:96], correlated_rows[96:], trial.seed)

    def error(subject, ground):
        rebuilt = subject.reconstruct(ground.held)
        return float(((ground.held - rebuilt) ** 2).sum(1).mean())

    def size(subject, ground):
        return {"rows": len(ground.held), "elements": ground.held.shape[1]}

    return Bench("made", "Made rows.", open_ground, {"error": error, "size": size})


def test_a_declared_claim_fits_and_measures_its_arms(bench):
    plain = Fit("plain", hidden=8)
    about = {k: v for k, v in ABOUT.items() if k not in ("arms", "file", "name", "setting")}
    try:
        made = claim(
            "declared in a test", bench=bench, measures=("error",), setting="Few steps.",
            arms={
                "plain": plain, "shuffled": control.shuffled("plain"),
                "untrained": control.untrained(plain, "plain"),
                "own": Control("the rows themselves", lambda arms, ground, trial: Same()),
            },
            measured_only={"own": ("error", "size")},
            fit={"latent_dim": 2, "steps": 300, "batch_size": 32, "lr": 1e-2},
            **{**about, "primary": Primary(
                ratio("error", "plain", to="untrained"), below=1.0, positive="own",
                negative="shuffled",
            )},
        )  # fmt: skip
    finally:
        _CLAIMS.pop("declared in a test", None)
    assert made.setting == "Made rows. Few steps."
    assert made.arms["plain"] == "plain, hidden = 8"
    assert made.arms["untrained"] == "control: plain before its first step"
    assert made.file.name == "test_contract.py"
    found = made.run(Trial(0))
    assert found["own"] == {"error": 0.0, "rows": 32.0, "elements": 8.0}
    assert found["plain"]["error"] < 0.8 * found["untrained"]["error"]
    assert found["shuffled"]["error"] > 1.2 * found["plain"]["error"]
    probing = Trial(0, probing=True)
    made.run(probing)
    assert len(probing.recorded) == 2  # the arm, and the same before its first step


class Same:
    """Rows are their own codes."""

    def encode(self, X):
        return X

    decode = reconstruct = encode


def test_a_measure_that_the_bench_lacks_is_named(bench):
    with pytest.raises(IsthmusError, match="did you mean 'error'"):
        claim("x", bench=bench, arms={}, measures=("eror",), fit={})


@pytest.mark.parametrize("name", sorted(claims()))
def test_every_page_is_complete(name):
    found = get_claim(name)
    texts = (found.paper, found.statement, found.headline, found.setting, *found.arms.values())
    assert all(texts)
    assert set(found.recipes) <= set(recipes()), "a recipe that does not exist"
    checks = (found.primary, *found.premises, *found.secondary)
    told = [(one.quantity.text, one.threshold.rule) for one in checks]
    assert len(set(told)) == len(told)
    if found.tuning is not None:
        assert set(found.tuning.arms) <= set(found.arms)
        assert len(found.tuning.rates) >= 3
