"""What harvesting costs over the model's forward pass, and the store over a plain copy in memory.

``bare`` is the resident model's own forward pass, logits included, over the same batches; ``seen``
the pass that ends at the last point, with nothing kept. Written and read rows are those of a
residual stream; the copy moves the same float32 bytes. Files are in the system's cache, as they
are after a harvest; the seconds until they are on the disk are part of writing.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.sparse.from_disk import watched
from benchmarks.timing import Arm, interleave, ratio
from isthmus.activations import Activations, Store, Streamed, harvest
from isthmus.data import ArraySource
from isthmus.kernels.allocator import keep_freed_memory
from isthmus.language import LanguageModel, Tokens, open_model
from isthmus.training import Batches

ROWS_AT_ONCE = 32
READ_BATCH = 4096
FORMATS = ("float32", "float16", "bfloat16", "int8")

now = time.perf_counter
"""``time.process_time`` with ``--cpu``: seconds of all threads, for a machine that others share."""


def clock(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = now()
    work()
    return now() - start


def made_tokens(host: LanguageModel, number: int, context: int = 256) -> Tokens:
    """Random tokens: speed does not depend on what they say."""
    rows = -(-number // (context - 1))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, host.tokenizer.vocabulary, (rows, context), generator=generator)
    ids[:, 0] = host.tokenizer.bos or 0
    mask = torch.ones(rows, context, dtype=torch.bool)
    return Tokens(ids, mask, torch.zeros(rows, dtype=torch.int64), torch.arange(rows), ["made"])


def harvest_arms(host: LanguageModel, tokens: Tokens, place: Path) -> dict[str, Arm]:
    """The bare pass, the pass with hooks, and harvests to disk and to memory."""

    def each(run: Callable[[torch.Tensor], object]) -> Arm:
        def work() -> None:
            with torch.no_grad():
                for part in tokens.ids.split(ROWS_AT_ONCE):
                    run(part)

        return lambda: clock(work)

    def stored(at: str) -> Arm:
        def work() -> float:
            folder = place / "harvested"
            shutil.rmtree(folder, ignore_errors=True)
            return clock(
                lambda: harvest(host, tokens, at, folder, batch=ROWS_AT_ONCE, progress=False)
            )

        return work

    def streamed() -> float:
        source = Streamed(host, tokens, "layers.*", batch=ROWS_AT_ONCE, memory=2048)
        return clock(lambda: source.rows(torch.arange(len(source))))

    return {
        "bare": each(host.module),
        "seen layers.*": each(Activations(host.module, "layers.*")),
        "seen layers.1": each(Activations(host.module, "layers.1")),
        "harvest layers.*": stored("layers.*"),
        "harvest layers.1": stored("layers.1"),
        "streamed layers.*": streamed,
    }


def write_arms(rows: np.ndarray, place: Path) -> dict[str, Arm]:
    """Rows through a module that does nothing: what is left is writing."""
    source, copy = ArraySource(rows, scan=False), np.empty_like(rows)

    def written(dtype: str) -> Arm:
        def work() -> float:
            folder = place / "written"
            shutil.rmtree(folder, ignore_errors=True)
            return clock(
                lambda: harvest(
                    nn.Identity(), source, ".", folder, dtype=dtype, batch=8192, progress=False
                )
            )

        return work

    arms: dict[str, Arm] = {"copy": lambda: clock(lambda: np.copyto(copy, rows))}
    return arms | {dtype: written(dtype) for dtype in FORMATS}


def read_arms(rows: np.ndarray, place: Path) -> dict[str, Arm]:
    """An epoch in shuffled batches from each store; the copies move as many batches of as much."""
    copy = np.empty_like(rows)

    def sliced() -> None:
        for start in range(0, len(rows) - READ_BATCH + 1, READ_BATCH):
            rows[start : start + READ_BATCH].copy()

    def read(dtype: str, order: str) -> Arm:
        folder = place / dtype
        source = ArraySource(rows, scan=False)
        harvest(nn.Identity(), source, ".", folder, dtype=dtype, batch=8192, progress=False)
        held = Store(folder)
        held.verify()
        batches = Batches(held.source(".", order), READ_BATCH)  # type: ignore[arg-type]

        def work() -> float:
            index = [batches.index(step) for step in range(batches.steps_per_epoch)]

            def epoch() -> None:
                for part in index:
                    batches.source.rows(part)

            return clock(epoch)

        return work

    arms: dict[str, Arm] = {
        "copy": lambda: clock(lambda: np.copyto(copy, rows)),
        "copy in batches": lambda: clock(sliced),
    }
    for dtype in FORMATS:
        arms[dtype] = read(dtype, "rows")
    arms["float32 in blocks"] = read("float32", "blocks")
    arms["float16 in blocks"] = read("float16", "blocks")
    return arms


def report(title: str, arms: dict[str, Arm], rounds: int, bases: tuple[str, ...]) -> None:
    """Time the arms and print their seconds and their ratios to the bases."""
    seconds = interleave(arms, rounds)
    print(f"\n{title}")
    for name, taken in seconds.items():
        ratios = [str(ratio(seconds, name, base)) for base in bases if base != name]
        print(f"  {name:18} {sorted(taken)[len(taken) // 2]:8.3f} s   {'   '.join(ratios)}")


_MEMORY = """
import sys, torch
from benchmarks.harvest import made_tokens
from isthmus.activations import harvest
from isthmus.kernels.allocator import keep_freed_memory
from isthmus.language import Decoder, LanguageModel, Shape, open_model
torch.set_num_threads(1)
host = open_model("resident")
small = Decoder(Shape(width=96, heads=2, layers=1, hidden=96)).eval()
host = LanguageModel("small", "0", small, host.tokenizer, 256)
tokens = made_tokens(host, int(sys.argv[1]))
harvest(host, tokens, "layers.0", sys.argv[2], shard=16384, progress=False)
"""


def memory(sizes: tuple[int, ...]) -> None:
    """Peak memory of a process that harvests, for several numbers of tokens."""
    print("\npeak memory of the process while harvesting (its own, without files)")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [sys.executable, "-c", _MEMORY, str(size), str(Path(folder) / "s")], text=True
            )
            _, own = watched(process, period=0.02)
            if process.returncode:
                sys.exit(process.returncode)
            held = sum(p.stat().st_size for p in Path(folder).rglob("*.npy"))
        print(f"  {size:>9,} tokens: {1000 * own:6.0f} MB, stored {held / 1e6:6.0f} MB")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default="harvest,write,read,memory")
    parser.add_argument("--cpu", action="store_true", help="count seconds of the processor")
    args = parser.parse_args()
    keep_freed_memory()  # as in training
    if args.cpu:
        global now
        now = time.process_time
    parts = args.parts.split(",")
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}, {args.rounds} rounds, "
          f"{'processor' if args.cpu else 'wall'} time; "
          "ratios are medians of paired rounds, their middle half in brackets")  # fmt: skip
    rows = np.random.default_rng(0).standard_normal((args.rows, args.width), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "harvest" in parts:
            host = open_model("resident")
            tokens = made_tokens(host, args.tokens)
            title = f"harvest of {args.tokens:,} tokens, resident model, float16"
            report(title, harvest_arms(host, tokens, place), args.rounds, ("bare",))
        if "write" in parts:
            title = f"write {args.rows:,} rows of {args.width}"
            report(title, write_arms(rows, place), args.rounds, ("copy",))
        if "read" in parts:
            title = f"read {args.rows:,} rows of {args.width} in shuffled batches of {READ_BATCH}"
            report(title, read_arms(rows, place), args.rounds, ("copy", "copy in batches"))
    if "memory" in parts:
        memory((50_000, 200_000, 800_000))


if __name__ == "__main__":
    main()
