"""Every dictionary that a peer wrote computes what the peer computed, or is refused by name."""

import pytest
import torch

import isthmus
from peers import about, cases, differences, place, read, recorded

CASES = cases()
READ = CASES
BATCH = [case for case in CASES if "calibrate" in about(case).get("asked", {})]
"""What is chosen over a whole batch, without a threshold in the file."""
CLOSE = {"float32": 2e-6, "bfloat16": 2e-2}
"""Of the largest value: float32 added up in another order; a peer that computes in bfloat16."""


def test_there_are_cases():
    assert len(READ) > 10


@pytest.mark.parametrize("case", READ)
def test_codes_and_outputs_are_the_peers(case):
    model, found = read(case), recorded(case)
    codes, output = differences(model, found)
    dtype = model.cfg.metadata["dtype"]
    assert codes < CLOSE[dtype], codes
    assert output < CLOSE[dtype], output
    if dtype == "float32":  # no latent is on that should be off
        x = found["x"]
        x = {"in": x, "out": found["output"]} if model.signal.kind == "collection" else x
        assert torch.equal(model.encode(x) != 0, found["codes"] != 0)


@pytest.mark.parametrize("case", BATCH)
def test_what_depends_on_the_batch_is_read_with_rows_alone(case):
    with pytest.raises(isthmus.IsthmusError, match="over a whole batch") as problem:
        isthmus.from_pretrained(place(case))
    assert str(place(case)) in str(problem.value)
    model = read(case)
    assert (model.cfg.architecture, model.cfg.metadata["weigh"]) == ("jumprelu", False)
    assert any("(calibrate)" in note for note in model.cfg.metadata["notes"])


def test_a_threshold_beside_k_is_used_where_it_is_asked_for():
    case = "dictionary_learning/topk-threshold"
    by_threshold, by_k = read(case), isthmus.from_pretrained(place(case))
    x = recorded(case)["x"]
    assert any("pass threshold=True" in note for note in by_k.cfg.metadata["notes"])
    assert not any("pass threshold=True" in note for note in by_threshold.cfg.metadata["notes"])
    assert (by_k.cfg.architecture, by_threshold.cfg.architecture) == ("topk", "batchtopk")
    assert not torch.equal(by_k.encode(x), by_threshold.encode(x))
    tuned = isthmus.fit("topk", x, start=by_threshold, steps=2, progress=False)
    assert tuned.bottleneck.threshold != by_threshold.bottleneck.threshold
    for other in ("dictionary_learning/topk", "saelens/topk", "saelens/jumprelu"):
        with pytest.raises(isthmus.IsthmusError, match="has no threshold beside its rule"):
            isthmus.from_pretrained(place(other), threshold=True)


@pytest.mark.parametrize("case", READ)
def test_what_was_read_is_an_ordinary_model(case, tmp_path):
    model, found = read(case), recorded(case)
    assert about(case)["class"]
    x = found["x"]
    data = {"in": x, "out": found["output"]} if model.signal.kind == "collection" else x
    isthmus.save(model, tmp_path / "saved")
    again = isthmus.load(tmp_path / "saved")
    assert torch.equal(again.encode(data), model.encode(data))
    assert again.cfg.metadata == model.cfg.metadata
    assert isthmus.from_pretrained(tmp_path / "saved").d_sae == model.d_sae
    if model.signal.kind == "collection":  # of its own output there is nothing to learn
        data = {**data, "out": data["out"].flip(0)}
    tuned = isthmus.fit(model.config["recipe"], data, start=model, steps=2, progress=False)
    assert tuned.d_sae == model.d_sae
    assert not torch.equal(tuned.W_enc, model.W_enc)
