"""One of every kind of sparse dictionary, and a few steps of it on one rank or on several."""

import torch

from isthmus.anatomy import Batch, Signal
from isthmus.ranks import Shard, holding
from isthmus.recipes import get_recipe
from isthmus.training import Stepper
from isthmus.training.seeding import seeded
from isthmus.training.sharded_stepper import ShardedStepper
from isthmus.training.sharding import gathered, shard_model, sliced

FEATURES, WIDTH, ROWS, STEPS = 16, 97, 48, 20
AUXK = {"revive": "auxk", "dead_after": 120}
"""Latents are dead after two and a half batches: some are from the third step on."""
CLIPPED = {"clip": 0.05, "average": 0.9}

KINDS = {
    "topk": ("topk", {"k": 6, **AUXK, **CLIPPED}),
    "topk-multi": ("topk", {"k": 5, "multi_weight": 0.125, "k_start": 12, **AUXK}),
    "abstopk": ("abstopk", {"k": 6, **AUXK, **CLIPPED}),
    "llama-scope": ("llama-scope", {"k": 5, **AUXK, **CLIPPED}),
    "batchtopk": ("batchtopk", {"k": 5, **AUXK, **CLIPPED}),
    "matryoshka": ("matryoshka", {"k": 5, **AUXK, **CLIPPED}),
    "matryoshka-random": ("matryoshka", {"k": 5, "prefixes": "random"}),
    "jumprelu": ("jumprelu", {"l0": 6, **AUXK, **CLIPPED}),
    "jumprelu-plain": ("jumprelu", {"threshold": 0.1, "bandwidth": 0.2, "sparsity": 0.1}),
    "jumprelu-tanh": (
        "jumprelu", {"l0": 6, "penalty": "tanh", "preactivation_weight": 1e-3, "unit": False}
    ),
    "gated": ("gated", {"l0": 6, **AUXK, **CLIPPED}),
    "gated-free": ("gated", {"sparsity": 0.1, "unit": False}),
    "relu-l1": ("relu-l1", {"l0": 6, "l0_start": 12, **AUXK, **CLIPPED}),
    "relu-l1-tied": ("relu-l1", {"tied": True}),
    "relu-l1-free": ("relu-l1", {"unit": False}),
    "k-sparse": ("k-sparse", {"k": 6, "k_start": 12}),
}  # fmt: skip
"""By a name, a recipe with options of its model and of its training."""


def built(name, dtype=torch.float64, width=WIDTH):
    """An untrained dictionary that has been set up from data, and its training options."""
    recipe, options = KINDS[name]
    page = get_recipe(recipe)
    model_options, training = page.parse(
        {
            "latent_dim": width,
            "lr": 0.01,
            "warmup": 0,
            "steps": STEPS,
            "batch_size": ROWS,
            **options,
        }
    )
    cpu = torch.device("cpu")
    with seeded(cpu, 0, 0):
        model = page.build(Signal("vector", (FEATURES,)), model_options)
    with seeded(cpu, 0, 1), torch.no_grad():
        model.prepare(data(0, 256), rows=4096, batch_size=ROWS, steps=STEPS)
    return model.to(dtype), training


def data(step, rows=ROWS):
    """Rows of a dictionary of eight atoms, as they come at a step."""
    draw = torch.Generator().manual_seed(step)
    atoms = torch.randn(24, FEATURES, generator=torch.Generator().manual_seed(999))
    on = torch.rand(rows, 24, generator=draw) < 0.2
    return Batch((on * torch.rand(rows, 24, generator=draw)) @ atoms)


def trained(rank, count, name, dtype=torch.float64, steps=STEPS, width=WIDTH):
    """The weights and buffers after some steps, whole on every rank, and the loss at each step."""
    model, training = built(name, dtype, width)
    about = {"total": STEPS, "rows": 4096}
    if count == 1:
        stepper = Stepper(model, training, **about)
        stepper.train()
        return _run(stepper, steps), _state(stepper)
    shard = Shard(rank, count, width)
    shard_model(model, shard)
    stepper = ShardedStepper(model, training, shard, **about)
    stepper.train()
    with holding(shard):
        losses = _run(stepper, steps)
        names = sliced(model)
        names |= {f"average.{name}" for name in names}
        return losses, dict(gathered(_state(stepper), names, shard))


def _run(stepper, steps):
    losses = []
    for step in range(steps):
        (loss,) = stepper.step(data(step), step).values()
        losses.append({"loss": loss.total.item(), **{n: v.item() for n, v in loss.terms.items()}})
    return losses


def _state(stepper):
    state = dict(stepper.model.state_dict())
    if stepper.average is not None:
        state.update({f"average.{name}": mean for name, mean in stepper.average.mean.items()})
    return {name: tensor.detach().clone() for name, tensor in state.items()}
