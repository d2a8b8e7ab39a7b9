"""Write small runs of every kind in format 1, with what reading and resuming them gives.

    python tests/formats/make_format1.py -o tests/formats/format1

They are there for later versions to read, so they are made once, by the code of their time (0.1.0);
made again by the same code on the same machine they hold the same weights, and other rates and
versions. The runs are trained in a folder of their own, since ``config.json`` notes where the data
were.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and PyTorch read it

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE
from isthmus.training import Callback

PLACE = Path(tempfile.gettempdir()) / "isthmus-format1"
ROWS = "rows.npy"
SHARED: dict[str, Any] = {
    "steps": 12, "batch_size": 16, "warmup": 0, "seed": 0, "device": "cpu", "log_every": 4,
    "progress": False,
}  # fmt: skip
SMALL = {"latent_dim": 3, "hidden": (6,)}
SPARSE = {"latent_dim": 12, "dead_after": 40}
FINISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {**SMALL, "validation": 0.2}),
    "daef": ("daef", SMALL),
    "ard-vae": ("ard-vae", {**SMALL, "draws": 64}),
    "beta-tcvae": ("beta-tcvae", SMALL),
    "ciwae": ("ciwae", {**SMALL, "samples": 3, "learn_beta": True}),
    "jumprelu": ("jumprelu", {**SPARSE, "l0": 3.0, "sparsity_steps": 10}),
    "gated": ("gated", {**SPARSE, "l0": 3.0, "sparsity_steps": 10}),
    "batchtopk": ("batchtopk", {**SPARSE, "k": 3, "k_aux": 4}),
    "topological": ("topological", {"latent_dim": 2, "hidden": (6,)}),
    "depict": ("depict", {"latent_dim": 3, "clusters": 3, "maps": (4, 4), "memory": 32}),
    "bigan": ("bigan", SMALL),
    "pae": ("pae", SMALL),
    "barlow-twins": ("barlow-twins", {**SMALL, "projector": 6}),
    "mae": ("mae", {"latent_dim": 8, "depth": 1, "heads": 2, "decoder_width": 8,
                    "decoder_depth": 1}),
    "gon": ("gon", SMALL),
    "qlae": ("qlae", {**SMALL, "entries": 4}),
    "transcoder": ("transcoder", {**SPARSE, "inputs": 7, "sparsity": 0.01}),
    "transcoder-k": ("transcoder", {**SPARSE, "inputs": 7, "k": 3}),
    "transcoder-l0": ("transcoder", {**SPARSE, "inputs": 7, "l0": 3.0}),
}  # fmt: skip
"""Folder, recipe and options; ``depict`` reads images, the others vectors."""

UNFINISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "topk-unfinished": ("topk", {**SPARSE, "k": 3, "k_aux": 4}),
    "bigan-unfinished": ("bigan", {**SMALL, "average": 0.8}),
    "depict-unfinished": ("depict", FINISHED["depict"][1]),
}
MANY = {
    "topk": ("topk", {**SPARSE, "k": 3, "k_aux": 4, "average": 0.8}),
    "vae": ("vae", {**SMALL, "patience": 50, "validate_every": 2, "seed": 5}),
}
LENGTH = {"steps": 20, "save_every": 5}
STOP = 12
"""The step at which an unfinished run is killed: it goes on from step 10."""

README = """\
Small runs of every kind in format 1, written by tests/formats/make_format1.py, for later code to
read. `expected.json` says of each folder what it is, the digest of its weights, and that after
resuming. `expected/` has, under the same names, four rows with their codes and reconstructions, and
the weights after resuming.
"""


class Killed(BaseException):
    """As a kill: nothing is saved on the way out."""


class Kill(Callback):
    """Kills the run after a step."""

    def on_step(self, trainer: Any, step: int) -> None:
        if step == STOP:
            raise Killed


def vectors() -> np.ndarray:
    """Rows ``(48, 12)`` of rank three and noise."""
    rng = np.random.default_rng(1)
    basis, weights = rng.normal(size=(3, 12)), rng.normal(size=(48, 3))
    rows = 0.1 * rng.normal(size=(48, 12))
    for i in range(3):
        rows = rows + weights[:, i : i + 1] * basis[i]
    return rows.astype(np.float32)


def images() -> np.ndarray:
    """Images ``(32, 1, 8, 8)`` in [0, 1]."""
    return np.random.default_rng(2).random((32, 1, 8, 8), dtype=np.float32)


def own() -> Autoencoder:
    """An untrained autoencoder that no recipe builds; the seed is that of its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(
            isthmus.Signal.infer(vectors()),
            encoder=nn.Linear(12, 3),
            bottleneck=Identity(),
            decoder=nn.Linear(3, 12),
            objective=MSE(),
        )


OWN = (
    "Autoencoder(Signal.infer(rows), encoder=nn.Linear(12, 3), bottleneck=Identity(), "
    "decoder=nn.Linear(3, 12), objective=MSE())"
)


def digest(model: Autoencoder) -> str:
    """SHA-256 over the names and bytes of all weights and buffers, in the order of the names."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


class Maker:
    """Trains the runs in ``place`` and gathers what reading them gives."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.expected: dict[str, dict[str, Any]] = {}

    def rows(self, folder: str, images_too: bool = False) -> str:
        """Put the data into the folder and step into it, so that their name is relative."""
        (self.place / folder).mkdir(parents=True)
        os.chdir(self.place / folder)
        np.save(ROWS, images() if images_too else vectors())
        return ROWS

    def given(self, name: str, model: Autoencoder, suffix: str = "") -> dict[str, str]:
        """The digest of the weights, and the file of what the model gives for four rows."""
        X = np.load(self.place / name.partition("/")[0] / ROWS)[:4]
        arrays = {"x": X, "encode": model.encode(X)}
        if model.decoder is not None:
            arrays["reconstruct"] = model.reconstruct(X)
        there = f"expected/{name.replace('/', '-')}{suffix}.npz"
        (self.place / "expected").mkdir(exist_ok=True)
        np.savez_compressed(self.place / there, **arrays)
        return {"digest": digest(model), "arrays": there}

    def note(self, name: str, model: Autoencoder, kind: str, recipe: str | None) -> None:
        """What reading the run gives."""
        self.expected[name] = {"kind": kind, "recipe": recipe, **self.given(name, model)}

    def note_resumed(self, name: str, model: Autoencoder) -> None:
        """What going on with the run to its end gives."""
        there = f"expected/{name.replace('/', '-')}-resumed.safetensors"
        save_file({n: t.contiguous() for n, t in model.state_dict().items()}, self.place / there)
        found = {**self.given(name, model, "-resumed"), "weights": there}
        self.expected[name]["resumed"] = found

    def finished(self) -> None:
        """Runs that came to their end, one of a model of one's own, and one saved by itself."""
        for folder, (recipe, options) in FINISHED.items():
            rows = self.rows(folder, recipe == "depict")
            model = isthmus.fit(recipe, rows, out=".", **{**SHARED, **options})
            self.agree(folder, model, isthmus.load("."))
            self.note(folder, model, "finished", recipe)
        model = isthmus.fit(own(), self.rows("own"), out=".", **SHARED)
        self.agree("own", model, isthmus.load(".", own()))
        self.note("own", model, "finished", None)
        self.expected["own"]["model"] = OWN
        model = isthmus.load(self.place / "vae")
        self.rows("saved")
        isthmus.save(model, ".")
        self.note("saved", isthmus.load("."), "saved", "vae")

    def unfinished(self) -> None:
        """Runs with training state, of one model and of several."""
        for folder, (recipe, options) in UNFINISHED.items():
            rows, settings = self.rows(folder, recipe == "depict"), {**SHARED, **LENGTH, **options}
            self.killed(
                lambda k, r=recipe, x=rows, o=settings: isthmus.fit(r, x, out=".", **o, **k)
            )
            whole = isthmus.fit(recipe, rows, **settings)
            resumed = isthmus.resume(self.copy(folder), rows, progress=False)
            self.agree(folder, whole, resumed)
            self.note(folder, isthmus.load("."), "unfinished", recipe)
            self.note_resumed(folder, resumed)
        rows, settings = self.rows("many"), {**SHARED, **LENGTH, "validation": 0.25}
        self.killed(lambda k: isthmus.fit_many(MANY, rows, out=".", **settings, **k))
        wholes = isthmus.fit_many(MANY, rows, **settings)
        models = isthmus.resume_many(self.copy("many"), rows, progress=False)
        for name, model in models.items():
            self.agree(f"many/{name}", wholes[name], model)
            again = isthmus.load(name)
            self.note(f"many/{name}", again, "variant", MANY[name][0])
            self.note_resumed(f"many/{name}", model)

    def killed(self, run: Callable[[Mapping[str, Any]], object]) -> None:
        """Run until the kill."""
        try:
            run({"callbacks": [Kill()]})
        except Killed:
            return
        raise SystemExit("the run came to its end")

    def copy(self, folder: str) -> Path:
        """A copy to resume, which the folder itself must not be."""
        there = self.place / "resumed" / folder
        shutil.copytree(self.place / folder, there)
        return there

    def agree(self, name: str, one: Autoencoder, other: Autoencoder) -> None:
        """Stop where two models that must be the same are not."""
        if digest(one) != digest(other):
            raise SystemExit(f"{name}: the weights are not the same again")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("-o", "--out", type=Path, required=True)
    out = options.parse_args().out.resolve()
    if out.exists():
        raise SystemExit(f"{out} exists: remove it first, if the runs are to be made anew")
    torch.set_num_threads(1)
    shutil.rmtree(PLACE, ignore_errors=True)
    maker = Maker(PLACE)
    maker.finished()
    maker.unfinished()
    os.chdir(out.parent)
    shutil.rmtree(PLACE / "resumed")
    (PLACE / "expected.json").write_text(json.dumps(maker.expected, indent=1) + "\n")
    (PLACE / "README.md").write_text(README)
    for path in PLACE.rglob("*.safetensors"):
        path.chmod(0o644)  # which safetensors leaves to its owner alone
    shutil.move(PLACE, out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(maker.expected)} runs, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
