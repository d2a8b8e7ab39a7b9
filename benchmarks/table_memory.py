"""Memory that a table takes, over the size of its file: read, fitted to, compared.

    python benchmarks/table_memory.py [--megabytes 200] [--folder DIR]

Makes a CSV of numbers of about eight characters and one column of text, and runs each use in a
process of its own. Prints the peak of resident memory above that of the interpreter with the
library loaded, in sizes of the file; the aim is 2.5.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COLUMNS = 20
WORDS = ("red", "green", "blue", "yellow")
USES = ("read", "fit", "compare")
AIM = 2.5


def write(path: Path, megabytes: int) -> int:
    """Write the table; returns its size in bytes."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join([*(f"x{i}" for i in range(COLUMNS)), "colour"]) + "\n")
        while file.tell() < megabytes * 1e6:
            numbers = rng.normal(size=(5000, COLUMNS)) * 10
            words = rng.choice(WORDS, len(numbers))
            file.writelines(
                ",".join(f"{value:.5f}"[:8] for value in row) + f",{word}\n"
                for row, word in zip(numbers, words, strict=True)
            )
    return path.stat().st_size


def use(what: str, path: Path) -> None:
    """One use of the table; prints the peak of memory in bytes, above that before."""
    import pandas  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import isthmus
    from isthmus.comparison import compare
    from isthmus.data import as_source

    isthmus.fit("plain", np.random.default_rng(0).normal(size=(100, 4)), steps=2, progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "read":
        as_source(path)
    elif what == "fit":
        isthmus.fit("plain", str(path), steps=5, latent_dim=4, progress=False)
    else:
        compare(str(path), ["plain"], "reconstruct", seeds=1, steps=5)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--use", choices=USES)
    parser.add_argument("--path", type=Path)
    asked = parser.parse_args()
    if asked.use:
        use(asked.use, asked.path)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "table.csv"
        size = write(path, asked.megabytes)
        for what in USES:
            command = [sys.executable, __file__, "--use", what, "--path", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            share = int(done.stdout.split()[-1]) / size
            print(f"{what:8} {share:.2f} of {size / 1e6:.0f} MB", "" if share < AIM else "TOO MUCH")


if __name__ == "__main__":
    main()
