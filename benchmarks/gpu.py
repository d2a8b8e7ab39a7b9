"""What only a graphics processor can say of the sparse kernels, in at most five minutes.

    python -m benchmarks.gpu [--minutes 5] [--json gpu.json]

Agreement of the Triton programs with the reference in float64, in float32 and bfloat16; the same
bytes of two runs; the selection beside ``torch.topk``; and whole steps at five shapes, through
``isthmus.fit`` in bfloat16, beside sparsify and SAELens where these are installed in the same
environment. What there is no time for any more is said. Peers get their batches on the device;
isthmus reads its own from main memory within the time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus.kernels.backend import AdamStep, Backend, SparseFactor
from isthmus.kernels.reference_backend import ReferenceBackend

SHAPES = (
    (768, 24_576, 4096, 32),
    (768, 24_576, 32_768, 32),
    (2304, 65_536, 8192, 64),
    (2304, 65_536, 32_768, 64),
    (4096, 131_072, 8192, 64),
)
"""d, width, batch, k of the whole steps."""
LIMITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""The largest deviation from float64, relative to the largest element."""


@dataclass
class Report:
    """Lines as they come, figures for a file, and the time that is left."""

    minutes: float
    begun: float = field(default_factory=time.monotonic)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return time.monotonic() - self.begun > 60 * self.minutes

    def say(self, name: str, value: Any) -> None:
        self.figures[name] = value
        print(f"  {name:48} {value}", flush=True)


def deviations(
    backend: Backend, dtype: torch.dtype, shape: tuple[int, int, int, int], device: str
) -> dict[str, float]:
    """By function: the largest deviation from the reference in float64, relative to the largest
    element. What is selected counts by its values, since near ties may fall either way."""
    rows, d, width, k = shape
    g = torch.Generator().manual_seed(0)
    truth = ReferenceBackend()

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=g).to(dtype).to(device)

    x, weight, target = drawn(rows, d), drawn(width, d), drawn(rows, d)
    bias, offset = drawn(width).float(), drawn(d)
    indices = torch.rand(rows, width, generator=g).topk(k, 1).indices.to(device)
    values = drawn(rows, k).float()
    factor = SparseFactor(values, indices, x)

    def exact(*tensors: torch.Tensor) -> list[torch.Tensor]:
        return [t.double() if t.is_floating_point() else t for t in tensors]

    u = x.double() @ weight.double().T + bias.double()
    best = backend.select_top(x, weight, bias, k)
    pairs = {
        "selected": (best[0].sort(1).values, u.topk(k, 1).values.flip(1)),
        "their latents": (best[0], u.gather(1, best[1])),
        "decode": (
            backend.decode(values, indices, weight), truth.decode(*exact(values, indices, weight))
        ),
        "at_places": (
            backend.at_places(target, indices, weight),
            truth.at_places(*exact(target, indices, weight)),
        ),
        "row_gradient": (
            backend.row_gradient(weight.float(), [factor]),
            truth.row_gradient(weight.double(), [SparseFactor(*exact(values, indices, x))]),
        ),
        "sum_by_latent": (
            backend.sum_by_latent(values, indices, width),
            truth.sum_by_latent(values.double(), indices, width),
        ),
    }  # fmt: skip
    names = ("error", "its squares", "its products")
    mine = backend.decode_error(values, indices, weight, offset, target)
    wanted = truth.decode_error(*exact(values, indices, weight, offset, target))
    pairs.update(zip(names, zip(mine, wanted, strict=True), strict=True))
    step = AdamStep(1e-3, 0.9, 0.999, 1e-8, 0.1, 1e-3, 0.0, True)
    state = [torch.nn.functional.normalize(weight.float(), dim=1)]
    state += [torch.zeros_like(state[0]), torch.zeros_like(state[0])]
    after = [t.double() for t in state]
    backend.row_adam(state[0], state[1], state[2], [factor], step)
    truth.row_adam(*after, [SparseFactor(*exact(values, indices, x))], step)
    pairs["row_adam"] = (state[0], after[0])
    return {
        name: float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-30))
        for name, (a, b) in pairs.items()
    }


def agreement(report: Report, backend: Backend) -> None:
    """The largest deviation of each function in each type, over three shapes."""
    for dtype, limit in LIMITS.items():
        worst: dict[str, float] = {}
        for shape in ((64, 96, 3000, 8), (33, 100, 20_000, 200), (16, 768, 300_000, 32)):
            for name, off in deviations(backend, dtype, shape, "cuda").items():
                worst[name] = max(worst.get(name, 0.0), off)
        for name, off in worst.items():
            verdict = "ok" if off <= limit else f"more than {limit:g}"
            report.say(f"{str(dtype)[6:]} {name}", f"{off:.2g} ({verdict})")


def same_bytes(report: Report) -> None:
    """Twenty steps twice, in each precision."""
    X = np.random.default_rng(0).normal(size=(16_384, 128)).astype(np.float32)
    for precision in ("32", "bf16"):
        weights = []
        for _ in range(2):
            model = isthmus.fit(
                "topk", X, latent_dim=4096, k=16, steps=20, batch_size=2048, device="cuda",
                precision=precision, progress=False,
            )  # fmt: skip
            weights.append([p.detach().cpu() for p in model.parameters()])
        same = all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
        report.say(f"the same bytes twice, precision={precision}", "yes" if same else "NO")


def milliseconds(call: Callable[[], Any], times: int = 10) -> float:
    """The median time of a call on the device."""
    taken = []
    for turn in range(times + 2):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if turn >= 2:
            taken.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(taken)


def selection(report: Report) -> None:
    """Picking from stored products beside ``torch.topk`` on the same."""
    from isthmus.kernels.triton_backend import pick

    for width, k in ((24_576, 32), (65_536, 64), (131_072, 64), (1_048_576, 64), (65_536, 1024)):
        rows = min(4096, (1 << 29) // width)
        u = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)
        bias = torch.zeros(width, device="cuda")
        values = torch.empty(rows, k, device="cuda")
        indices = torch.empty(rows, k, device="cuda", dtype=torch.int64)
        ours = milliseconds(
            lambda u=u, b=bias, v=values, i=indices, k=k: pick(  # type: ignore[misc]
                u, b, b, v, i, k, magnitude=False, weighted=False
            )
        )
        theirs = milliseconds(lambda u=u, k=k: u.topk(k, 1, sorted=False))  # type: ignore[misc]
        report.say(f"{rows} x {width}, k {k}", f"{ours:.3f} ms, torch.topk {theirs:.3f} ms")


def ours(d: int, width: int, batch: int, k: int, data: np.ndarray) -> float:
    """Milliseconds of a step of ``isthmus.fit``."""
    from benchmarks.sparse.ours import Isthmus

    run = Isthmus(
        "topk", data, width, k, batch, 1000, 0, device="cuda", precision="bf16", clip=None,
        average=None,
    )  # fmt: skip
    try:
        run.run(5)
        torch.cuda.synchronize()
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            run.run(10)
            torch.cuda.synchronize()
            taken.append((time.perf_counter() - begun) / 10)
    finally:
        run.stop()
    return 1e3 * statistics.median(taken)


def theirs(peer: str, d: int, width: int, batch: int, k: int, data: np.ndarray) -> float:
    """Milliseconds of a step of another library, under bfloat16 autocast."""
    from benchmarks.sparse.peers import PEERS, load

    load(peer)
    with torch.device("cuda"), torch.autocast("cuda", torch.bfloat16):
        run = PEERS[peer]("topk", d, width, k, batch, 1000)
        batches = [torch.from_numpy(data[:batch]).cuda()] * 10
        run.run(batches[:5])
        return milliseconds(lambda: run.run(batches), 3) / len(batches)


def steps(report: Report) -> None:
    """Whole steps at the five shapes."""
    for d, width, batch, k in SHAPES:
        data = np.random.default_rng(0).normal(size=(2 * batch, d)).astype(np.float32)
        arms: dict[str, Callable[[], float]] = {
            "isthmus": lambda s=(d, width, batch, k), x=data: ours(*s, x),  # type: ignore[misc]
            **{
                peer: lambda p=peer, s=(d, width, batch, k), x=data: theirs(p, *s, x)  # type: ignore[misc]
                for peer in ("sparsify", "sae_lens")
            },
        }
        for name, arm in arms.items():
            label = f"{name}: {d} -> {width}, batch {batch}, k {k}"
            if report.over:
                report.say(label, "no time left")
                continue
            try:
                taken = arm()
            except Exception as problem:  # a peer that is not there costs its own line only
                report.say(label, f"not run ({type(problem).__name__}: {problem})")
                continue
            rate = batch / taken / 1e3
            report.say(label, f"{taken:.2f} ms a step, {rate:.2f} million rows a second")
            torch.cuda.empty_cache()


def main(argv: list[str] | None = None) -> None:
    """Say that there is no GPU, or measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="the most that it takes")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.exit(1, "there is no GPU here, so nothing was measured\n")
    from isthmus.kernels.dispatch import triton

    backend = triton()
    if backend is None:
        parser.exit(
            1, "Triton is not installed here, so nothing was measured: pip install triton\n"
        )
    report = Report(args.minutes)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    print("\nagreement with the reference in float64")
    agreement(report, backend)
    for title, part in (("determinism", same_bytes), ("selection", selection), ("steps", steps)):
        print(f"\n{title}")
        part(report)
    if args.json:
        args.json.write_text(json.dumps(report.figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
