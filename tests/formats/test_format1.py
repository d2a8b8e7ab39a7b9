"""Every small run that version 0.1.0 wrote is read, and gone on with, to the numbers of its time.

The folder ``format1`` was written by ``make_format1.py`` with the code of 0.1.0.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import isthmus
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE, AuxK, dead_latents

FORMAT1 = Path(__file__).parent / "format1"
EXPECTED = json.loads((FORMAT1 / "expected.json").read_text())
UNFINISHED = [name for name, wanted in EXPECTED.items() if "resumed" in wanted]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Rounding differs between processors, and twenty steps carry it on."""


def rows_of(name):
    return np.load(FORMAT1 / name.partition("/")[0] / "rows.npy")


def own():
    """The untrained model of the folder ``own``, which no recipe builds."""
    return isthmus.Autoencoder(
        isthmus.Signal.infer(rows_of("own")),
        encoder=nn.Linear(12, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 12),
        objective=MSE(),
    )


def agrees(model, arrays, tolerance=CLOSE):
    """Codes and reconstructions are those that were noted; a transcoder reads two parts now."""
    with np.load(FORMAT1 / arrays) as noted:
        x = noted["x"]
        if "in" in model.signal.parts:
            x = {"in": x[:, :7], "out": x[:, 7:]}
        np.testing.assert_allclose(model.encode(x), noted["encode"], **CLOSE)
        assert ("reconstruct" in noted.files) == (model.decoder is not None)
        if model.decoder is not None:
            np.testing.assert_allclose(model.reconstruct(x), noted["reconstruct"], **tolerance)


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_read_as_it_was(name):
    model = isthmus.load(FORMAT1 / name, *([own()] if name == "own" else []))
    agrees(model, EXPECTED[name]["arrays"])


@pytest.mark.parametrize("name", UNFINISHED)
def test_going_on_ends_on_the_same_weights(name, tmp_path, monkeypatch):
    # AuxK was a squared error, then; now it is a share of the residual's.
    monkeypatch.setattr(dead_latents, "AuxK", lambda k, relative, **options: AuxK(k, **options))
    wanted, (top, _, variant) = EXPECTED[name], name.partition("/")
    shutil.copytree(FORMAT1 / top, tmp_path / top)
    if variant:
        models = isthmus.resume_many(tmp_path / top, rows_of(name), progress=False)
        model = models[variant]
    else:
        model = isthmus.resume(tmp_path / top, rows_of(name), progress=False)
    found, noted = model.state_dict(), load_file(FORMAT1 / wanted["resumed"]["weights"])
    assert set(found) == set(noted)
    # Of several players each moved the running statistics, then; now the first of a step does.
    moved = {key for key in noted if name == "bigan-unfinished" and key.endswith(STATISTICS)}
    for key in set(noted) - moved:
        torch.testing.assert_close(
            found[key], noted[key], **CLOSE, msg=lambda m, k=key: f"{k}: {m}"
        )
    assert {key for key in moved if not torch.equal(found[key], noted[key])} == moved
    agrees(model, wanted["resumed"]["arrays"], {"rtol": 0.0, "atol": 0.02} if moved else CLOSE)


def test_a_run_at_another_step_would_be_noticed():
    """The tolerance is far below what ten steps move."""
    for name in UNFINISHED:
        noted = load_file(FORMAT1 / EXPECTED[name]["resumed"]["weights"])
        before = load_file(FORMAT1 / name / "model.safetensors")
        apart = [
            k for k in noted if not torch.allclose(noted[k].float(), before[k].float(), **CLOSE)
        ]
        assert apart, name
