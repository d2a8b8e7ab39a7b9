"""Damaged and contradictory files, through ``from_pretrained`` and through ``isthmus inspect``.

Each is refused by both in one sentence, or read with a note that both show. What only the weights
tell (no numbers, square ones the wrong way round), ``inspect`` says that it did not look at.
"""

import json
import pickle
import shutil
import struct

import pytest
import torch

import isthmus
from commands import run
from damaged import configured, copied, edited, square, without
from peers import FIXTURES

SAE, DL, PLAIN = "saelens/jumprelu", "dictionary_learning/batchtopk", "saelens/standard"
WEIGHTS = "sae_weights.safetensors"


def of(case, change=None, name=WEIGHTS, file="cfg.json", **settings):
    """How to make a damaged copy of a case."""

    def make(tmp_path):
        folder = copied(case, tmp_path)
        if change is not None:
            edited(folder, change, name)
        return configured(folder, file, **settings) if settings else folder

    return make


def written(case, content, name=WEIGHTS):
    """A copy, one file of which holds other bytes, or those made of its own."""

    def make(tmp_path):
        folder = copied(case, tmp_path)
        path = folder / name
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)
        return folder

    return make


def trainer(change=None, **settings):
    """A copy of a dictionary_learning folder with other settings of its trainer."""

    def make(tmp_path):
        folder = copied(DL, tmp_path)
        if change is not None:
            edited(folder, change, "ae.pt")
        path = folder / "config.json"
        cfg = json.loads(path.read_text())
        cfg["trainer"] |= settings
        path.write_text(json.dumps(cfg))
        return folder

    return make


def put(name, index, value):
    def change(tensors):
        tensors[name].view(-1)[index] = value

    return change


def turned(*names):
    return lambda t: {n: v.T if n in names else v for n, v in t.items()}


def swapped(tensors):
    return {**tensors, "W_enc": tensors["W_dec"], "W_dec": tensors["W_enc"]}


def header(change):
    """Bytes of a safetensors file with another header."""

    def content(whole):
        size = struct.unpack("<Q", whole[:8])[0]
        about = json.loads(whole[8 : 8 + size])
        change(about)
        text = json.dumps(about).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + size :]

    return content


class Trap:
    def __reduce__(self):
        return (shutil.rmtree, ("/tmp/nothing-of-this-name",))


def trapped(tmp_path):
    torch.save({"encoder.weight": Trap()}, tmp_path / "ae.pt")
    return tmp_path / "ae.pt"


def pickled(tmp_path):
    (tmp_path / "ae.pt").write_bytes(pickle.dumps({"encoder.weight": Trap()}))
    return tmp_path / "ae.pt"


def lacking(name):
    def make(tmp_path):
        folder = copied(SAE, tmp_path)
        (folder / name).unlink()
        return folder

    return make


def shorter(tensors):
    return {**tensors, "b_enc": tensors["b_enc"][:-1]}


def halved(about):
    about["b_enc"]["dtype"] = "F16"


REFUSED = {
    "a bias lacks": (of(SAE, without("b_enc")), "lacks b_enc"),
    "thresholds lack": (of(SAE, without("threshold")), "lacks threshold"),
    "a bias is too short": (of(SAE, shorter), "b_enc"),
    "an unknown tensor": (of(SAE, lambda t: {**t, "b_extra": torch.zeros(3)}), "b_extra"),
    "an unknown setting": (of(SAE, clamp_above=3.0), "clamp_above"),
    "an unknown normalisation": (of(SAE, normalize_activations="zca"), "'zca'"),
    "an unknown architecture": (of(SAE, architecture="jumpreelu"), "did you mean 'jumprelu'"),
    "no architecture": (of(SAE, architecture=None), "architecture"),
    "encoder and decoder swapped": (of(SAE, swapped), "swapped or transposed"),
    "a transposed decoder": (of(SAE, turned("W_dec")), "swapped or transposed"),
    "three axes": (of(SAE, lambda t: {**t, "W_enc": t["W_enc"][None]}), "W_enc"),
    "whole numbers": (of(SAE, lambda t: {**t, "W_enc": t["W_enc"].long()}), "W_enc of type int64"),
    "d_in says otherwise": (of(SAE, d_in=9), "d_in|9"),
    "d_sae says otherwise": (of(SAE, d_sae=64), "d_sae|64"),
    "d_in is a word": (of(SAE, d_in="eight"), "d_in"),
    "k above the latents": (of("saelens/topk", k=100), "k=100"),
    "k of nothing": (of("saelens/topk", k=0), "k=0"),
    "k says otherwise": (trainer(k=7), "k=7"),
    "k of nothing in sparsify": (of("sparsify/topk", k=0), "case says k=0, .*mend it"),
    "k below nothing": (of("sparsify/groupmax", k=-3), "case says k=-3, .*mend it"),
    "k is a word": (of("sparsify/topk", k="four"), "case says k='four', .*whole number: mend it"),
    "half a latent": (of("sparsify/topk", k=2.5), "case says k=2.5, .*whole number: mend it"),
    "k is a word in a trainer": (trainer(without("k"), k="four"), "case says k='four'"),
    "no k in a trainer": (trainer(without("k"), k=None), "case says k=None"),
    "an unknown setting of a trainer": (
        trainer(gates=2),
        r"settings of the trainer.*gates.*ignore=\['gates'\]",
    ),
    "three axes beside another's settings": (
        of(DL, lambda t: {**t, "encoder.weight": t["encoder.weight"][None]}, "ae.pt"),
        "three axes.*lacks decoder.bias: fetch it again",
    ),
    "three axes of one": (
        of("sparsify/topk", lambda t: {**t, "W_dec": t["W_dec"][None]}, "sae.safetensors"),
        "W_dec of shape .*two axes",
    ),
    "the class says otherwise": (trainer(dict_class="AutoEncoder"), "not known here"),
    "the scaling factor of old": (
        of(PLAIN, lambda t: {**t, "scaling_factor": torch.full((32,), 1.5)}),
        "scaling_factor",
    ),
    "a file cut off": (written(SAE, lambda whole: whole[:-10]), "damaged"),
    "a header cut off": (written(SAE, lambda whole: whole[:40]), "damaged"),
    "an empty file": (written(SAE, b""), "damaged|empty"),
    "an empty archive": (written(DL, b"", "ae.pt"), "damaged|empty"),
    "a page of the web": (written(SAE, b"<!DOCTYPE html><html></html>"), "damaged"),
    "a pointer of git": (
        written(SAE, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "damaged|pointer",
    ),
    "settings that are no JSON": (written(SAE, b"{", "cfg.json"), "cfg.json"),
    "settings that are a list": (written(SAE, b"[1]", "cfg.json"), "cfg.json"),
    "a type that lies": (written(SAE, header(halved)), "damaged|b_enc"),
    "a pickle that runs code": (trapped, "can run code"),
    "a bare pickle": (pickled, "can run code|damaged"),
    "weights that lack": (lacking(WEIGHTS), "no layout|sae_weights"),
    "settings that lack": (lacking("cfg.json"), "cfg.json|layout"),
}
"""How to make it, and what both say."""

NOTED = {
    "a type that is another than the settings'": (
        of(SAE, dtype="bfloat16"),
        "its settings say dtype=bfloat16",
    ),
    "thresholds in bfloat16": (
        of(SAE, lambda t: {**t, "threshold": t["threshold"].bfloat16()}),
        "thresholds are stored in bfloat16",
    ),
    "a scaling factor of ones": (
        of(PLAIN, lambda t: {**t, "scaling_factor": torch.ones(32)}),
        "left out",
    ),
}
"""How to make it, and the note of both."""

ASKED = {
    "a scale lacks": (of(SAE, normalize_activations="expected_average_only_in"), "calibrate=X"),
    "a threshold never set": (
        of(DL, lambda t: {**t, "threshold": torch.tensor(-1.0)}, "ae.pt"),
        "calibrate=X",
    ),
}
"""How to make it, and what both ask for."""

UNREAD = {
    "NaN": (of(SAE, put("W_enc", 3, float("nan"))), "NaN or infinite|no numbers", None),
    "infinite": (of(SAE, put("b_dec", 3, float("inf"))), "NaN or infinite|no numbers", None),
    "a threshold that is NaN": (
        of(SAE, put("threshold", 3, float("nan"))),
        "NaN or infinite|no numbers",
        None,
    ),
    "negative thresholds": (of(SAE, put("threshold", 3, -0.5)), None, "thresholds are negative"),
    "an atom of no length": (
        of(SAE, put("W_dec", slice(0, 8), 0.0)),
        None,
        "1 atom has no length",
    ),
    "a square encoder transposed": (
        lambda tmp_path: square(tmp_path, turned("W_enc")),
        "square weights",
        None,
    ),
    "square weights swapped": (
        lambda tmp_path: square(tmp_path, swapped),
        "square weights",
        None,
    ),
}
"""How to make what only weights tell, what reading refuses, or notes."""


def sentence(said):
    """The one line of an error, however it was wrapped."""
    said = " ".join(said.split())
    assert len(said) < 700
    return said


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    make, match = REFUSED[name]
    where = make(tmp_path)
    with pytest.raises(isthmus.IsthmusError, match=match) as problem:
        isthmus.from_pretrained(where)
    own = str(problem.value)
    assert "\n" not in own
    assert sentence(own) in sentence(run("inspect", where, code=2)).replace("Error: ", "")


@pytest.mark.parametrize("name", NOTED)
def test_what_is_noted(name, tmp_path):
    make, match = NOTED[name]
    where = make(tmp_path)
    notes = isthmus.from_pretrained(where).cfg.metadata["notes"]
    assert any(match in note for note in notes), notes
    assert match in sentence(run("inspect", where))


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for(name, tmp_path):
    make, match = ASKED[name]
    where = make(tmp_path)
    with pytest.raises(isthmus.IsthmusError, match=match):
        isthmus.from_pretrained(where)
    assert match in sentence(run("inspect", where))


@pytest.mark.parametrize("name", UNREAD)
def test_what_only_weights_tell(name, tmp_path):
    make, error, note = UNREAD[name]
    where = make(tmp_path)
    if error is not None:
        with pytest.raises(isthmus.IsthmusError, match=error):
            isthmus.from_pretrained(where)
    else:
        notes = isthmus.from_pretrained(where).cfg.metadata["notes"]
        assert any(note in one for one in notes), notes
    said = sentence(run("inspect", where))
    assert "not looked at" in said
    assert ("square" in said) == ("square" in name)


def test_another_revision_is_refused_by_its_checksum():
    with pytest.raises(isthmus.IsthmusError, match="another revision or damaged"):
        isthmus.from_pretrained(FIXTURES / SAE, sha256="0" * 64)
    said = run("inspect", FIXTURES / SAE, "--sha256", "0" * 64, code=2)
    assert "another revision or damaged" in sentence(said)
    own = isthmus.from_pretrained(FIXTURES / SAE).cfg.metadata["sha256"][WEIGHTS]
    run("inspect", FIXTURES / SAE, "--sha256", own)


def test_there_are_more_than_twenty():
    assert len(REFUSED) + len(NOTED) + len(ASKED) + len(UNREAD) > 40
