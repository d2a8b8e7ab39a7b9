"""What is said on the user's behalf: once a process, and into every list that is open."""

import threading

import pytest

from isthmus import notices


@pytest.fixture(autouse=True)
def afresh():
    notices.forget()
    yield
    notices.forget()


def test_a_sentence_is_said_once_and_collected_each_time(caplog):
    with notices.collected() as first:
        notices.say("rows are read as images: kind=series reads series")
    with notices.collected() as second:
        notices.say("rows are read as images: kind=series reads series")
        notices.say("rows are read as images: kind=series reads series")
    assert first == second == ["rows are read as images: kind=series reads series"]
    assert len(caplog.records) == 1


def test_a_quiet_list_keeps_silent(caplog):
    with notices.collected() as outer, notices.collected(quiet=True) as inner:
        notices.say("scaled by 1/16")
    assert outer == inner == ["scaled by 1/16"]
    assert not caplog.records


def test_threads_do_not_hear_each_other():
    with notices.collected() as mine:
        other = threading.Thread(target=notices.say, args=("from elsewhere",))
        other.start()
        other.join()
    assert mine == []


def test_what_a_run_has_in_its_record_is_not_said_again(tmp_path):
    import isthmus

    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "".join(f"{i},5;{i % 3},25\n" for i in range(20)))
    with notices.collected(quiet=True) as fitted:
        model = isthmus.fit("plain", path, latent_dim=1, steps=2, progress=False)
    assert any("decimal mark" in note for note in fitted)
    with notices.collected(quiet=True) as again:
        isthmus.evaluate(model, path)
        model.score(path)
    assert not any("decimal mark" in note for note in again)
    other = tmp_path / "new.csv"
    other.write_bytes(path.read_bytes())
    with notices.collected(quiet=True) as new:
        isthmus.evaluate(model, other)
    assert any("decimal mark" in note and "new.csv" in note for note in new)


def test_what_was_said_is_known():
    notices.forget()
    with notices.collected(quiet=True):
        notices.say("only collected")
    notices.say("said aloud")
    assert notices.was_said("said aloud")
    assert not notices.was_said("only collected")
