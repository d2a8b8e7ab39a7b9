"""What the tests of the stepper, of stages and of hooks share."""

import shutil

import torch
import toys
from torch import nn

import zoo
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.training import Callback, read_checkpoint


def linear(objective=None, **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 6), objective=objective, **parts,
    )  # fmt: skip


def late(run, every=4):
    """As on an accelerator, where a look would make every step wait."""
    equip = run._equip

    def equipped():
        equip()
        run.stepper.finite.every = every

    run._equip = equipped
    return run


class Keep(Callback):
    def __init__(self, to):
        self.to = to

    def on_save(self, run, folder):
        shutil.copytree(folder, self.to / str(run.step))


def resumes(tmp_path, make, steps=9, **options):
    """Stopped after any step, the run ends on the bits of the whole one."""
    kept = tmp_path / "kept"
    kept.mkdir()
    run = toys.trainer(
        make(), tmp_path / "run", steps=steps, save_every=1, callbacks=[Keep(kept)], **options
    )
    whole = run.run()
    bare = toys.trainer(make(), steps=steps, **options).run()
    assert zoo.sha(bare) == zoo.sha(whole)
    found = sorted(int(p.name) for p in kept.iterdir())
    assert found == list(range(run.step + 1))
    for step in found:
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        again = toys.trainer(model, kept / str(step), steps=steps, save_every=1000, **options)
        again.restore(read_checkpoint(kept / str(step), state=True))
        assert zoo.sha(again.run()) == zoo.sha(whole), f"differs from step {step} on"
    return whole
