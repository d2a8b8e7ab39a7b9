"""Memory and rate of ``isthmus fit topk`` on rows that lie on disk: 1,000,000 of 512 by default.

The command runs as a user would run it, in a process of its own, which is watched from outside.
Resident memory counts the pages of the mapped file that happen to be cached; what is the process's
own is printed beside it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sparse.arms import planted_file


def watched(process: subprocess.Popen[str], period: float = 0.2) -> tuple[float, float]:
    """Peak resident and peak own (anonymous) memory in GB until the process ends."""
    resident = own = 0.0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            resident = max(resident, int(lines["VmRSS"].split()[0]) / 1e6)
            own = max(own, int(lines["RssAnon"].split()[0]) / 1e6)
        except (OSError, KeyError):
            break
        time.sleep(period)
    process.wait()
    return resident, own


def main() -> None:
    """Make the rows, run the command, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=4096)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _, data = planted_file(place, args.rows, width=args.d, truths=4096, active=32.0)
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "isthmus.cli", "fit", "topk", str(data), "epochs=1",
             f"latent_dim={args.width}", f"batch_size={args.batch}", "-o", str(place / "run")],
            text=True,
        )  # fmt: skip
        resident, own = watched(process)
        seconds = time.perf_counter() - begun
    if process.returncode:
        sys.exit(process.returncode)
    print(f"{args.rows:,} x {args.d} float32: peak resident {resident:.2f} GB, own {own:.2f} GB, "
          f"{args.rows / seconds:,.0f} rows a second with start and save")  # fmt: skip


if __name__ == "__main__":
    main()
