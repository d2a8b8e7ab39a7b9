"""Train a resident language model on its part of the corpora, on one or two cores.

    python tools/train_resident.py resident --folder /tmp/resident
    python tools/train_resident.py circuits --folder /tmp/circuits --bf16 --threads 2 --compile

"resident" is the small one; "circuits" is wider and deeper. It begins with what the small one
does and with heads that copy (tools/growth.py), and is taught generated text beside English
(:mod:`isthmus.language.knowledge`), and rows of random tokens that repeat. Started again
with the same folder it goes on from its last checkpoint. Needs ISTHMUS_DATA and the tokenizer that
tools/train_tokenizer.py made.

Matrices are trained by Muon (tools/muon.py), embeddings and gains by Adam; the rate warms up and
falls along a cosine. Each of several threads reads its part of the rows of a step, and they meet at
the update only: threads within products would wait for one another at each of them.
"""

import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from growth import given_copying, grown
from muon import Muon
from safetensors.torch import save_file
from torch import Tensor, nn
from training_rows import IGNORED, Phases, Rows, before, inputs_of, rows_of, step_rows

from isthmus.language.corpus import held_out_text, training_text
from isthmus.language.decoder import Decoder, Shape
from isthmus.language.knowledge import training_passages
from isthmus.language.resident import resident
from isthmus.language.tokenizer import ByteTokenizer

LANGUAGE = Path(__file__).parents[1] / "src" / "isthmus" / "language"

ENGLISH = (
    "twelve English classics (Project Gutenberg) and MASC, less what is held out: the last 4 % of "
    "each book and each tenth document of MASC"
)
GENERATED = (
    "; generated passages of facts, calendars, sums, spelling and repeated lists; and random "
    "tokens that repeat"
)


@dataclass(frozen=True)
class Plan:
    """One model: its sizes, where it lies, how long it trains, and how much text is generated."""

    shape: Shape
    folder: Path
    steps: int
    phases: Phases = ((1.0, Rows(english=16)),)
    """The rows of a step."""
    decay: float = 0.0
    """Weight decay of matrices."""
    matrix_rate: float = 0.02
    embedding_rate: float = 0.005
    begins: str | None = None
    """The resident model that it is grown from (tools/growth.py)."""


PLANS = {
    "resident": Plan(Shape(), LANGUAGE / "resident", 1900),
    "circuits": Plan(
        Shape(width=256, heads=8, layers=6, hidden=1024, still=(2,)),
        LANGUAGE / "resident_circuits",
        1060,
        (
            (0.2076, Rows(english=8, generated=11, repeated=13)),
            (0.5723, Rows(english=10, generated=14, repeated=8)),
            (1.0, Rows(english=9, generated=18, repeated=5)),
        ),
        decay=0.05,
        matrix_rate=0.012,
        embedding_rate=0.002,
        begins="resident",
    ),
}


def losses_and_slopes(logits: Tensor, wanted: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted sum of cross-entropies, and its gradient by the logits, in their type.

    One function, so that a compiler makes two passes over the logits of it.
    """
    values = logits.float()
    top = values.logsumexp(1)
    index = wanted.clamp(min=0)[:, None]
    loss = (share * (top - values.gather(1, index)[:, 0])).sum()
    here = torch.arange(values.shape[1]) == index
    slopes = ((values - top[:, None]).exp() - here.float()) * share[:, None]
    return loss, slopes.to(logits.dtype)


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden @ weight.T``, a piece of the rows at a time.

    The gradients are made together with the loss, so that no matrix of all logits is ever kept.
    """

    slopes = staticmethod(losses_and_slopes)

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, piece: int = 1024) -> Tensor:
        counted = (targets != IGNORED).sum().clamp(min=1)
        by_hidden = torch.empty_like(hidden)
        by_weight = torch.zeros(weight.shape)  # summed in float32, whatever the products are in
        total = torch.zeros(())
        for begin in range(0, len(hidden), piece):
            part, wanted = hidden[begin : begin + piece], targets[begin : begin + piece]
            share = (wanted != IGNORED).float() / counted
            loss, slopes = LinearCrossEntropy.slopes(part @ weight.T, wanted, share)
            total += loss
            by_hidden[begin : begin + piece] = slopes @ weight
            by_weight += slopes.T @ part
        ctx.save_for_backward(by_hidden, by_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx, slope: Tensor):
        by_hidden, by_weight = ctx.saved_tensors
        return by_hidden * slope, by_weight * slope, None, None


def loss_of(model: Decoder, targets: np.ndarray, bos: int, *, bf16: bool = False) -> Tensor:
    wanted = torch.from_numpy(np.ascontiguousarray(targets)).flatten()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.hidden(torch.from_numpy(inputs_of(targets, bos))).flatten(0, 1)
    weight = model.embed.weight
    if bf16:
        hidden, weight = hidden.bfloat16(), weight.bfloat16()
    return LinearCrossEntropy.apply(hidden, weight, wanted)


def documents_of(plan: Plan, tokenizer: ByteTokenizer) -> list[list[np.ndarray]]:
    """The tokens of the documents: English ones, then the generated ones."""
    parts = [[one.text for one in training_text()]]
    if any(rows.generated for _, rows in plan.phases):
        parts.append([one.text for one in training_passages()])
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


def gradients(
    model: Decoder, targets: np.ndarray, bos: int, pool: ThreadPoolExecutor, parts: int, bf16: bool
) -> float:
    """Set the gradients, each thread those of its rows; the mean loss."""
    weights = list(model.parameters())

    def part_of(rows: np.ndarray) -> tuple[float, tuple[Tensor, ...]]:
        loss = loss_of(model, rows, bos, bf16=bf16)
        return float(loss.detach()), torch.autograd.grad(loss, weights)

    found = list(pool.map(part_of, np.array_split(targets, parts)))
    for weight, *slopes in zip(weights, *(each for _, each in found), strict=True):
        weight.grad = torch.stack(slopes).mean(0) if parts > 1 else slopes[0]
    return sum(loss for loss, _ in found) / parts


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
    options.add_argument("--decay", type=float, help="of matrices, by default the plan's")
    options.add_argument("--matrix-rate", type=float, help="by default the plan's")
    options.add_argument("--embedding-rate", type=float, help="by default the plan's")
    options.add_argument("--every", type=float, default=120, help="seconds between checkpoints")
    options.add_argument("--install-every", type=float, default=600, help="seconds")
    options.add_argument("--compile", action="store_true", help="faster; needs a C compiler")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--further", action="store_true", help="begin with the package's weights; take a new --seed"
    )
    options.add_argument("--stop", type=int, help="end early, without installing (to try settings)")
    chosen = options.parse_args()
    plan = PLANS[chosen.model]
    chosen.out = chosen.out or plan.folder
    chosen.out.mkdir(parents=True, exist_ok=True)
    chosen.steps = chosen.steps or plan.steps
    for name in ("decay", "matrix_rate", "embedding_rate"):
        if getattr(chosen, name) is None:
            setattr(chosen, name, getattr(plan, name))
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(1)
    tokenizer = ByteTokenizer.read(LANGUAGE / "resident" / "tokenizer.json")
    shape = plan.shape
    held = [np.array(tokenizer.encode(d.text)) for d in held_out_text()]
    held_targets = rows_of(held, shape.context - 1, [0] * len(held))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    parts = kept_documents(plan, tokenizer, chosen.folder / "tokens.npz")
    english, generated = [sum(map(len, part)) for part in (*parts, [])][:2]
    print(
        f"{english} training tokens, {generated} generated, {sum(map(len, held))} held out",
        flush=True,
    )

    model, earlier, phases = Decoder(shape), {}, plan.phases
    if chosen.further:
        model.load_state_dict(resident(chosen.model).module.state_dict())
        earlier = json.loads((plan.folder / "config.json").read_text())["training"]
        phases = ((1.0, plan.phases[-1][1]),)
    elif plan.begins:
        small = resident(plan.begins).module
        model = grown(small, shape, (1, 3, 4, 5))
        given_copying(model, small.shape.width)
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

    def kinds(step: int) -> dict[str, int]:
        """Tokens read so far, by kind; those of earlier trainings count."""
        read = asdict(before(phases, step, chosen.steps))
        known = earlier.get("tokens_by_kind", {})
        return {kind: n * shape.context + known.get(kind, 0) for kind, n in read.items()}

    def about(step: int, every: int = 1) -> dict:
        return {
            "shape": asdict(shape),
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": {
                "begins": plan.begins,
                "text": ENGLISH + (GENERATED if generated else ""),
                "tokens": english,
                "tokens_generated": generated,
                "steps": step + earlier.get("steps", 0),
                "tokens_seen": sum(kinds(step).values()),
                "tokens_by_kind": kinds(step),
                "epochs": round(kinds(step)["english"] / english, 2),
                "held_out_nats_per_token": round(held_out_loss(model, held_targets[::every], 0), 4),
            },
        }

    if chosen.compile:
        for block in model.layers:
            block.compile()
        LinearCrossEntropy.slopes = staticmethod(torch.compile(losses_and_slopes))
    warm = max(1, chosen.steps // 50)
    began = kept = installed = time.monotonic()
    first, mean = done, 0.0
    source = step_rows(parts, shape, phases, chosen.steps, chosen.seed, done)
    pool = ThreadPoolExecutor(chosen.threads)
    for step in range(done, chosen.steps):
        for one, rates in zip(both, highest, strict=True):
            for group, high in zip(one.param_groups, rates, strict=True):
                group["lr"] = high * rate(step, chosen.steps, warm)
        value = gradients(
            model, next(source), tokenizer.bos or 0, pool, chosen.threads, chosen.bf16
        )
        for one in both:
            one.step()
        mean = value if step == first else 0.98 * mean + 0.02 * value
        now = time.monotonic()
        if step % 20 == 19 or step + 1 == chosen.steps:
            read = sum(kinds(step + 1).values()) - sum(kinds(first).values())
            speed = read / (now - began)
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
