"""What the trainer costs over a bare PyTorch loop of the same model, and beside pythae's trainer.

``hand`` is a loop written out with nothing but torch, ``hand-fused`` the same with the fused Adam
that the trainer uses, ``parts`` a bare loop over the library's own model. Data are random: speed
does not depend on them.
"""

import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import Arm, clock, interleave, ratio
from isthmus.anatomy import Autoencoder, ask
from isthmus.anatomy.part import parts_with
from isthmus.data import as_source
from isthmus.recipes import get_recipe
from isthmus.training import Callback, Trainer, TrainingOptions


class Stopwatch(Callback):
    """Seconds between the first step's end and the last step's end."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def on_step(self, trainer: Trainer, step: int) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last


def trainer_arm(recipe: str, x: torch.Tensor, options: dict[str, Any], steps: int) -> Arm:
    """The public trainer, set up anew each time; its first step warms up and is not counted."""

    def run() -> float:
        source = as_source(x)
        chosen, training = get_recipe(recipe).parse({**options, "steps": steps + 1})
        model = get_recipe(recipe).build(source.signal, chosen)
        watch = Stopwatch()
        Trainer(model, source, training, callbacks=[watch], progress=False).run()
        return watch.last - watch.first

    return run


def parts_arm(recipe: str, x: torch.Tensor, options: dict[str, Any], steps: int) -> Arm:
    """A bare loop over the library's model: forward, objective, backward, step, its own hooks."""

    def run() -> float:
        source = as_source(x)
        chosen, training = get_recipe(recipe).parse(options)
        model = get_recipe(recipe).build(source.signal, chosen)
        model.prepare(x[:4096])
        optimiser = torch.optim.Adam(model.parameters(), lr=training.lr, fused=True)
        size = training.batch_size
        step = _bare_step(model, optimiser, training)
        order = torch.randperm(len(x))
        step(x[order[:size]])

        def loop() -> None:
            for i in range(steps):
                start = (i * size) % (len(x) - size + 1)
                step(x[order[start : start + size]])

        return clock(loop)

    return run


def _bare_step(
    model: Autoencoder, optimiser: torch.optim.Optimizer, training: TrainingOptions
) -> Any:
    observers = list(parts_with(model, "observe"))
    before = [part.before_update for part in parts_with(model, "before_update")]
    after = [part.after_update for part in parts_with(model, "after_update")]
    parameters = list(model.parameters())
    average = [p.detach().clone() for p in parameters] if training.average else None

    def step(x: torch.Tensor) -> None:
        out = model(x)
        with torch.no_grad():
            for part in observers:
                part.observe(out, out.step)
        model.objective(model, out).total.backward()
        if training.clip is not None:
            nn.utils.clip_grad_norm_(parameters, training.clip)
        for hook in before:
            ask(hook, model=model, step=out.step)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        for hook in after:
            ask(hook, model=model, step=out.step)
        if average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, 1.0 - training.average)

    return step


def hand_vae_arm(x: torch.Tensor, batch: int, steps: int, *, fused: bool) -> Arm:
    """A 784-512-16 VAE in bare torch."""

    def run() -> float:
        encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 32))
        decoder = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 784))
        parameters = [*encoder.parameters(), *decoder.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=fused)
        flat = x.flatten(1)
        order = torch.randperm(len(flat))

        def step(start: int) -> None:
            rows = flat[order[start : start + batch]]
            mean, logvar = encoder(rows).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
            logits = decoder(z)
            nll = F.binary_cross_entropy_with_logits(logits, rows, reduction="none").sum(1)
            kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)
            loss = (nll + kl).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

        step(0)
        return clock(lambda: [step((i * batch) % (len(flat) - batch + 1)) for i in range(steps)])

    return run


def pythae_arm(x: torch.Tensor, batch: int, steps: int) -> Arm | None:
    """The same VAE under pythae's trainer, or None where pythae is not installed."""
    try:
        from benchmarks.pythae_vae import run_pythae
    except ImportError:
        return None
    return lambda: run_pythae(x, batch, steps)


def main(rounds: int = 7) -> None:
    """Print the ratios."""
    torch.manual_seed(0)
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}, {rounds} rounds; "
          "ratios are medians of paired rounds, their middle half in brackets")  # fmt: skip
    images = torch.rand(20_000, 1, 28, 28)
    vae = {
        "latent_dim": 16, "network": "mlp", "hidden": (512,), "capacity": None, "beta": 1.0,
        "lr": 1e-3,
    }  # fmt: skip
    for batch, steps in ((128, 150), (1024, 40)):
        options = {**vae, "batch_size": batch}
        arms = {
            "trainer": trainer_arm("beta-vae", images, options, steps),
            "parts": parts_arm("beta-vae", images, options, steps),
            "hand": hand_vae_arm(images, batch, steps, fused=False),
            "hand-fused": hand_vae_arm(images, batch, steps, fused=True),
        }
        peer = pythae_arm(images, batch, steps)
        if peer is not None:
            arms["pythae"] = peer
        report(f"VAE 784-512-16, batch {batch}", arms, steps, rounds)
    vectors = torch.randn(3 * 4096, 512)
    options = {"latent_dim": 8192, "k": 32, "batch_size": 4096}
    arms = {
        "trainer": trainer_arm("topk", vectors, options, 6),
        "parts": parts_arm("topk", vectors, options, 6),
    }
    report("TopK 512 -> 8192, k = 32, batch 4096", arms, 6, rounds)


def report(title: str, arms: dict[str, Arm], steps: int, rounds: int) -> None:
    """Time the arms and print milliseconds a step and the trainer's ratio to each other arm."""
    seconds = interleave(arms, rounds)
    print(f"\n{title}")
    for name, taken in seconds.items():
        print(f"  {name:11} {1000 * sorted(taken)[len(taken) // 2] / steps:8.2f} ms a step")
    for base in arms:
        if base != "trainer":
            print(f"  {ratio(seconds, 'trainer', base)}")


if __name__ == "__main__":
    main()
