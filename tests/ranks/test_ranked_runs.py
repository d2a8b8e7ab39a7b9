"""Whole runs on several ranks: as one process, to the same bytes, however they are interrupted."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import isthmus
from isthmus.errors import IsthmusError
from isthmus.training.checkpoint import read_checkpoint
from ranks.troubled import OPTIONS, STEPS, TABLE, at, fitted, gone_on, kill, press_ctrl_c, same


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "never"
    fitted(folder)
    return folder


def _close(one, other, tolerance=2e-5):
    pairs = zip(load_file(one).items(), load_file(other).items(), strict=True)
    return all(torch.allclose(a, b, atol=tolerance, rtol=tolerance) for (_, a), (_, b) in pairs)


def test_a_run_of_two_ranks_is_an_ordinary_run(never_stopped, tmp_path):
    alone = fitted(tmp_path / "one", ranks=None)
    model = isthmus.load(never_stopped)
    assert type(model.decoder.weight.data) is torch.Tensor
    name = "model.safetensors"
    assert _close(never_stopped / name, tmp_path / "one" / name)
    config = json.loads((never_stopped / "config.json").read_text())
    own = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["recipe"] == own["recipe"]
    assert config["options"] == own["options"]
    records = (never_stopped / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in records] == [4, 8, 12]
    assert json.loads(records[-1])["loss"] == pytest.approx(alone.history[-1]["loss"], rel=1e-5)
    assert (never_stopped / "rank-1.log").exists()
    assert not (never_stopped / "rank-0.log").exists()


def test_the_same_run_twice_has_the_same_bytes(never_stopped, tmp_path):
    model = fitted(tmp_path / "again")
    assert same(never_stopped, tmp_path / "again")
    assert [record["step"] for record in model.history] == [4, 8, 12]


def _killed_and_resumed(folder, rank, step):
    with pytest.raises(IsthmusError, match=r"ended without a word .* isthmus resume"):
        fitted(folder, at(rank, step, kill))
    gone_on(folder)


@pytest.mark.parametrize(("rank", "step"), [(1, 5), (0, 8)])
def test_a_killed_rank_ends_all_and_the_run_goes_on_to_the_same_bytes(
    never_stopped, tmp_path, rank, step
):
    _killed_and_resumed(tmp_path / "run", rank, step)
    assert same(never_stopped, tmp_path / "run")


@pytest.mark.slow
def test_twenty_kills_at_random_steps(never_stopped, tmp_path):
    draw = random.Random(7)
    for number in range(20):
        folder = tmp_path / f"run{number}"
        _killed_and_resumed(folder, draw.randrange(2), draw.randrange(1, STEPS))
        assert same(never_stopped, folder), number


def _state(folder):
    return read_checkpoint(folder, state=True).state


def test_four_ranks_go_on_as_two_and_as_one(never_stopped, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="stopped at step 5 of 12 and saved"):
        fitted(folder, at(2, 5, press_ctrl_c), ranks=4)
    assert len([*folder.glob("training/state-*-of-00004.safetensors")]) == 4
    with pytest.raises(IsthmusError, match="has not ended"):
        isthmus.load(folder)
    saved = _state(folder)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 5 of 12 and saved"):
        gone_on(folder, trouble=at(0, 0, press_ctrl_c))
    assert len([*folder.glob("training/state-*.safetensors")]) == 2
    resharded = _state(folder)
    assert saved.keys() == resharded.keys()
    assert all(torch.equal(saved[name], resharded[name]) for name in saved)
    assert saved["model.decoder.weight"].shape == (25, 8)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 8 of 12 and saved"):
        gone_on(folder, trouble=at(1, 3, press_ctrl_c))
    gone_on(folder, ranks=None)
    assert _close(never_stopped / "model.safetensors", folder / "model.safetensors")
    assert not [*folder.glob("training/state-*.safetensors")]


def test_what_one_process_began_several_end(tmp_path):
    for name in ("by two", "by one"):
        fitted(tmp_path / name, ranks=None, steps=4)
    model = gone_on(tmp_path / "by two", steps=STEPS)
    gone_on(tmp_path / "by one", ranks=None, steps=STEPS)
    assert _close(*(tmp_path / name / "model.safetensors" for name in ("by two", "by one")))
    assert torch.equal(model.decoder.weight, isthmus.load(tmp_path / "by two").decoder.weight)


@pytest.mark.parametrize("harm", ["altered", "missing"])
def test_a_part_of_the_state_that_is_not_as_it_was_written(tmp_path, harm):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fitted(folder, at(0, 4, press_ctrl_c))
    part = next(folder.glob("training/state-*-00001-of-00002.safetensors"))
    if harm == "missing":
        part.unlink()
    else:
        content = bytearray(part.read_bytes())
        content[-3] ^= 1
        part.write_bytes(content)
    with pytest.raises(IsthmusError, match="is missing" if harm == "missing" else "is damaged"):
        gone_on(folder, ranks=None)


@pytest.mark.slow
def test_ranks_of_several_threads_are_started_afresh(never_stopped, tmp_path, monkeypatch):
    """A forked process could not use them."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    table = TABLE.astype(np.float32)
    model = isthmus.fit("topk", table, ranks=2, out=tmp_path / "run", **{**OPTIONS, "steps": 3})
    monkeypatch.undo()
    forked = isthmus.fit("topk", table, ranks=2, **{**OPTIONS, "steps": 3})
    assert torch.allclose(model.decoder.weight, forked.decoder.weight, atol=1e-6)


def test_a_run_of_ranks_that_hold_fewer_latents_than_a_row_has_is_made_longer(tmp_path):
    few = {"latent_dim": 6, "k": 4, "k_aux": 2, "warmup": 0, "batch_size": 47}
    fitted(tmp_path / "run", ranks=3, steps=4, **few)
    longer = gone_on(tmp_path / "run", ranks=3, steps=8)
    whole = fitted(tmp_path / "whole", ranks=3, steps=8, **few)
    assert longer.history[-1]["step"] == 8
    for name, tensor in whole.state_dict().items():
        assert torch.equal(longer.state_dict()[name], tensor), name
