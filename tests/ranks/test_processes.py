"""What ends one rank ends all: within ten seconds, with one sentence, and nothing half written."""

import errno
import multiprocessing
import sys
import time

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.ranks import Shard, exchanging, of_environment, processes, team
from isthmus.runs import team as run_team
from isthmus.training import state_parts
from ranks.troubled import (
    OPTIONS,
    STRUCK,
    TABLE,
    Rows,
    at,
    fitted,
    gone_on,
    kill,
    press_ctrl_c,
    spoil,
)

ENVIRONMENT = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29871",
}


def _sentence(folder, what=Exception, **about):
    """What a run of two ranks ends with, which is the same on both, and soon."""
    STRUCK.value = 0.0
    with pytest.raises(what) as raised:
        fitted(folder, **about)
    if STRUCK.value:
        assert time.time() - STRUCK.value < 10.0
    assert not multiprocessing.active_children()
    text = str(raised.value)
    assert "\n" not in text.strip()
    assert f"isthmus: {text}" in (folder / "rank-1.log").read_text().splitlines()
    return text


def test_rows_that_hold_nan_on_one_rank(tmp_path):
    text = _sentence(tmp_path / "run", IsthmusError, trouble=at(1, 2, spoil))
    assert "became NaN or infinite at step 2" in text
    assert "the data hold NaN or infinity in row" in text


def test_rows_that_cannot_be_read_on_one_rank(tmp_path):
    def torn():
        raise OSError(errno.EIO, "Input/output error", "rows.bin")

    assert _sentence(tmp_path / "run", trouble=at(1, 4, torn)) == "rows.bin: Input/output error"


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_a_rank_without_memory_says_so_and_no_traceback(tmp_path, capfd, problem):
    def full():
        raise problem

    text = _sentence(tmp_path / "run", trouble=at(0, 4, full))
    assert text == "there is not enough memory for this: ask for less at once"
    assert "Traceback" not in capfd.readouterr().err


def test_an_exchange_without_memory_is_no_lost_rank():
    with pytest.raises(torch.OutOfMemoryError), exchanging():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_mistake_in_a_part_is_named_by_its_kind(tmp_path):
    def mistaken():
        raise KeyError("no such column")

    text = _sentence(tmp_path / "run", trouble=at(0, 1, mistaken))
    assert text == "KeyError: 'no such column'"


def test_a_disk_that_is_full_for_one_rank(tmp_path, monkeypatch):
    true_save = state_parts.save_file

    def save_file(tensors, path, **about):
        if team().rank == 1 and "state-00000006" in str(path):
            STRUCK.value = time.time()
            raise OSError(errno.ENOSPC, "No space left on device")
        true_save(tensors, path, **about)

    monkeypatch.setattr(state_parts, "save_file", save_file)
    folder = tmp_path / "run"
    text = _sentence(folder, IsthmusError)
    assert "No space left on device" in text
    assert "what was saved before is intact" in text
    monkeypatch.undo()
    model = gone_on(folder)  # from the third step
    assert model.config["recipe"] == "topk"


def test_who_stops_where_it_began_keeps_what_was_saved(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fitted(folder, at(0, 5, press_ctrl_c))
    before = {path.name: path.read_bytes() for path in (folder / "training").iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyboardInterrupt, match="stopped at step 5 of 12 and saved"):
        gone_on(folder, trouble=at(1, 0, press_ctrl_c))
    assert {path.name: path.read_bytes() for path in (folder / "training").iterdir()} == before
    monkeypatch.setattr(state_parts, "save_file", full)
    with pytest.raises(IsthmusError, match="No space left"):
        gone_on(folder, trouble=at(1, 0, press_ctrl_c))
    assert {path.name: path.read_bytes() for path in (folder / "training").iterdir()} == before
    monkeypatch.undo()
    begun = folder / "training" / ".state-00000007-00000-of-00002.safetensors.partial"
    begun.write_bytes(b"half")  # as of a rank that was killed while it saved
    gone_on(folder)
    assert not begun.exists()


def test_a_part_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    shard = Shard(0, 1, 2)
    tensors = {"weight": torch.ones(2, 3)}
    name = state_parts.part_name(3, 0, 1)
    state_parts.write_part(tmp_path, name, tensors, {"weight"}, shard)
    before = (tmp_path / name).read_bytes()

    def torn(tensors, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_parts, "save_file", torn)
    with pytest.raises(IsthmusError, match="No space left"):
        state_parts.write_part(tmp_path, name, tensors, {"weight"}, shard)
    assert (tmp_path / name).read_bytes() == before
    assert len(list((tmp_path / name).parent.iterdir())) == 1


def test_versions_that_differ(tmp_path, monkeypatch):
    def versions():
        STRUCK.value = time.time()
        return {"isthmus": "0.1", "torch": "2.13" if team().rank == 0 else "2.12"}

    monkeypatch.setattr(run_team, "versions", versions)
    text = _sentence(tmp_path / "run", IsthmusError)
    assert text == (
        "rank 1 has another version of PyTorch than rank 0 (2.12, not 2.13): start all ranks alike"
    )


def test_data_that_differ(tmp_path, monkeypatch):
    def fingerprint(self):
        return "one" if team().rank == 0 else "other"

    monkeypatch.setattr(Rows, "fingerprint", fingerprint)
    text = _sentence(tmp_path / "run", IsthmusError)
    assert "rank 1 has another fingerprint of the data than rank 0" in text


def test_options_that_differ(tmp_path, monkeypatch):
    true = run_team._digest
    monkeypatch.setattr(run_team, "_digest", lambda content: true([content, team().rank]))
    text = _sentence(tmp_path / "run", IsthmusError)
    assert "rank 1 has another configuration than rank 0" in text


@pytest.mark.parametrize("rank", [0, 1])
def test_ctrl_c_on_any_rank_saves_and_ends_all(tmp_path, rank):
    folder = tmp_path / "run"
    text = _sentence(folder, KeyboardInterrupt, trouble=at(rank, 7, press_ctrl_c))
    assert text == f"stopped at step 7 of 12 and saved; go on with: isthmus resume {folder}"


def test_a_rank_that_is_killed(tmp_path):
    folder = tmp_path / "run"
    text = _sentence(folder, IsthmusError, trouble=at(0, 5, kill))
    assert text == (
        "one of the ranks ended without a word (killed, or out of memory?): go on with isthmus "
        f"resume {folder}"
    )


def test_more_ranks_than_latents(tmp_path):
    with pytest.raises(IsthmusError, match="3 ranks are more than the 2 latents"):
        fitted(tmp_path / "run", ranks=3, latent_dim=2, k=1, k_aux=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ranks": 0}, "is no number of processes"),
        ({"ranks": "two"}, "is no number of processes"),
        ({"ranks": 100_000}, "ranks=100000 processes are too many for the .* cores of this"),
        ({"compile": True}, "compile=true is for one process"),
        ({"optimiser": "lars"}, "looks at whole weights"),
        ({"revive": "resample"}, "has stages, critics or further parts"),
        ({"minutes": 1.0}, "minutes= is measured by one process"),
    ],
)
def test_what_several_ranks_cannot(tmp_path, options, sentence):
    with pytest.raises(IsthmusError, match=sentence):
        fitted(tmp_path / "run", **options)


def test_the_number_of_ranks_may_be_numpys(tmp_path):
    fitted(tmp_path / "run", ranks=np.int64(2))
    assert (tmp_path / "run" / "rank-1.log").exists()


def test_a_run_without_a_folder_leaves_nothing_to_go_on_with():
    with pytest.raises(KeyboardInterrupt) as raised:
        fitted(None, at(1, 2, press_ctrl_c))
    assert str(raised.value) == (
        "stopped at step 2 of 12; nothing was saved, since no folder was given"
    )


def test_what_is_fitted_in_closed_form_has_one_process():
    with pytest.raises(IsthmusError, match="in closed form, by one process"):
        isthmus.fit("trimmed-linear-vae", TABLE.astype(np.float32), ranks=2, progress=False)


def test_ranks_auto_outside_torchrun_is_one_process(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    model = fitted(tmp_path / "run", ranks="auto", steps=2)
    assert len(model.decoder.weight) == OPTIONS["latent_dim"]
    assert not (tmp_path / "run" / "rank-1.log").exists()


def test_an_array_is_read_by_every_rank(tmp_path):
    """No rows are exchanged: the same weights as where each rank reads its share."""
    shared = fitted(tmp_path / "shared", steps=3)
    read = isthmus.fit("topk", TABLE.astype(np.float32), ranks=2, **{**OPTIONS, "steps": 3})
    assert np.array_equal(shared.decoder.weight.detach(), read.decoder.weight.detach())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE='many' is nothing that torchrun sets"),
        ({"RANK": "-1"}, "RANK='-1' is nothing that torchrun sets"),
        ({"RANK": "2"}, "RANK=2 of WORLD_SIZE=2 at localhost:29871 is nothing that torchrun sets"),
        ({"MASTER_PORT": ""}, "MASTER_PORT='' is nothing that torchrun sets"),
        ({"MASTER_PORT": "70000"}, "at localhost:70000 is nothing that torchrun sets"),
        ({"MASTER_ADDR": None}, "at None:29871 is nothing that torchrun sets"),
    ],
)
def test_an_environment_that_torchrun_did_not_set(tmp_path, monkeypatch, changes, said):
    for name, value in {**ENVIRONMENT, **changes}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(IsthmusError, match=said):
        fitted(tmp_path / "run", ranks="auto")
    assert not (tmp_path / "run").exists()


def test_ranks_that_do_not_meet(monkeypatch):
    def nobody(url):
        time.sleep(0.2)
        raise torch.distributed.DistNetworkError("client socket has timed out\nmore of it")

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", nobody)
    monkeypatch.setattr(processes, "WAITS", 0.01)
    told = []
    monkeypatch.setattr(processes.notices, "say", told.append)
    with pytest.raises(IsthmusError, match=r"does not meet the others at .*timed out\): start all"):
        of_environment()
    assert told == ["rank 1 waits for rank 0 at localhost:29871"]
