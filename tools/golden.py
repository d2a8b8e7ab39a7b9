"""Record the bits that training gives, and check that later code gives them again.

    python tools/golden.py --record before.json
    python tools/golden.py --check before.json [--only 'topk*']

Recorded is what the code before a refactoring gives; the project keeps none of it. Recording writes
out every option of every case, so that a check trains with the same ones whatever the defaults have
become. Beside the JSON lies a ``.safetensors`` with the weights, each tensor under its own SHA-256,
from which deviations are measured. Rounding differs between processors and versions of PyTorch: a
check elsewhere than where was recorded says so.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and PyTorch read it

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import isthmus
from isthmus.anatomy import tree
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import Recipe, recipes
from isthmus.testing.small import SMALL, TEXTS

FORMAT = 1
SIZES: dict[str, Any] = {**SMALL, "maps": (6, 6), "memory": 64, "draws": 64}
"""Sizes by option name; a recipe takes those that it has."""

TRAINING: dict[str, Any] = {
    "steps": 20, "epochs": None, "batch_size": 16, "accumulate": 1, "precision": "32",
    "compile": False, "validation": 0.0, "validate_every": None, "patience": None, "seed": 0,
    "data_seed": 0, "device": "cpu", "log_every": 1, "save_every": None, "tensorboard": False,
}  # fmt: skip
"""What all cases share; the optimiser and its schedule are those that the recipe publishes."""

WARMUP = 5
"""Steps of warm-up at most, so that a run of 20 steps moves the weights."""

SPARSE = (
    "abstopk", "batchtopk", "gated", "jumprelu", "k-sparse", "llama-scope", "matryoshka", "msae",
    "relu-l1", "topk", "transcoder",
)  # fmt: skip
STORED = 2048
"""Elements of a tensor that are kept, evenly spread, to measure deviations from."""

PATHS = ("reference", "torch", "native")
WIDE = {"latent_dim": 384, "k": 4, "k_aux": 8}
CONTROLLED = {"latent_dim": 384, "l0": 3.0, "steps": 40}
"""So few active latents of so many that every path multiplies in its own way."""
LONG = {"steps": 60, "validation": 0.2, "validate_every": 7}
CHANNELS = {"hidden": [4, 8]}


@dataclass(frozen=True)
class Case:
    """A recipe with what differs from its small size, or, by name, the variants of one pass."""

    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    rows: str = "auto"
    path: str = "native"
    variants: Mapping[str, "Case"] = field(default_factory=dict)


def cases() -> dict[str, Case]:
    """Every recipe as it is, and what a recipe has in further states, paths and signals."""
    made = {name: Case(name) for name in recipes()}
    for name in SPARSE:
        made[f"{name} accumulate=2"] = Case(name, {"accumulate": 2})
    for path in PATHS:
        made[f"topk on {path}"] = Case("topk", WIDE, path=path)
        made[f"batchtopk on {path}"] = Case("batchtopk", WIDE, path=path)
        for name in ("jumprelu", "gated", "relu-l1"):
            made[f"{name} l0 on {path}"] = Case(name, CONTROLLED, path=path)
    for name in ("abstopk", "llama-scope", "matryoshka", "msae", "transcoder"):
        made[f"{name} wide"] = Case(name, {"latent_dim": 384, "k": 4})
    made["topk wide accumulate=2"] = Case("topk", {**WIDE, "accumulate": 2})
    for name in ("beta-tcvae", "ard-vae", "depict"):
        made[f"{name} long"] = Case(name, LONG)
    made["depict long dec"] = Case("depict", {**LONG, "target": "dec", "pretraining": 0.1})
    made["beta-tcvae stratified"] = Case("beta-tcvae", {"estimator": "stratified"})
    for name in ("plain", "vae", "denoising", "swae", "barlow-twins", "beta-tcvae"):
        made[f"{name} on images"] = Case(name, CHANNELS, "images")
    for name in ("topk", "mae", "gon", "ard-vae"):
        made[f"{name} on images"] = Case(name, {"hidden": None} if name == "gon" else {}, "images")
    for option, value in (("sparsity", 0.01), ("k", 3), ("l0", 3.0)):
        changes = {"latent_dim": 24, "k": None, option: value}
        made[f"transcoder of two parts {option}"] = Case("transcoder", changes, "pair")
    made["transcoder l0"] = Case("transcoder", {"k": None, "l0": 3.0})
    made["relu-l1 tied"] = Case("relu-l1", {"tied": True})
    made["jumprelu auxk"] = Case("jumprelu", {**CONTROLLED, "auxk_weight": 0.03})
    made["topk anneal multi"] = Case("topk", {"k_start": 6, "multi_weight": 0.125})
    made["ciwae learn_beta"] = Case("ciwae", {"learn_beta": True})
    made["iwae doubly"] = Case("iwae", {"doubly": True})
    made["gon variational"] = Case("gon", {"variational": True})
    made["bigan accumulate=2"] = Case("bigan", {"accumulate": 2})
    made["bigan average"] = Case("bigan", {"average": 0.9, "clip": 1.0})
    made["vae accumulate=2"] = Case("vae", {"accumulate": 2})
    made["vae bf16"] = Case("vae", {"precision": "bf16"})
    made["topk bf16"] = Case("topk", {**WIDE, "precision": "bf16"})
    patient = {"validation": 0.2, "validate_every": 2, "patience": 2, "lr": 3.0}
    made["plain patience"] = Case("plain", patient)
    shared = {"validation": 0.2, "validate_every": 3}
    made["fit_many"] = Case(
        "",
        variants={
            "topk": Case("topk", shared),
            "wide": Case("topk", {**shared, **WIDE, "seed": 5, "average": 0.8}),
            "noisy": Case("denoising", {**shared, "seed": 2, "accumulate": 2}),
            "short": Case("ard-vae", {**shared, "steps": 13}),
            "players": Case("bigan", {**shared, "seed": 3}),
        },
    )
    return made


# --- data --------------------------------------------------------------------------------------


def made_rows() -> dict[str, Any]:
    """Vectors ``(96, 12)`` of rank three and noise, the same in two parts, images
    ``(96, 1, 16, 16)`` in [0, 1], a collection and texts.

    Only sums and products element by element, whose rounding no machine may choose.
    """
    vectors = _rows((12,), False)
    return {
        "vectors": vectors,
        "images": _rows((1, 16, 16), True),
        "collection": {"image": _rows((1, 8, 8), True), "vector": vectors},
        "texts": TEXTS,
        "pair": {"in": vectors[:, :7], "out": vectors[:, 7:]},
    }


def digest_of_rows(rows: Any) -> str:
    """SHA-256 of the bytes of every part, or of texts."""
    if isinstance(rows, list):
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()
    digest = hashlib.sha256()
    tree.mapped(lambda part: digest.update(np.ascontiguousarray(part).tobytes()), rows)
    return digest.hexdigest()


def _rows(shape: tuple[int, ...], unit: bool, n: int = 96, rank: int = 3) -> np.ndarray:
    rng, size = np.random.default_rng(0), int(np.prod(shape))
    basis, weights = rng.normal(size=(rank, size)), rng.normal(size=(n, rank))
    rows = 0.1 * rng.normal(size=(n, size))
    for i in range(rank):
        rows = rows + weights[:, i : i + 1] * basis[i]
    if unit:
        rows = 0.5 + 0.5 * rows / (1.0 + np.abs(rows))
    return rows.astype(np.float32).reshape(n, *shape)


# --- one case ----------------------------------------------------------------------------------


def written_out(case: Case, rows: Mapping[str, Any]) -> dict[str, Any]:
    """The case for the JSON: recipe, rows, path and every option, those by default too."""
    if case.variants:
        variants = {name: written_out(one, rows) for name, one in case.variants.items()}
        kinds = {one["rows"] for one in variants.values()}
        assert len(kinds) == 1
        return {"variants": variants, "rows": kinds.pop(), "path": case.path}
    recipe = recipes()[case.recipe]
    small = {k: v for k, v in SIZES.items() if k in recipe.model_options.model_fields}
    model, training = recipe.parse({**small, **TRAINING, **case.changes})
    options = {**model, **training.model_dump(mode="json")}
    options["warmup"] = min(WARMUP, options["warmup"])
    kind = case.rows if case.rows != "auto" else _fitting(recipe, model, rows)
    plain = json.loads(json.dumps(options))
    return {"recipe": case.recipe, "rows": kind, "path": case.path, "options": plain}


def _fitting(recipe: Recipe, options: dict[str, Any], rows: Mapping[str, Any]) -> str:
    """The first kind of rows that the recipe reads."""
    for kind in ("vectors", "images", "collection", "texts"):
        with contextlib.suppress(IsthmusError):
            recipe.build(as_source(rows[kind]).signal, options)
            return kind
    raise SystemExit(f"{recipe.name} reads none of the rows")


@dataclass
class Trained:
    """What a case gave; ``notes`` say what no longer is as it was recorded."""

    weights: dict[str, Tensor]
    losses: dict[str, list[dict[str, float]]]
    notes: list[str]


def train(asked: Mapping[str, Any], rows: Mapping[str, Any]) -> Trained:
    """Train a case as it was written out; options that are no more are noted and left out."""
    source, notes = as_source(rows[asked["rows"]]), []
    single = "variants" not in asked
    variants = {"": asked} if single else asked["variants"]
    options = {name: dict(one["options"]) for name, one in variants.items()}
    while True:
        try:
            with _on(asked["path"], notes):
                if single:
                    model = isthmus.fit(asked["recipe"], source, progress=False, **options[""])
                    models = {"": model}
                else:
                    listed = {n: (variants[n]["recipe"], o) for n, o in options.items()}
                    models = isthmus.fit_many(listed, source, progress=False)
            break
        except IsthmusError as problem:
            gone = _refused_option(str(problem), options)
            if gone is None:
                raise
            notes.append(f"option {gone} no longer exists")
            for one in options.values():
                one.pop(gone, None)
    weights, losses = {}, {}
    for name, model in models.items():
        prefix = f"{name}/" if name else ""
        for key, tensor in model.state_dict().items():
            weights[prefix + key] = tensor.detach().cpu().contiguous().clone()
        losses[name] = [_figures(record) for record in model.history]
    return Trained(weights, losses, sorted(set(notes)))


@contextlib.contextmanager
def _on(path: str, notes: list[str]) -> Iterator[None]:
    torch.set_num_threads(1)
    try:
        from isthmus.kernels import using
    except ImportError:
        notes.append("isthmus.kernels.using no longer exists: trained on the path by default")
        yield
        return
    with using(path):  # type: ignore[arg-type]
        yield


def _refused_option(message: str, options: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The option that an error calls unknown, where that is what it says."""
    if "option" not in message or not re.search(r"unknown|no option|no such", message):
        return None
    given = {name for one in options.values() for name in one}
    return next((word for word in re.findall(r"'([^']+)'", message) if word in given), None)


def _figures(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, (int, float)) and name != "rows_per_second"
    }


def sha(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def spread(tensor: Tensor) -> Tensor:
    """The tensor, or some ``STORED`` elements of a larger one."""
    every = tensor.numel() // STORED
    return tensor if every < 2 else tensor.reshape(-1)[::every].clone()


def digest_of(shas: Mapping[str, str]) -> str:
    """One digest of all tensors, by name."""
    return hashlib.sha256(
        "\n".join(f"{n} {s}" for n, s in sorted(shas.items())).encode()
    ).hexdigest()


def machine() -> dict[str, str]:
    """What the bits depend on beside the code."""
    try:
        from isthmus.kernels.library import explain

        kernels = explain()
    except ImportError:
        kernels = "unknown"
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "kernels": kernels,
    }


# --- recording ---------------------------------------------------------------------------------


def record(path: Path) -> None:
    """Train every case and write the JSON and the weights."""
    if path.exists():
        raise SystemExit(f"{path} exists: remove it first, if the bits are to be recorded anew")
    rows, found, tensors = made_rows(), {}, {}
    for name, case in cases().items():
        asked = written_out(case, rows)
        trained = train(asked, rows)
        if trained.notes:
            raise SystemExit(f"{name}: {'; '.join(trained.notes)}")
        shas = {n: sha(t) for n, t in trained.weights.items()}
        tensors.update({shas[n]: spread(t) for n, t in trained.weights.items()})
        results = {"digest": digest_of(shas), "weights": shas, "losses": trained.losses}
        found[name] = {**asked, **results}
        print(f"{name:34} {results['digest'][:16]}", flush=True)
    head = {
        "format": FORMAT,
        "machine": machine(),
        "rows": {name: digest_of_rows(one) for name, one in rows.items()},
    }
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in found.items()]
    text = json.dumps(head, indent=1).removesuffix("\n}") + ',\n "cases": {\n'
    path.write_text(text + ",\n".join(lines) + "\n }\n}\n")
    weights = path.with_suffix(".safetensors")
    save_file(tensors, weights)
    weights.chmod(0o644)  # which safetensors leaves to its owner alone


# --- checking ----------------------------------------------------------------------------------


@dataclass
class Compared:
    """How the weights and losses of a case differ from what was recorded."""

    same: int = 0
    renamed: list[tuple[str, str]] = field(default_factory=list)
    differing: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every recorded tensor is there, under whatever name, and all losses are equal."""
        return not (self.differing or self.missing or self.losses)


def compare(old: Mapping[str, Any], trained: Trained, stored: Mapping[str, Tensor]) -> Compared:
    """By name first; what is left over by SHA-256, one to one, then by name with deviations."""
    was, found = old["weights"], Compared()
    now = {name: sha(tensor) for name, tensor in trained.weights.items()}
    left = {n: s for n, s in was.items() if now.get(n) != s}
    free = {n: s for n, s in now.items() if was.get(n) != s}
    found.same = len(was) - len(left)
    for name in list(left):
        alike = [other for other, s in free.items() if s == left[name]]
        if alike:
            other = max(alike, key=lambda o: _common_end(name, o))
            found.renamed.append((name, other))
            del left[name], free[other]
    for name in left:
        if name not in free:
            found.missing.append(name)
            continue
        del free[name]
        found.differing.append((name, deviation(stored[was[name]], trained.weights[name])))
    found.new = list(free)
    for name, records in old["losses"].items():
        found.losses += _compared_losses(name, records, trained.losses.get(name, []))
    return found


def _common_end(one: str, other: str) -> int:
    """Parts of dotted names that agree, from the last."""
    pairs = zip(reversed(one.split(".")), reversed(other.split(".")), strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b), min(one.count("."), other.count("."))
    )


def deviation(old: Tensor, new: Tensor) -> str:
    """The largest deviation from the kept elements, relative to the largest magnitude of these."""
    new = spread(new)
    if old.shape != new.shape:
        return f"shape {tuple(old.shape)} is now {tuple(new.shape)}"
    a, b = old.double(), new.double()
    if not a.numel():
        return f"dtype {old.dtype} is now {new.dtype}"
    relative = ((a - b).abs().max() / a.abs().max().clamp_min(1e-30)).item()
    kind = "" if old.dtype == new.dtype else f", dtype {old.dtype} is now {new.dtype}"
    return f"max relative deviation {relative:.2e}{kind}"


def _compared_losses(title: str, old: list[dict], new: list[dict]) -> list[str]:
    said, prefix = [], f"{title}: " if title else ""
    if len(old) != len(new):
        said.append(f"{prefix}{len(old)} records are now {len(new)}")
    names = dict.fromkeys(name for one in old for name in one)
    now = {name for one in new for name in one}
    for name in names:
        if name not in now:
            said.append(f"{prefix}{name} is no longer logged")
            continue
        pairs = [
            (a.get(name), b.get(name))
            for a, b in zip(old, new, strict=False)
            if name in a or name in b
        ]
        if any(a is None or b is None for a, b in pairs):
            said.append(f"{prefix}{name} is logged at other steps")
        pairs = [(a, b) for a, b in pairs if a is not None and b is not None and a != b]
        if pairs:
            worst = max(abs(a - b) / max(abs(a), 1e-30) for a, b in pairs)
            said.append(f"{prefix}{name} differs in {len(pairs)} records, by up to {worst:.2e}")
    return said


def check(path: Path, only: str) -> bool:
    """Train the recorded cases again and say how they compare; whether all bits are kept."""
    held = json.loads(path.read_text())
    stored = load_file(path.with_suffix(".safetensors"))
    rows, kept, total = made_rows(), 0, 0
    for name, digest in held["rows"].items():
        if digest_of_rows(rows[name]) != digest:
            print(f"the {name} are other rows on this machine: nothing can be compared")
            return False
    for name, now in machine().items():
        if held["machine"][name] != now:
            print(f"recorded with {name} {held['machine'][name]}, here {now}: bits may differ")
    for name, old in held["cases"].items():
        if not fnmatch(name, only):
            continue
        total += 1
        try:
            trained = train(old, rows)
        except Exception as problem:  # whatever it is, the other cases are still to be compared
            print(f"{name:34} NOT TRAINED  {type(problem).__name__}: {problem}", flush=True)
            continue
        compared = compare(old, trained, stored)
        kept += compared.kept
        print(f"{name:34} {_verdict(compared)}", flush=True)
        for line in (*trained.notes, *_details(compared)):
            print(f"    {line}", flush=True)
    strangers = sorted(set(recipes()) - {c.get("recipe") for c in held["cases"].values()})
    if strangers:
        print(f"not recorded: {', '.join(strangers)}")
    print(f"{kept} of {total} cases keep their bits")
    return kept == total


def _verdict(found: Compared) -> str:
    if found.differing or found.missing:
        return "DIFFERENT"
    if found.losses:
        return "same tensors, OTHER LOSSES"
    if found.renamed:
        return "same tensors under other names"
    return "identical" + (", with new tensors" if found.new else "")


def _details(found: Compared) -> list[str]:
    kinds = ("renamed", "differing", "missing", "new")
    counts = [f"{len(getattr(found, kind))} {kind}" for kind in kinds if getattr(found, kind)]
    lines = [f"{found.same} tensors identical, {', '.join(counts)}"] if counts else []
    lines += [f"renamed: {old} -> {new}" for old, new in found.renamed]
    lines += [f"differs: {name}: {how}" for name, how in found.differing]
    lines += [f"missing: {name}" for name in found.missing]
    lines += [f"new: {name}" for name in found.new]
    return lines + [f"losses: {text}" for text in found.losses]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    what = options.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, metavar="JSON")
    what.add_argument("--check", type=Path, metavar="JSON")
    options.add_argument("--only", default="*", help="cases to check, as a pattern: 'topk*'")
    chosen = options.parse_args()
    if chosen.record is not None:
        record(chosen.record)
    elif not check(chosen.check, chosen.only):
        sys.exit(1)


if __name__ == "__main__":
    main()
