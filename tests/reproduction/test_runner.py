"""Running, keeping, going on: with a study made for the purpose."""

import json

import pytest

from isthmus import reproduction
from isthmus.errors import IsthmusError
from isthmus.reproduction import results, runner
from isthmus.reproduction.claims_page import claims_page, stored
from isthmus.studies import Check, Study


def a_study(experiment, **changes):
    plain = {
        "name": "made", "family": "made", "catalogue": 7, "paper": "A paper, with a | in it",
        "statement": "It is large.", "headline": "none", "setting": "A made setting.",
        "arms": {"method": "the method", "control": "a control"}, "experiment": experiment,
        "checks": (
            Check(
                "it is large", lambda f: f["method"]["size"], at_least=1.0,
                control=lambda f: f["control"]["size"],
            ),
        ),
    }  # fmt: skip
    return Study(**{**plain, **changes})


@pytest.fixture
def ran(monkeypatch):
    """Trials run here, not in other processes; returns the seeds that were run."""
    seeds = []

    def experiment(trial):
        seeds.append(trial.seed)
        return {"method": {"size": 1.0 + trial.seed}, "control": {"size": float("nan")}}

    one = a_study(experiment)

    class Here:
        _processes = None

        def __init__(self, *_, **__):
            pass

        def submit(self, function, *args):
            done = runner.Future()
            done.set_result(function(*args))
            return done

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(runner, "get_study", lambda name: one)
    monkeypatch.setattr(runner, "fingerprint", lambda study: "code")
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Here)
    return seeds


def test_only_what_is_missing_is_run(ran, tmp_path):
    first = reproduction.reproduce("made", seeds=2, folder=tmp_path)["made"]
    assert sorted(ran) == [1, 2]
    assert [t.figures["method"]["size"] for t in first.trials] == [2.0, 3.0]
    second = reproduction.reproduce("made", seeds=3, folder=tmp_path)["made"]
    assert sorted(ran) == [1, 2, 3]
    assert len(second.trials) == 3
    reproduction.reproduce("made", seeds=3, folder=tmp_path, again=True)
    assert sorted(ran) == [1, 1, 2, 2, 3, 3]


def test_other_code_and_other_budgets_are_run_again(ran, tmp_path, monkeypatch):
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    reproduction.reproduce("made", seeds=1, folder=tmp_path, budget=0.5)
    assert ran == [1, 1]
    assert (tmp_path / "made@0.5.json").exists()
    monkeypatch.setattr(runner, "fingerprint", lambda study: "other code")
    assert runner.is_current(runner.get_study("made"), tmp_path) is False
    reproduction.reproduce("made", seeds=1, folder=tmp_path)
    assert ran == [1, 1, 1]


def test_a_pilot_runs_seed_0_and_keeps_nothing(ran, tmp_path):
    reproduction.reproduce("made", pilot=True, folder=tmp_path)
    assert ran == [0]
    assert not list(tmp_path.iterdir())


def test_undefined_numbers_survive_the_file(ran, tmp_path):
    reproduction.reproduce("made", seeds=2, folder=tmp_path)
    text = (tmp_path / "made.json").read_text()
    assert json.loads(text)["trials"][0]["figures"]["control"]["size"] is None
    again = results.read_trials(tmp_path, "made", 1.0)
    assert again[0].figures["control"]["size"] != again[0].figures["control"]["size"]


def test_a_control_that_is_undefined_does_not_count_as_failing(ran, tmp_path):
    outcome = reproduction.reproduce("made", seeds=2, folder=tmp_path)["made"]
    assert outcome.judged()[0] == "undecided"


def test_a_problem_in_one_trial_keeps_the_others(ran, tmp_path, monkeypatch):
    def experiment(trial):
        if trial.seed == 2:
            raise RuntimeError("no luck")
        return {"method": {"size": 2.0}, "control": {"size": 0.0}}

    monkeypatch.setattr(runner, "get_study", lambda name: a_study(experiment))
    with pytest.raises(IsthmusError, match=r"1 of 3 trials ended early: made, seed 2: .*no luck"):
        reproduction.reproduce("made", seeds=3, folder=tmp_path)
    assert [t.seed for t in results.read_trials(tmp_path, "made", 1.0)] == [1, 3]


def test_the_page_is_made_of_the_files_alone(ran, tmp_path):
    reproduction.reproduce("made", seeds=3, folder=tmp_path)
    page = claims_page(stored(tmp_path))
    assert "with a \\| in it" in page
    assert "Claims checked: 1. Hold: 0; fail: 0; undecided: 1." in page
    assert "| size | 3 (2 to 4) |" in page
    assert "| **undecided** | 0 of 1 | 3 |" in page


def test_bad_options_and_files_are_one_sentence(ran, tmp_path):
    with pytest.raises(IsthmusError, match="budget is 0: pass a number above 0"):
        reproduction.reproduce("made", budget=0.0)
    with pytest.raises(IsthmusError, match="seeds is 0"):
        reproduction.reproduce("made", seeds=0)
    (tmp_path / "made.json").write_text("{")
    with pytest.raises(IsthmusError, match="holds no readable results: delete it"):
        reproduction.reproduce("made", folder=tmp_path)
    (tmp_path / "made.json").write_text('{"format": 99}')
    with pytest.raises(IsthmusError, match="written by another version"):
        reproduction.reproduce("made", folder=tmp_path)


def test_a_real_study_runs_in_processes_of_its_own(tmp_path):
    outcome = reproduction.reproduce("topk", seeds=1, budget=0.004, folder=tmp_path)["topk"]
    assert set(outcome.trials[0].figures) == set(outcome.study.arms)
    assert (tmp_path / "topk@0.004.json").exists()
