"""Throw random inputs at the command line.

    python -m tools.fuzz --functions 10000 --commands 300 [--seed 0] [--keep DIR] [--only NUMBER]

Each number makes the same input again. In one process the functions behind the command line are
called; ``--commands`` starts the command itself as often. A failure is a traceback, an exit code
that is neither 0 nor 2, an error that is not one sentence, a file that is half-written, or an exit
code 0 with a wrong result (:mod:`tools.fuzz.checks`). Its files are kept under ``--keep``.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from tools.fuzz.cases import random_case, random_other
from tools.fuzz.checks import Failure, check_fit, check_outcome
from tools.fuzz.running import Outcome, in_process, started


def one(number: int, seed: int, folder: Path, command: bool) -> tuple[str, Failure | None]:
    """One input: what it was, and what went wrong."""
    rng = np.random.default_rng([seed, int(command), number])
    run = started if command else in_process
    try:
        if rng.random() < 0.15:
            arguments = random_other(rng, folder)
            outcome = run(arguments, folder)
            check_outcome(outcome, folder)
            return f"{arguments[0]}: {outcome.code}", None
        case = random_case(rng, folder)
        outcome: Outcome = run([*case.arguments, "-o", "run", "-q"], folder)
        check_outcome(outcome, folder)
        if case.has_to_work and outcome.code != 0 and not outcome.refuses_rightly:
            raise Failure("good data were refused", outcome)
        if outcome.code == 0:
            check_fit(case, outcome, folder, rng, run)
        return f"fit: {outcome.code}", None
    except Failure as failure:
        return "failure", failure


def main() -> int:
    """Run all inputs; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=10_000)
    parser.add_argument("--commands", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz"))
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    failures: list[str] = []
    begun = time.monotonic()
    jobs = [(n, False) for n in range(options.start, options.functions)]
    jobs += [(n, True) for n in range(options.commands)]
    if options.only is not None:
        jobs = [(options.only, options.functions == 0)]
    for done, (number, command) in enumerate(jobs, 1):
        name = f"{'command' if command else 'function'}-{options.seed}-{number}"
        with tempfile.TemporaryDirectory() as place:
            kind, failure = one(number, options.seed, Path(place), command)
            counts[kind] += 1
            if failure is not None:
                failures.append(f"{name}: {failure}")
                print(failures[-1], flush=True)
                if not (options.keep / name).exists():
                    shutil.copytree(place, options.keep / name)
                (options.keep / name / "FAILURE.txt").write_text(failure.whole())
        if done % 100 == 0 or done == len(jobs):
            spent = time.monotonic() - begun
            left = spent / done * (len(jobs) - done)
            print(
                f"{done}/{len(jobs)} · {done / spent:.1f} a second · {left:,.0f} s left · "
                f"{len(failures)} failures",
                file=sys.stderr,
                flush=True,
            )
    for kind, count in counts.most_common():
        print(f"{count:7} {kind}")
    print(f"{len(failures)} failures in {len(jobs)} inputs")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
