"""Train a resident language model on its part of the corpora, on one or two cores.

    python tools/train_resident.py resident --folder /tmp/resident
    python tools/train_resident.py circuits --folder /tmp/circuits --bf16 --threads 2

"resident" is the small one; "circuits" is wider and deeper, and is taught generated text beside
English (:mod:`isthmus.language.knowledge`). Started again with the same folder it goes on from its
last checkpoint. Needs ISTHMUS_DATA and the tokenizer that tools/train_tokenizer.py made.

Matrices are trained by Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers"),
embeddings and gains by Adam; the rate warms up and falls along a cosine.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus.language.corpus import held_out_text, training_text
from isthmus.language.decoder import Decoder, Shape
from isthmus.language.knowledge import training_passages
from isthmus.language.tokenizer import ByteTokenizer

IGNORED = -1
LANGUAGE = Path(__file__).parents[1] / "src" / "isthmus" / "language"

ENGLISH = (
    "twelve English classics (Project Gutenberg) and MASC, less what is held out: the last 4 % of "
    "each book and each tenth document of MASC"
)
GENERATED = "; and generated passages of facts, calendars, sums, spelling and repeated lists"


@dataclass(frozen=True)
class Plan:
    """One model: its sizes, where it lies, how long it trains, and how much text is generated."""

    shape: Shape
    folder: Path
    steps: int
    rows: int = 16
    """Rows of a step."""
    generated: bool = False
    """Whether each epoch reads its part of the generated passages, too."""
    decay: float = 0.0
    """Weight decay of matrices."""


PLANS = {
    "resident": Plan(Shape(), LANGUAGE / "resident", 1900),
    "circuits": Plan(
        Shape(width=256, heads=8, layers=6, hidden=1024),
        LANGUAGE / "resident_circuits",
        1500,
        rows=32,
        generated=True,
        decay=0.05,
    ),
}


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden @ weight.T``, a piece of the rows at a time.

    The gradients are made together with the loss, so that no matrix of all logits is ever kept.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, piece: int = 512) -> Tensor:
        counted = (targets != IGNORED).sum().clamp(min=1)
        by_hidden, by_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        total = torch.zeros(())
        for begin in range(0, len(hidden), piece):
            part, wanted = hidden[begin : begin + piece], targets[begin : begin + piece]
            logits = (part @ weight.T).float()
            keep = (wanted != IGNORED).float() / counted
            index = wanted.clamp(min=0)[:, None]
            total += (keep * (logits.logsumexp(1) - logits.gather(1, index)[:, 0])).sum()
            slope = logits.softmax(1)
            slope.scatter_add_(1, index, slope.new_full(index.shape, -1.0))
            slope = (slope * keep[:, None]).to(hidden.dtype)
            by_hidden[begin : begin + piece] = slope @ weight
            by_weight.addmm_(slope.T, part)
        ctx.save_for_backward(by_hidden, by_weight)
        return total

    @staticmethod
    def backward(ctx, slope: Tensor):
        by_hidden, by_weight = ctx.saved_tensors
        return by_hidden * slope, by_weight * slope, None, None


class Muon(torch.optim.Optimizer):
    """Momentum whose update is replaced by the nearest matrix with equal singular values.

    ``parts`` matrices that lie under one another in one weight are treated apart.
    """

    def __init__(self, groups: Sequence[dict], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "parts": 1, "decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor, float]]] = defaultdict(list)
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                mean = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                look = weight.grad.lerp(mean, group["momentum"])
                weight.mul_(1 - group["lr"] * group["decay"])
                parts = (weight.chunk(group["parts"]), look.chunk(group["parts"]))
                for part, update in zip(*parts, strict=True):
                    rate = group["lr"] * max(1.0, part.shape[0] / part.shape[1]) ** 0.5
                    if part.shape[0] > part.shape[1]:
                        part, update = part.T, update.T
                    alike[part.shape].append((part, update, rate))
        for entries in alike.values():
            updates = orthogonalised(torch.stack([update for _, update, _ in entries]))
            for (part, _, rate), update in zip(entries, updates, strict=True):
                part.add_(update, alpha=-rate)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Singular values to about one, by the Newton-Schulz polynomial of Jordan et al. 2024.

    ``matrices`` (number, rows, columns) with no more rows than columns; computed in bfloat16, as
    there.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.to(matrices.dtype)


def rows_of(documents: Sequence[np.ndarray], context: int, offsets: Sequence[int]) -> np.ndarray:
    """Every token once as a target, ``(rows, context)``; -1 where a document leaves room."""
    cut = []
    for tokens, offset in zip(documents, offsets, strict=True):
        edges = [0, *range(offset or context, len(tokens), context), len(tokens)]
        for begin, end in pairwise(edges):
            row = np.full(context, IGNORED, np.int64)
            row[: end - begin] = tokens[begin:end]
            cut.append(row)
    return np.stack(cut)


def batches(
    parts: Sequence[Sequence[np.ndarray]], context: int, rows: int, seed: int, skip: int
) -> Iterator[np.ndarray]:
    """Batches of targets without end; each epoch cuts the documents elsewhere.

    The first of ``parts`` is read in each epoch, beside one of the others in turn.
    """
    epoch = 0
    while True:
        draw = np.random.default_rng((seed, epoch))
        others = parts[1:] or [[]]
        documents = [*parts[0], *others[epoch % len(others)]]
        targets = rows_of(documents, context, draw.integers(0, context, len(documents)).tolist())
        targets = targets[draw.permutation(len(targets))]
        for begin in range(0, len(targets) - rows + 1, rows):
            if skip:
                skip -= 1
            else:
                yield targets[begin : begin + rows]
        epoch += 1


def inputs_of(targets: np.ndarray, bos: int) -> np.ndarray:
    """Each place sees what comes before it; the first sees BOS, padding sees BOS too."""
    before = np.concatenate((np.full((len(targets), 1), bos), targets[:, :-1]), 1)
    return np.where(before == IGNORED, bos, before)


def loss_of(model: Decoder, targets: np.ndarray, bos: int, *, bf16: bool = False) -> Tensor:
    wanted = torch.from_numpy(np.ascontiguousarray(targets)).flatten()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.hidden(torch.from_numpy(inputs_of(targets, bos))).flatten(0, 1)
    weight = model.embed.weight
    if bf16:
        hidden, weight = hidden.bfloat16(), weight.bfloat16()
    return LinearCrossEntropy.apply(hidden, weight, wanted)


def documents_of(plan: Plan, tokenizer: ByteTokenizer) -> list[list[np.ndarray]]:
    """The tokens of the documents: English ones, then the generated ones of each epoch."""
    parts = [[one.text for one in training_text()]]
    if plan.generated:
        parts += [[one.text for one in part] for part in training_passages()]
    return [[np.array(tokenizer.encode(text)) for text in part] for part in parts]


def kept_documents(plan: Plan, tokenizer: ByteTokenizer, path: Path) -> list[list[np.ndarray]]:
    """The same, from a file where it is there: making them takes minutes."""
    if not path.exists():
        made = documents_of(plan, tokenizer)
        staged = path.with_name("new.npz")
        np.savez(
            staged,
            parts=[len(part) for part in made],
            lengths=[len(one) for part in made for one in part],
            tokens=np.concatenate([one for part in made for one in part]).astype(np.int16),
        )
        staged.replace(path)
    with np.load(path) as kept:
        cuts = np.cumsum(kept["lengths"])[:-1]
        all_documents = np.split(kept["tokens"].astype(np.int64), cuts)
        edges = [0, *np.cumsum(kept["parts"]).tolist()]
    return [all_documents[begin:end] for begin, end in pairwise(edges)]


def held_out_loss(model: Decoder, targets: np.ndarray, bos: int, rows: int = 16) -> float:
    """Nats per token."""
    total = count = 0.0
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        for begin in range(0, len(targets), rows):
            part = targets[begin : begin + rows]
            number = (part != IGNORED).sum()
            total += float(loss_of(model, part, bos)) * number
            count += number
    return total / count


def rate(step: int, steps: int, warm: int) -> float:
    """Share of the highest learning rate."""
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def optimisers(model: Decoder, chosen: argparse.Namespace) -> list[torch.optim.Optimizer]:
    qkv = [block.attention.qkv.weight for block in model.layers]
    matrices = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and not any(module.weight is w for w in qkv)
    ]
    gains = [p for p in model.parameters() if p.ndim == 1]
    return [
        Muon(
            [
                {"params": qkv, "parts": 3, "decay": chosen.decay},
                {"params": matrices, "decay": chosen.decay},
            ],
            chosen.matrix_rate,
        ),
        torch.optim.Adam(
            [
                {"params": [model.embed.weight], "lr": chosen.embedding_rate},
                {"params": gains, "lr": chosen.embedding_rate},
            ],
            betas=(0.9, 0.98),
        ),
    ]


def install(model: Decoder, out: Path, about: dict) -> None:
    """The package's files, whole or not at all."""
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    for name, write in (
        ("model.safetensors", lambda path: save_file(weights, path)),
        ("config.json", lambda path: path.write_text(json.dumps(about, indent=1) + "\n")),
    ):
        staged = out / f".{name}.new"
        write(staged)
        staged.chmod(0o644)
        staged.replace(out / name)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", choices=sorted(PLANS))
    options.add_argument("-o", "--out", type=Path, help="by default the model's in the package")
    options.add_argument("--folder", type=Path, required=True, help="checkpoints")
    options.add_argument("--steps", type=int, help="by default the plan's")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--bf16", action="store_true", help="products in bfloat16")
    options.add_argument("--rows", type=int, help="rows of a step, by default the plan's")
    options.add_argument("--decay", type=float, help="of matrices, by default the plan's")
    options.add_argument("--matrix-rate", type=float, default=0.02)
    options.add_argument("--embedding-rate", type=float, default=0.005)
    options.add_argument("--every", type=float, default=120, help="seconds between checkpoints")
    options.add_argument("--install-every", type=float, default=600, help="seconds")
    options.add_argument("--compile", action="store_true", help="a fifth faster; needs a compiler")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--stop", type=int, help="end early, without installing (to try settings)")
    chosen = options.parse_args()
    plan = PLANS[chosen.model]
    chosen.out = chosen.out or plan.folder
    chosen.out.mkdir(parents=True, exist_ok=True)
    chosen.steps = chosen.steps or plan.steps
    chosen.rows = chosen.rows or plan.rows
    chosen.decay = plan.decay if chosen.decay is None else chosen.decay
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(chosen.threads)
    tokenizer = ByteTokenizer.read(LANGUAGE / "resident" / "tokenizer.json")
    shape = plan.shape
    held = [np.array(tokenizer.encode(d.text)) for d in held_out_text()]
    held_targets = rows_of(held, shape.context - 1, [0] * len(held))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    parts = kept_documents(plan, tokenizer, chosen.folder / "tokens.npz")
    english, *generated = [sum(map(len, part)) for part in parts]
    epoch = english + sum(generated) // max(1, len(generated))
    print(
        f"{english} training tokens, {sum(generated)} generated, {sum(map(len, held))} held out",
        flush=True,
    )

    model = Decoder(shape)
    both = optimisers(model, chosen)
    highest = [[group["lr"] for group in one.param_groups] for one in both]
    saved = chosen.folder / "checkpoint.pt"
    chosen.folder.mkdir(parents=True, exist_ok=True)
    done = 0
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        for one, its in zip(both, state["optimisers"], strict=True):
            one.load_state_dict(its)
        done = state["step"]
        print(f"goes on at step {done}", flush=True)

    def about(step: int, every: int = 1) -> dict:
        seen = step * chosen.rows * shape.context
        return {
            "shape": asdict(shape),
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": {
                "text": ENGLISH + (GENERATED if plan.generated else ""),
                "tokens": english,
                "tokens_generated": sum(generated),
                "steps": step,
                "tokens_seen": seen,
                "epochs": round(seen / epoch, 2),
                "held_out_nats_per_token": round(held_out_loss(model, held_targets[::every], 0), 4),
            },
        }

    if chosen.compile:
        for block in model.layers:
            block.compile()
    warm = max(1, chosen.steps // 50)
    began = kept = installed = time.monotonic()
    first, mean = done, 0.0
    source = batches(parts, shape.context, chosen.rows, chosen.seed, done)
    for step in range(done, chosen.steps):
        for one, rates in zip(both, highest, strict=True):
            for group, high in zip(one.param_groups, rates, strict=True):
                group["lr"] = high * rate(step, chosen.steps, warm)
        loss = loss_of(model, next(source), tokenizer.bos or 0, bf16=chosen.bf16)
        for one in both:
            one.zero_grad()
        loss.backward()
        for one in both:
            one.step()
        value = float(loss.detach())
        mean = value if step == first else 0.98 * mean + 0.02 * value
        now = time.monotonic()
        if step % 20 == 19 or step + 1 == chosen.steps:
            speed = (step + 1 - first) * chosen.rows * shape.context / (now - began)
            left = (chosen.steps - step - 1) * (now - began) / (step + 1 - first) / 60
            print(
                f"step {step + 1}/{chosen.steps}  loss {mean:.3f}  {speed:.0f} tokens/s  "
                f"{left:.1f} min left",
                flush=True,
            )
        if now - kept > chosen.every:
            staged = saved.with_suffix(".new")
            state = {
                "model": model.state_dict(),
                "optimisers": [one.state_dict() for one in both],
                "step": step + 1,
            }
            torch.save(state, staged)
            staged.replace(saved)
            kept = now
        if now - installed > chosen.install_every:
            install(model, chosen.out, about(step + 1, every=4))
            installed = now
        if chosen.stop == step + 1:
            print(f"held out {held_out_loss(model, held_targets[::8], 0):.4f}")
            return
    final = about(chosen.steps)
    install(model, chosen.out, final)
    print(json.dumps(final["training"]), flush=True)


if __name__ == "__main__":
    main()
