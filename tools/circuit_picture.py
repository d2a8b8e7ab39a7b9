"""Draws what the page docs/circuits.md computes: heads of a circuit, in three ways.

    python tools/circuit_picture.py [--out docs/pictures/circuit.png]

Prints the areas under the ROC curve that the page names. Matplotlib is the extra ``viz``.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def drawn(panels: dict[str, np.ndarray], circuit: np.ndarray) -> Figure:
    """A panel of heads by layers for each way, the heads of the circuit framed."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        shown: Any = axes
        image = shown.imshow(values, cmap="Blues", vmin=0)
        for layer, head in np.argwhere(circuit):
            frame = Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, ec="crimson", lw=1.5)
            shown.add_patch(frame)
        shown.set(title=title, xlabel="head", ylabel="block", xticks=range(values.shape[1]))
        figure.colorbar(image, ax=shown, shrink=0.8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "circuit.png")
    options = parser.parse_args()
    page: dict[str, Any] = {"__name__": "page"}
    block = BLOCK.search((ROOT / "docs" / "circuits.md").read_text("utf-8"))
    if block is None:
        raise SystemExit("docs/circuits.md has no block of Python")
    exec(block[1], page)
    exact, circuit = page["exact"], page["circuit"].numpy()
    shares = (exact.effects.abs() / abs(exact.whole - exact.nothing)).numpy()
    panels = {
        "exact ablation, share of all": shares,
        "attribution patching, nats": page["first_order"].numpy(),
        "codes of solvable prompts alone": page["counts"],
    }
    for title, values in panels.items():
        print(f"{title}: {roc_auc_score(circuit.ravel(), values.ravel()):.2f}")
    drawn(panels, circuit).savefig(options.out, dpi=80)


if __name__ == "__main__":
    main()
