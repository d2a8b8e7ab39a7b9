import hashlib
import itertools
import json
import math
from dataclasses import replace
from importlib.resources import files

import pytest
import torch
from torch.nn import functional as F

from isthmus.language import Tokenizer, documents, open_model, pack, resident
from isthmus.language import resident_texts as samples
from isthmus.language.corpus import available, held_out_text
from isthmus.language.weight_fingerprint import fingerprint

FOLDER = files("isthmus.language") / "resident"


def test_it_opens_once_and_is_ready_to_look_into():
    model = resident()
    assert open_model("resident") is model
    assert (model.name, model.context, model.causal, model.layers) == (
        "resident",
        256,
        True,
        "layers.*",
    )
    assert isinstance(model.tokenizer, Tokenizer)
    assert not model.module.training
    assert not any(p.requires_grad for p in model.module.parameters())
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    assert len(model.module.layers) == 4


def test_it_takes_at_most_eight_megabytes():
    assert sum(len(file.read_bytes()) for file in FOLDER.iterdir()) <= 8e6


def test_its_revision_names_its_weights():
    model = resident()
    assert model.revision == fingerprint(model.module)
    changed = {k: v.clone() for k, v in model.module.state_dict().items()}
    other = type(model.module)(model.module.shape)
    other.load_state_dict(changed)
    assert fingerprint(other) == model.revision
    with torch.no_grad():
        other.embed.weight[0, 0] += 1
    assert fingerprint(other) != model.revision


def test_the_unembedding_folds_the_gain_in():
    model = resident()
    residual = torch.randn(3, 192)
    size = (residual.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    logits = F.linear(model.module.norm(residual), model.module.embed.weight)
    torch.testing.assert_close(residual / size @ model.unembedding.T, logits)


@pytest.mark.skipif(not available(), reason="the corpora are not here")
def test_its_loss_is_the_one_that_its_config_states():
    model = resident()
    stated = json.loads((FOLDER / "config.json").read_text())["training"]
    tokens = pack(held_out_text(), model.tokenizer, limit=5_000)
    total = count = 0.0
    for begin in range(0, len(tokens), 16):
        ids, mask = tokens.ids[begin : begin + 16], tokens.mask[begin : begin + 16]
        logits = model.logits(ids, mask)[:, :-1]
        loss = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        total += float(loss[mask[:, 1:]].sum())
        count += int(mask[:, 1:].sum())
    assert math.isclose(total / count, stated["held_out_nats_per_token"], abs_tol=0.2)


def test_samples_are_the_same_each_time_and_the_first_of_more():
    few, more = documents("samples:3"), documents("samples:5")
    assert [d.name for d in few] == ["sample 0", "sample 1", "sample 2"]
    assert more[:3] == few
    assert len({d.text for d in more}) == 5
    assert all(len(d.text) > 200 for d in more)


def test_samples_beyond_those_in_the_package_are_drawn(monkeypatch):
    shipped = samples._shipped()
    monkeypatch.setattr(samples, "_shipped", lambda: shipped[:2])
    monkeypatch.setattr(samples, "_AT_ONCE", 2)
    short = replace(resident(), context=20)
    monkeypatch.setattr(samples, "resident", lambda: short)
    begun = documents("samples:3")
    assert [d.text for d in begun[:2]] == list(shipped[:2])
    assert begun[2].text == next(iter(samples.written(3, skip=2)))
    assert begun[2].text == next(itertools.islice(samples.written(4), 2, None))


def test_the_samples_in_the_package_are_of_this_model():
    import lzma

    head, *rest = lzma.decompress((FOLDER / "samples.jsonl.xz").read_bytes()).splitlines()
    about = json.loads(head)
    assert about["revision"] == resident().revision
    digest = hashlib.sha256(b"\n".join(rest)).hexdigest()
    assert about["sha256"] == digest
