"""What is said on the user's behalf while a model is fitted is in its run, and can be read."""

import json

import numpy as np
import pytest

import isthmus
from isthmus import notices
from isthmus.pages.opened import open_run
from isthmus.pages.overview import about
from isthmus.training import Callback

X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
QUICK = {"steps": 6, "batch_size": 16, "hidden": (4,), "latent_dim": 2, "progress": False}


class Talker(Callback):
    def __init__(self, *sentences):
        self.sentences = sentences

    def on_start(self, run):
        notices.say(self.sentences[0])

    def on_step(self, run, step):
        notices.say(self.sentences[-1])


@pytest.fixture(autouse=True)
def afresh():
    notices.forget()
    yield
    notices.forget()


def noted(folder):
    return json.loads((folder / "config.json").read_text())["notes"]


def test_what_is_said_is_on_the_model_and_in_the_last_checkpoint(tmp_path):
    talker = Talker("at the start", "at a step")
    model = isthmus.fit("plain", X, out=tmp_path / "m", callbacks=[talker], **QUICK)
    assert {"at the start", "at a step"} <= {*model.config["notes"]} == {*noted(tmp_path / "m")}
    assert isthmus.load(tmp_path / "m").config["notes"] == model.config["notes"]


def test_a_sentence_is_recorded_in_every_run_though_it_is_shown_once(caplog):
    talker = Talker("the same")
    models = [isthmus.fit("plain", X, callbacks=[talker], **QUICK) for _ in range(2)]
    assert all("the same" in model.config["notes"] for model in models)
    assert [r.getMessage() for r in caplog.records].count("the same") == 1


def test_runs_of_one_pass_hear_what_was_said(tmp_path):
    many = [("plain", QUICK), ("vae", QUICK)]
    shared = {"out": tmp_path, "progress": False, "batch_size": 16}
    variants = [(name, {k: v for k, v in o.items() if k != "progress"}) for name, o in many]
    models = isthmus.fit_many(variants, X, callbacks=[Talker("to all")], **shared)
    for name in models:
        assert "to all" in noted(tmp_path / name)


def test_a_resumed_run_keeps_what_was_said_before(tmp_path):
    class Stop(Exception):
        pass

    class Stopper(Callback):
        def on_step(self, run, step):
            if step == 4:
                raise Stop

    first = [Talker("before"), Stopper()]
    with pytest.raises(Stop):
        isthmus.fit("plain", X, out=tmp_path / "m", callbacks=first, save_every=2, **QUICK)
    isthmus.resume(tmp_path / "m", X, callbacks=[Talker("after")], progress=False)
    notes = noted(tmp_path / "m")
    assert notes.index("before") < notes.index("after")
    assert notes.count("before") == 1


def test_the_page_shows_them(tmp_path):
    isthmus.fit("plain", X, out=tmp_path / "m", callbacks=[Talker("read so")], **QUICK)
    assert ["note", "read so"] in about(open_run(tmp_path / "m", X))["facts"]
