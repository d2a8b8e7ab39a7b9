"""A mixed table, from a comparison to a fitted winner that scores new rows in another process.

    python examples/mixed_table.py

Columns of numbers, words, dates and truth values, with gaps; nothing is encoded by hand. The new
rows have their columns in another order, a level that was not there before and a missing value.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import isthmus


def visits(rows: int, seed: int, share: float = 0.06) -> pd.DataFrame:
    """Made visits to a shop; the odd ones pay far more than the length of their stay explains."""
    rng = np.random.default_rng(seed)
    odd = rng.random(rows) < share
    minutes = rng.gamma(4.0, 8.0, rows)
    paid = 3.0 * minutes + rng.normal(0, 6, rows) + np.where(odd, 250, 0)
    table = pd.DataFrame(
        {
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
            "city": rng.choice(["Oslo", "Lima", "Graz"], rows, p=[0.5, 0.3, 0.2]),
            "member": rng.random(rows) < 0.4,
            "minutes": minutes.round(1),
            "paid": paid.round(2),
            "odd": np.where(odd, "yes", "no"),
        }
    )
    table.loc[rng.random(rows) < 0.03, "minutes"] = np.nan
    return table


def main(folder: Path) -> None:
    """Compare, then score new rows by the winner in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    visits(400, 0).to_csv(folder / "visits.csv", index=False)
    comparison = isthmus.compare(
        folder / "visits.csv", ["plain", "vae"], "anomaly", labels="odd", seeds=2,
        steps=300, out=folder / "comparison",
    )  # fmt: skip
    print("ranking:", ", ".join(comparison.ranking))

    new = visits(40, 1, share=0.0)
    new.loc[0, "city"] = "Quito"  # not among the cities of the training rows
    new.loc[1, "minutes"] = np.nan
    new.loc[2, "paid"] = 900.0  # odd
    new[["paid", "minutes", "member", "city", "day"]].to_csv(folder / "new.csv", index=False)
    subprocess.run(
        [sys.executable, "-m", "isthmus", "score", str(folder / "comparison" / "winner"),
         str(folder / "new.csv"), "-o", str(folder / "scores.csv"), "--contamination", "0.05"],
        check=True,
    )  # fmt: skip
    with (folder / "scores.csv").open(newline="") as lines:
        scored = list(csv.DictReader(lines))
    lowest = min(range(len(scored)), key=lambda row: float(scored[row]["score"]))
    print(f"{len(scored)} rows scored; the least normal is row {lowest}")
    assert lowest == 2


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("visits"))
