"""Does an installed package work, away from its repository? ``python tools/try_installed.py``

Fits, saves, loads and reports in a temporary folder, opens the language model that ships in the
package, runs the command line, and says which kernels serve. Wheels and source distributions are
tried with it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    sys.path[:] = [
        entry for entry in sys.path if entry and not Path(entry, "pyproject.toml").exists()
    ]
    import numpy as np

    import isthmus
    from isthmus.kernels.library import native
    from isthmus.language import open_model

    home = Path(isthmus.__file__).parent
    if (home.parents[1] / "pyproject.toml").exists():
        sys.exit(
            f"isthmus was imported from a repository, {home}, and not from where it is installed"
        )
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    np.save("rows.npy", x)
    model = isthmus.fit("topk", "rows.npy", latent_dim=32, k=4, steps=5, out="run", progress=False)
    same = isthmus.load("run")
    assert np.array_equal(model.encode(x), same.encode(x))
    tokenizer = open_model("resident").tokenizer
    assert tokenizer.decode(tokenizer.encode("The captain")) == "The captain"
    for words in (
        ["--help"],
        ["recipes"],
        ["show", "topk"],
        ["evaluate", "run"],
        ["report", "run"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "isthmus", *words], capture_output=True, text=True
        )
        if done.returncode or not done.stdout:
            sys.exit(f"isthmus {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    assert "<script" in Path("run", "report.html").read_text("utf-8")
    print(f"{home}: works; native kernels: {'none' if native() is None else 'yes'}")


if __name__ == "__main__":
    main()
