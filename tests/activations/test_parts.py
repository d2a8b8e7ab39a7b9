"""Several processes make one store: what they make is what one makes, byte for byte."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from isthmus.activations import Store, harvest
from isthmus.activations.merge import merge
from isthmus.activations.parts import Part, device_of_rank, facts_of, part_named
from isthmus.data import as_source
from isthmus.errors import IsthmusError

from .tiny import language, tokens

AT = ["layers.0", "layers.2"]


@pytest.fixture(scope="module")
def host():
    return language()


@pytest.fixture(scope="module")
def text():
    return tokens(60, seed=1)


def harvested(host, text, folder, part=None, **options):
    options = {"dtype": "float16", "batch": 4, "shard": 37, "progress": False, **options}
    return harvest(host, text, AT, folder, part=part, **options)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(host, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "s"
    harvested(host, text, folder)
    return folder


@pytest.mark.parametrize(("of", "order"), [(3, (2, 0, 1)), (2, (0, 1)), (5, (4, 3, 2, 1, 0))])
def test_parts_are_the_store_of_one_process(host, text, whole, tmp_path, of, order):
    for number in order:
        store = harvested(host, text, tmp_path / "s", f"{number + 1}/{of}")
    assert files(tmp_path / "s") == files(whole)  # the part that ended last put them together
    assert len(store) == len(Store(whole))
    store.verify()


def test_rows_that_go_through_apart_and_sinks_do_so_in_every_part(text, tmp_path, caplog):
    """What is found out in the first batches holds in all parts."""
    host = language()
    plain = host.module.forward

    def minds_padding(tokens, attention_mask=None):
        if attention_mask is not None:
            host.module.layers[0].mlp[0].bias.data += 1
        try:
            return plain(tokens)
        finally:
            if attention_mask is not None:
                host.module.layers[0].mlp[0].bias.data -= 1

    host.module.forward = minds_padding
    one = harvested(host, text, tmp_path / "one", max_norm=1.2)
    assert one.provenance.runs[0].left_out["norm"] > 0
    assert "go through it apart" in caplog.text
    for number in (3, 1, 2):
        harvested(host, text, tmp_path / "s", f"{number}/3", max_norm=1.2)
    assert files(tmp_path / "s") == files(tmp_path / "one")


def test_int8_and_rows_of_a_source(tmp_path):
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    source = as_source(torch.randn(200, 5, generator=torch.Generator().manual_seed(0)))

    def run(folder, part=None):
        return harvest(
            model, source, ["0", "2"], folder, dtype="int8", batch=16, shard=32, part=part,
            progress=False, text="rows", name="model",
        )  # fmt: skip

    run(tmp_path / "one")
    for number in (2, 3, 1):
        run(tmp_path / "s", Part(number, 3))
    assert files(tmp_path / "s") == files(tmp_path / "one")


def test_more_parts_than_shards(host, text, tmp_path):
    harvested(host, text, tmp_path / "one", shard=300)
    for number in range(6):
        harvested(host, text, tmp_path / "s", Part(number + 1, 6), shard=300)
    assert files(tmp_path / "s") == files(tmp_path / "one")


def test_every_token_is_in_one_part():
    for tokens_, shard, of in ((1000, 37, 3), (5, 8, 3), (64, 8, 8), (64, 8, 5)):
        facts = [facts_of(Part(n + 1, of), tokens_, shard, 4) for n in range(of)]
        assert facts[0].begin == 0
        assert facts[-1].end == tokens_
        for one, other in pairwise(facts):
            assert one.end == other.begin
        sizes = [-(-(f.end - f.begin) // shard) for f in facts]
        assert max(sizes) - min(sizes) <= 1


def test_a_part_is_a_store_until_all_are_there(host, text, whole, tmp_path):
    part = harvested(host, text, tmp_path / "s", "2/3")
    begin = part.provenance.part.begin
    assert torch.equal(
        part.rows("layers.2", torch.arange(len(part))),
        Store(whole).rows("layers.2", torch.arange(begin, begin + len(part))),
    )
    with pytest.raises(IsthmusError, match="holds parts of a store"):
        Store(tmp_path / "s")
    with pytest.raises(IsthmusError, match="is being harvested in parts"):
        harvested(host, text, tmp_path / "s")
    with pytest.raises(IsthmusError, match="holds a part of a store"):
        harvested(host, text, part.path)


def test_a_part_goes_on_where_it_was_stopped(host, text, whole, tmp_path):
    calls = 0
    plain = type(host.module).forward

    def fails(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 10:
            raise RuntimeError("power cut")
        return plain(self, *args, **kwargs)

    type(host.module).forward = fails
    try:
        with pytest.raises(RuntimeError):
            harvested(host, text, tmp_path / "s", "2/3")
    finally:
        type(host.module).forward = plain
    held = Store(tmp_path / "s" / "parts" / "2-of-3").provenance
    assert held.part.begin < held.done(0) < held.part.end
    harvested(host, text, tmp_path / "s", "1/3")
    with pytest.raises(IsthmusError, match=r"of 3 parts of .* 1 are missing \(number 3\)"):
        merge(tmp_path / "s")
    harvested(host, text, tmp_path / "s", "3/3")
    with pytest.raises(IsthmusError, match=r"2-of-3 is not finished \(\d+ of \d+ tokens\)"):
        merge(tmp_path / "s")
    harvested(host, text, tmp_path / "s", "2/3")
    assert files(tmp_path / "s") == files(whole)


def test_parts_that_do_not_fit_are_told(host, text, tmp_path):
    for number in (1, 2):
        harvested(host, text, tmp_path / "a", f"{number}/3")
    harvested(host, text, tmp_path / "four", "3/4")
    harvested(language(seed=1), text, tmp_path / "other", "3/3")
    harvested(host, text, tmp_path / "batch", "3/3", batch=5)
    harvested(host, tokens(60, seed=2), tmp_path / "data", "3/3")
    harvested(host, text, tmp_path / "again", "2/3")
    mine = sorted((tmp_path / "a" / "parts").iterdir())

    def merged(*folders):
        return merge(tmp_path / "out", [*mine, *(next((f / "parts").iterdir()) for f in folders)])

    with pytest.raises(IsthmusError, match="overlap"):
        merged(tmp_path / "four")
    with pytest.raises(IsthmusError, match="other weights"):
        merged(tmp_path / "other")
    with pytest.raises(IsthmusError, match="other rows of a batch"):
        merged(tmp_path / "batch")
    with pytest.raises(IsthmusError, match="other data"):
        merged(tmp_path / "data")
    with pytest.raises(IsthmusError, match="are both part 2 of 3"):
        merged(tmp_path / "again")
    with pytest.raises(IsthmusError, match=r"missing \(number 3\)"):
        merged()
    with pytest.raises(IsthmusError, match="holds no parts"):
        merge(tmp_path / "nothing")
    harvested(host, text, tmp_path / "whole")
    with pytest.raises(IsthmusError, match="is no part of a store"):
        merge(tmp_path / "out", [tmp_path / "whole"])


def test_parts_of_other_folders_stay_where_they_are(host, text, whole, tmp_path):
    for number in (1, 2, 3):
        harvested(host, text, tmp_path / str(number), f"{number}/3")
    folders = [next((tmp_path / str(n) / "parts").iterdir()) for n in (3, 1, 2)]
    merge(tmp_path / "s", folders)
    assert files(tmp_path / "s") == files(whole)
    assert all(folder.exists() for folder in folders)


def test_a_merge_that_was_killed_is_run_again(host, text, whole, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        harvested(host, text, tmp_path / str(number), f"{number}/3")
        shutil.copytree(tmp_path / str(number) / "parts", tmp_path / "s" / "parts",
                        dirs_exist_ok=True)  # fmt: skip
    count, plain = 0, os.rename

    def cut(*args):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        plain(*args)

    monkeypatch.setattr(os, "rename", cut)
    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path / "s")
    monkeypatch.undo()
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "s" / "parts", kept)
    merge(tmp_path / "s")
    assert files(tmp_path / "s") == files(whole)
    # Killed after the index was written, with some of the parts gone.
    shutil.copytree(kept, tmp_path / "s" / "parts")
    shutil.rmtree(tmp_path / "s" / "parts" / "2-of-3")
    assert len(merge(tmp_path / "s")) == len(Store(whole))
    assert files(tmp_path / "s") == files(whole)


def test_a_part_of_a_merged_store_is_nothing_new(host, text, tmp_path, capsys):
    for number in (1, 2):
        harvested(host, text, tmp_path / "s", f"{number}/2")
    before = files(tmp_path / "s")
    harvested(host, text, tmp_path / "s", "1/2")
    assert files(tmp_path / "s") == before
    with pytest.raises(IsthmusError, match="holds a store already"):
        harvested(host, tokens(60, seed=2), tmp_path / "s", "1/2")


def test_parts_by_name():
    assert part_named("3/16") == part_named(" 3 / 16 ") == Part(3, 16)
    assert part_named(None) is None
    for wrong in ("0/3", "4/3", "3", "a/b", "-1/3"):
        with pytest.raises(IsthmusError, match="is no part"):
            part_named(wrong)


def test_the_rank_under_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(IsthmusError, match="torchrun"):
        part_named("rank")
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "16")
    assert part_named("rank") == Part(3, 16)


def test_a_rank_has_the_device_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert device_of_rank("cuda") == device_of_rank("gpu") == "cuda:3"
    assert device_of_rank("cuda:1") == "cuda:1"
    assert device_of_rank("cpu") == "cpu"
    assert device_of_rank(None) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of_rank("auto") == "auto"
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert device_of_rank("cuda") == "cuda"


def test_parts_that_end_together_are_merged_once(host, text, whole, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(harvested, language(), text, tmp_path / "s", f"{n}/3")
                for n in (1, 2, 3)]  # fmt: skip
        stores = [run.result() for run in runs]
    assert files(tmp_path / "s") == files(whole)
    assert max(len(store) for store in stores) == len(Store(whole))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_three_parts_one_killed_by_sigkill(tmp_path):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "kill.py"), str(tmp_path), "6", "0", "3"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["kills"] >= 6
