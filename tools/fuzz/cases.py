"""Random command lines: a fit, and what is done with the run afterwards."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tools.fuzz import arrays, tables

Rng = np.random.Generator
OPTIONS = (
    "latent_dim=2", "latent_dim=3", "latent_dim=0", "latent_dim=-1", "latent_dim=two",
    "k=2", "k=0", "k=99",
    "steps=0", "steps=-3", "steps=1.5", "lr=0", "lr=nan", "lr=inf", "lr=1e30", "batch_size=4",
    "batch_size=0", "batch_size=100000", "hidden=4", "hidden=4,3", "hidden=()",
    "hidden=-2",
    "scaling=none", "scaling=columns", "scaling=columms", "seed=-1", "seed=7", "device=cuda",
    "device=tpu", "validation=0.2", "validation=1", "patience=1", "epochs=0.01", "=3", "nothing",
    "",
    "a=b=c", "likelihood=bernoulli", "likelihood=gauss", "precision=bf16", "average=0.5",
    "accumulate=3", "optimiser=sgd", "optimiser=magic", "kind=image", "kind=series", "kind=vector",
    "kind=tokens", "kind=sound", "axis=0", "axis=9", "size=8", "size=0", "mode=grey", "mode=pink",
    "minutes=0", "minutes=0.001", "length=published", "length=long", "label=y", "network=conv",
    "start=nowhere", "🦔=1", "k=1e99", "steps=1e-3",
)  # fmt: skip
RECIPES = (
    "plain", "plain", "plain", "vae", "vae", "topk", "topk", "denoising", "jumprelu", "pae", "mae",
    "beta-vae", "relu", "k-sparse", "vq-vae", "text-vae", "swae", "iwae", "mvae", "daef", "byol",
    "plian", "", "nothing:here", "tools.fuzz.cases:Case", "-x",
)  # fmt: skip
BRIEF = ("--recipes", "plain", "--seeds", "1", "steps=2", "-q")
SMALL = {"plain": ["latent_dim=2", "hidden=6"], "vae": ["latent_dim=2", "hidden=6"],
         "topk": ["latent_dim=12", "k=2"]}  # fmt: skip


@dataclass
class Case:
    """A first command, with what is known of its data: the folder is the working directory."""

    recipe: str
    data: Path | None
    arguments: list[str]
    table: tables.Columns | None = None
    array: np.ndarray | None = None

    @property
    def has_to_work(self) -> bool:
        """Whether nothing is wrong with the data, the recipe or the options."""
        plain = self.recipe in SMALL and self.arguments[3:] == [*SMALL[self.recipe], "steps=2"]
        return plain and (self.array is not None or (self.table is not None and self.table.clean))


def random_case(rng: Rng, folder: Path) -> Case:
    """Random data as a file below ``folder``, and a fit of it."""
    data, table, array = random_data(rng, folder)
    good = rng.random() < 0.6
    recipe = str(rng.choice(list(SMALL) if good else RECIPES))
    options = [*SMALL.get(recipe, []), "steps=2"]
    if not good:
        options = [str(o) for o in rng.choice(OPTIONS, int(rng.integers(0, 4)))]
        # Whatever is asked for ends soon: a default or published run would take minutes.
        if not any(o.startswith(("steps", "epochs", "minutes")) for o in options):
            options.append(str(rng.choice(["steps=2", "steps=2", "minutes=0.002"])))
    named = str(data.relative_to(folder))
    if rng.random() < 0.1:
        named += str(rng.choice([":x", ":-x", ":a,b", ":left=u;right=v", ":", "@", "?k=1"]))
        array, table = (
            None,
            None if table is None else tables.Columns(table.names, table.cells, False),
        )
    return Case(recipe, data, ["fit", recipe, named, *options], table, array)


def random_data(
    rng: Rng, folder: Path, stem: str = "data"
) -> tuple[Path, tables.Columns | None, np.ndarray | None]:
    """A file or folder of any kind: its path, and what it is where it is known."""
    way = rng.random()
    if way < 0.5:
        table = tables.random_columns(rng)
        return tables.written(table, rng, folder, stem), table, None
    if way < 0.85:
        path, array = arrays.written(rng, folder, stem)
        return path, None, array
    if way < 0.95:
        return arrays.images(rng, folder, stem), None, None
    return arrays.texts(rng, folder, stem), None, None


def random_follow_up(rng: Rng, case: Case, folder: Path) -> list[str]:
    """What is done with the run: on its own data, or on others."""
    data = str(case.data)
    if rng.random() < 0.4:
        other = folder / f"other{int(rng.integers(1 << 30))}"
        other.mkdir()
        data = str(random_data(rng, other)[0])
    command = str(rng.choice(["encode", "evaluate", "score", "decode", "resume"]))
    if command == "encode":
        return [
            "encode",
            "run",
            data,
            "-o",
            str(rng.choice(["z.npz", "z.csv", "z.txt", "no/z.npz"])),
        ]
    if command == "score":
        return ["score", "run", data, "-o", str(rng.choice(["s.csv", "no/s.csv"]))]
    if command == "decode":
        return ["decode", "run", data, "-o", str(rng.choice(["d.csv", "d.npz"]))]
    if command == "resume":
        return ["resume", "run", *[str(o) for o in rng.choice(OPTIONS, int(rng.integers(0, 2)))]]
    return [command, "run", data][: 3 if command == "evaluate" else 2]


def random_other(rng: Rng, folder: Path) -> list[str]:
    """A command line that is no fit."""
    data, _, _ = random_data(rng, folder, "else")
    words = [
        ["show", str(rng.choice(RECIPES))], ["recipes", str(rng.choice(["vae", "zzz", ""]))],
        ["doctor"], ["data"], ["nothing"], ["fit"], ["fit", "plain"], ["fit", "x.toml"],
        ["evaluate", str(data)], ["encode", str(folder), str(data), "-o", "z.npz"],
        ["report", str(data)], ["resume", str(data)], ["score", str(data), str(data)],
        ["compare", str(data), *BRIEF],
        ["compare", str(data), "--task", str(rng.choice(["anomaly", "probe", "fly"])), "--labels",
         str(rng.choice(["y", "label", "u", "none"])), *BRIEF],
        ["fit-many", str(data), "-o", "runs"], ["harvest", "nowhere", "-o", "store", "-q"],
        ["reproduce", "nothing"], ["label", str(folder)], ["steer", str(folder), "Once"],
    ]  # fmt: skip
    return words[int(rng.integers(len(words)))]
