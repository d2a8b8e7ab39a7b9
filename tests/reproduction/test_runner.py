"""Running, keeping, going on: with a claim made for the purpose."""

import json
import math
import re
import sys

import pytest
from claims_made import a_claim, figures

from isthmus import reproduction
from isthmus.errors import IsthmusError
from isthmus.reproduction import results, runner
from isthmus.reproduction.probes import Probe
from isthmus.studies import Premise, Tuning, quantity
from isthmus.training.lock import held
from isthmus.training.non_finite_loss import NonFiniteLoss

NOW = Probe("page", "here", "weights", {"method": "a"})


@pytest.fixture
def ran(monkeypatch):
    """Trials run here; returns them as (seed, budget, rates)."""
    trials = []

    def experiment(trial):
        trials.append((trial.seed, trial.budget, dict(trial.rates)))
        return figures(method=2.0 + 0.01 * trial.seed, null=1.0 + 0.01 * (-1) ** trial.seed)

    use(monkeypatch, a_claim(experiment))
    monkeypatch.setattr(runner, "probe", lambda claim: NOW)
    return trials


def use(monkeypatch, claim):
    monkeypatch.setattr(runner, "get_claim", lambda name: claim)


def counted(ran):
    return sorted(seed for seed, _, _ in ran if seed)


def test_the_pilots_curve_and_then_the_seeds(ran, tmp_path):
    outcome = reproduction.reproduce("made", folder=tmp_path)["made"]
    assert [(seed, budget) for seed, budget, _ in ran if not seed] == [(0, 1.0), (0, 0.5)]
    assert counted(ran) == [11, 12, 13, 14, 15]
    assert outcome.judged().word == "supported"
    assert outcome.judged().curve == {0.5: 1.0, 1.0: 1.0}


def test_only_what_is_missing_is_run(ran, tmp_path):
    reproduction.reproduce("made", seeds=2, folder=tmp_path)
    assert len(ran) == 4
    outcome = reproduction.reproduce("made", seeds=3, folder=tmp_path)["made"]
    assert len(ran) == 5
    assert [t.seed for t in outcome.trials] == [11, 12, 13]
    reproduction.reproduce("made", seeds=3, folder=tmp_path, again=True)
    assert len(ran) == 10


def test_rates_are_chosen_for_every_arm_before_anything_else(monkeypatch, ran, tmp_path):
    def experiment(trial):
        ran.append((trial.seed, trial.budget, dict(trial.rates)))
        best = {"method": 0.1, "other": 1.0}
        return {
            arm: {**found, "error": abs(trial.rates[arm] - best[arm]) if arm in best else 0.0}
            for arm, found in figures().items()
        }

    grid = Tuning((0.01, 0.1, 1.0), "error", ("method", "other"))
    use(monkeypatch, a_claim(experiment, tuning=grid))
    outcome = reproduction.reproduce("made", folder=tmp_path)["made"]
    assert ran[:3] == [(0, 0.5, {"method": r, "other": r}) for r in grid.rates]
    assert all(rates == {"method": 0.1, "other": 1.0} for _, _, rates in ran[3:])
    assert outcome.on_edge == ["other"]
    kept = json.loads((tmp_path / "made.json").read_text())["rates"]
    assert kept["chosen"] == {"method": 0.1, "other": 1.0}
    before = len(ran)
    reproduction.reproduce("made", folder=tmp_path)
    assert len(ran) == before


def test_a_rate_at_which_a_loss_is_not_finite_is_not_chosen(monkeypatch, tmp_path):
    def experiment(trial):
        rate = trial.rates["method"]
        if rate == 1.0:
            raise NonFiniteLoss(["mse"], 7, [], None)
        return {arm: {**one, "error": rate} for arm, one in figures().items()}

    grid = Tuning((0.01, 0.1, 1.0), "error", ("method",), lower_is_better=False)
    use(monkeypatch, a_claim(experiment, tuning=grid))
    monkeypatch.setattr(runner, "probe", lambda claim: NOW)
    outcome = reproduction.reproduce("made", jobs=1, folder=tmp_path)["made"]
    assert outcome.rates == {"method": 0.1}
    assert len(outcome.trials) == 5


def test_a_loss_that_is_not_finite_ends_a_seed_that_counts(monkeypatch, tmp_path):
    def experiment(trial):
        if trial.seed:
            raise NonFiniteLoss(["mse"], 7, [], None)
        return figures(method=2.0, null=1.0)

    use(monkeypatch, a_claim(experiment))
    monkeypatch.setattr(runner, "probe", lambda claim: NOW)
    with pytest.raises(IsthmusError, match=r"trials ended early: made, .*became NaN or infinite"):
        reproduction.reproduce("made", jobs=1, folder=tmp_path)


def test_a_grid_without_its_measure_is_one_sentence(monkeypatch, ran, tmp_path):
    grid = Tuning((0.01, 0.1, 1.0), "eror", ("method",))
    use(monkeypatch, a_claim(lambda trial: figures(), tuning=grid))
    with pytest.raises(IsthmusError, match="made: method has no 'eror' at any rate of its grid"):
        reproduction.reproduce("made", folder=tmp_path)


def test_a_process_that_is_ended_from_outside_is_one_sentence(monkeypatch, ran, tmp_path):
    def submit(self, function, *args):
        done = runner.Future()
        done.set_exception(runner.BrokenProcessPool("ended"))
        return done

    monkeypatch.setattr(runner._Here, "submit", submit)
    with pytest.raises(IsthmusError, match=r"ended from outside.*--jobs 1"):
        reproduction.reproduce("made", folder=tmp_path)


def test_results_of_other_code_are_dropped_and_those_of_other_machines_kept(
    ran, tmp_path, monkeypatch
):
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    elsewhere = Probe("page", "there", "others", {"method": "b"})
    monkeypatch.setattr(runner, "probe", lambda claim: elsewhere)
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    assert len(ran) == 3
    changed = Probe("page", "here", "weights", {"method": "b"})
    monkeypatch.setattr(runner, "probe", lambda claim: changed)
    claim = runner.get_claim("made")
    assert runner.status_of(claim, tmp_path, changed) == "out of date"
    assert runner.status_of(claim, tmp_path, elsewhere) == "other machine"
    assert runner.status_of(claim, tmp_path, NOW) == "current"
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    assert len(ran) == 6


def test_other_budgets_are_kept_apart_and_have_no_curve(ran, tmp_path):
    reproduction.reproduce("made", seeds=1, folder=tmp_path, budget=0.5)
    assert [(seed, budget) for seed, budget, _ in ran] == [(11, 0.5)]
    assert (tmp_path / "made@0.5.json").exists()


def test_a_pilot_has_no_seeds_that_count(ran, tmp_path):
    outcome = reproduction.reproduce("made", pilot=True, folder=tmp_path)["made"]
    assert counted(ran) == []
    assert outcome.judged().reasons[0] == "0 of 5 seeds"
    assert reproduction.reproduce("made", folder=tmp_path)["made"].judged().word == "supported"
    assert len(ran) == 7


def test_undefined_numbers_survive_the_file(monkeypatch, ran, tmp_path):
    use(monkeypatch, a_claim(lambda trial: figures(null=float("nan"))))
    reproduction.reproduce("made", seeds=2, folder=tmp_path)
    text = (tmp_path / "made.json").read_text()
    assert json.loads(text)["trials"][0]["figures"]["null"]["size"] is None
    again = results.kept(tmp_path, runner.get_claim("made"), 1.0).trials
    assert again[0].figures["null"]["size"] != again[0].figures["null"]["size"]


def test_the_word_can_be_computed_again_from_the_file(ran, tmp_path):
    from isthmus.evaluation.intervals import student

    reproduction.reproduce("made", folder=tmp_path)
    kept = json.loads((tmp_path / "made.json").read_text())
    sizes = [one["figures"] for one in kept["trials"]]
    effects = [one["method"]["size"] - one["other"]["size"] for one in sizes]
    assert kept["primary"]["seeds"] == pytest.approx(effects)
    found = student(effects)
    assert kept["primary"]["value"]["low"] == pytest.approx(found.low)
    assert (found.low > 0, kept["word"]) == (True, "supported")


def test_the_word_is_given_anew_where_the_page_has_other_premises(monkeypatch, ran, tmp_path):
    reproduction.reproduce("made", folder=tmp_path)
    never = Premise(quantity("never", lambda f: 0.0), above=1.0)
    claim = runner.get_claim("made")
    use(monkeypatch, a_claim(claim.experiment, premises=(never,)))
    reproduction.reproduce("made", folder=tmp_path)
    assert json.loads((tmp_path / "made.json").read_text())["word"] == "not testable here"


def test_a_problem_in_one_trial_keeps_the_others(ran, tmp_path, monkeypatch):
    def experiment(trial):
        if trial.seed == 12:
            raise RuntimeError("no luck")
        return figures()

    use(monkeypatch, a_claim(experiment))
    with pytest.raises(IsthmusError, match=r"1 of 6 trials ended early: made, seed 12: .*no luck"):
        reproduction.reproduce("made", seeds=3, folder=tmp_path)
    kept = results.kept(tmp_path, runner.get_claim("made"), 1.0)
    assert [t.seed for t in kept.trials] == [11, 13]


def test_progress_ends_at_all_of_the_trials(ran, tmp_path):
    told = []
    reproduction.reproduce("made", folder=tmp_path, report=lambda *a: told.append(a))
    assert [one[1] for one in told] == list(range(1, 9))
    assert {one[2] for one in told} == {8}
    assert told[0][0] == "made, probe"


def test_bad_options_and_files_are_one_sentence(ran, tmp_path):
    with pytest.raises(IsthmusError, match="budget is 0: pass a number above 0"):
        reproduction.reproduce("made", budget=0.0)
    with pytest.raises(IsthmusError, match="seeds is 0"):
        reproduction.reproduce("made", seeds=0)
    (tmp_path / "made.json").write_text("{")
    with pytest.raises(IsthmusError, match="holds no readable results: delete it"):
        reproduction.reproduce("made", folder=tmp_path)
    (tmp_path / "made.json").write_text('{"format": 1}')
    with pytest.raises(IsthmusError, match="written by another version"):
        reproduction.reproduce("made", folder=tmp_path)


def test_a_real_claim_runs_in_processes_of_its_own(tmp_path):
    outcome = reproduction.reproduce("topk", seeds=1, budget=0.004, folder=tmp_path)["topk"]
    assert set(outcome.trials[0].figures) == set(outcome.claim.arms)
    assert (tmp_path / "topk@0.004.json").exists()


def test_results_of_two_machines_are_not_mixed(ran, tmp_path, monkeypatch):
    reproduction.reproduce("made", seeds=2, folder=tmp_path)
    elsewhere = Probe("page", "there", "others", {"method": "b"})
    monkeypatch.setattr(runner, "probe", lambda claim: elsewhere)
    reproduction.reproduce("made", seeds=3, folder=tmp_path)
    assert counted(ran) == [11, 11, 12, 12, 13]
    assert results.kept(tmp_path, runner.get_claim("made"), 1.0).probe == elsewhere


def test_trials_of_other_rates_are_not_kept(monkeypatch, ran, tmp_path):
    def experiment(trial):
        ran.append((trial.seed, trial.budget, dict(trial.rates)))
        found = figures(method=2.0 + 0.01 * trial.seed)
        error = math.inf if trial.rates.get("method") == 1.0 else trial.rates.get("method", 0.0)
        return {arm: {**one, "error": error} for arm, one in found.items()}

    grid = Tuning((0.01, 0.1, 1.0), "error", ("method",), lower_is_better=False)
    use(monkeypatch, a_claim(experiment, tuning=grid))
    first = reproduction.reproduce("made", seeds=1, folder=tmp_path)["made"]
    again = reproduction.reproduce("made", seeds=2, folder=tmp_path)["made"]
    assert first.rates == again.rates == {"method": 0.1}  # an infinite figure is none
    kept = json.loads((tmp_path / "made.json").read_text())
    kept["trials"][0]["rates"] = {"method": 0.01}
    (tmp_path / "made.json").write_text(json.dumps(kept))
    before = len(ran)
    reproduction.reproduce("made", seeds=2, folder=tmp_path)
    assert [seed for seed, _, _ in ran[before:]] == [11]


def test_a_probe_that_fails_leaves_the_file_alone(monkeypatch, ran, tmp_path):
    reproduction.reproduce("made", folder=tmp_path)
    before = (tmp_path / "made.json").read_bytes()

    def fails(claim):
        raise RuntimeError("no luck")

    monkeypatch.setattr(runner, "probe", fails)
    never = Premise(quantity("never", lambda f: 0.0), above=1.0)
    use(monkeypatch, a_claim(runner.get_claim("made").experiment, premises=(never,)))
    with pytest.raises(IsthmusError, match="made, probe: RuntimeError: no luck"):
        reproduction.reproduce("made", folder=tmp_path)
    assert (tmp_path / "made.json").read_bytes() == before


def test_one_run_at_a_time_writes_to_a_folder(ran, tmp_path):
    with held(tmp_path), pytest.raises(IsthmusError, match=re.escape(str(tmp_path))):
        reproduction.reproduce("made", folder=tmp_path)
    assert ran == []


def test_a_claim_without_its_data_does_not_stop_the_others(monkeypatch, ran, tmp_path):
    made, lacking = runner.get_claim("made"), a_claim(name="lacking", needs=("nowhere",))
    outcomes = reproduction.reproduce([made, lacking], seeds=1, folder=tmp_path)
    assert set(outcomes) == {"made"}
    with pytest.raises(IsthmusError, match="'nowhere'"):
        reproduction.reproduce(lacking, folder=tmp_path)


@pytest.mark.parametrize("damage", [
    "[]", "null", '{"format": 2}', lambda kept: kept["trials"].append(kept["trials"][0]),
    lambda kept: kept["trials"][0].pop("figures"), lambda kept: kept.update(name="other"),
    lambda kept: kept["trials"][0].update(budget=0.5), lambda kept: kept.update(probe={}),
])  # fmt: skip
def test_a_damaged_file_is_one_sentence(damage, ran, tmp_path):
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    path = tmp_path / "made.json"
    if not isinstance(damage, str):
        kept = json.loads(path.read_text())
        damage(kept)
        damage = json.dumps(kept)
    path.write_text(damage)
    with pytest.raises(IsthmusError, match=r"made.json (holds no|was written by)"):
        reproduction.reproduce("made", folder=tmp_path)


def test_what_ends_a_trial_is_said(monkeypatch, ran, tmp_path):
    use(monkeypatch, a_claim(lambda trial: sys.exit(0)))
    with pytest.raises(IsthmusError, match="SystemExit"):
        reproduction.reproduce("made", seeds=1, folder=tmp_path)


@pytest.mark.parametrize("budget", [math.nan, math.inf, -1.0])
def test_a_budget_is_a_number_above_zero(budget):
    with pytest.raises(IsthmusError, match="pass a number above 0"):
        reproduction.reproduce("topk", budget=budget)


def test_budgets_that_differ_have_files_of_their_own(tmp_path):
    names = {results.file_of(tmp_path, "made", b).name for b in (0.12345678, 0.12345699, 0.5)}
    assert names == {"made@0.12345678.json", "made@0.12345699.json", "made@0.5.json"}
