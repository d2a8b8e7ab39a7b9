"""What a language model loses to a dictionary's reconstruction: added cross-entropy over L0.

ReLU-L1, TopK and JumpReLU dictionaries on the resident model's residual stream, at four
sparsities, all of one seed from one pass over the same activations; ``l0`` is asked for, never a
coefficient. Spliced back on text that neither the model nor the dictionaries were trained on
(``held-out``; without ISTHMUS_DATA everything is text that the model wrote itself).

    python -m benchmarks.language -o frontier-lm.json
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import isthmus
from isthmus.activations import harvest
from isthmus.interpretation import behaviour
from isthmus.language import LanguageModel, Tokens, documents, open_model, pack
from isthmus.language.texts import default_text

LEVELS = (8, 16, 32, 64)
NATS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
ASKED = {"topk": "k", "relu-l1": "l0", "jumprelu": "l0"}
MEASURES = ("ce", "added_ce", "kl", "loss_recovered_zero", "loss_recovered_mean",
            "loss_recovered_resample")  # fmt: skip
Point = dict[str, Any]


def tokens_of(host: LanguageModel, text: str, limit: int) -> Tokens:
    """The first ``limit`` tokens of a text, spread over its documents."""
    return pack(documents(text), host.tokenizer, host.context, limit)


def variants() -> dict[str, dict[str, Any]]:
    """What is fitted, by name."""
    return {
        f"{recipe}-{level}": {"recipe": recipe, name: level if name == "k" else float(level)}
        for recipe, name in ASKED.items()
        for level in LEVELS
    }


def run(host: LanguageModel, source: Any, held: Tokens, seed: int, args: Any) -> list[Point]:
    """All dictionaries of one seed."""
    begun = time.perf_counter()
    models = isthmus.fit_many(
        variants(), source, latent_dim=args.width, steps=args.steps, batch_size=args.batch,
        lr=args.lr, seed=seed,
    )  # fmt: skip
    fitted = time.perf_counter() - begun
    points = []
    for title, model in models.items():
        recipe, asked = title.rsplit("-", 1)
        assert isinstance(model, isthmus.Autoencoder)
        sample = source.rows(_spread(len(source), 8192))
        found = isthmus.evaluate(model, sample.numpy())
        kept = behaviour(host, args.at, model, held)
        point: Point = {"kind": recipe, "asked": int(asked), "seed": seed}
        point |= {name: found[name].value for name in ("fvu", "l0", "dead_share")}
        for name in MEASURES:
            point[name], point[f"{name}_interval"] = kept[name].value, kept[name].interval
        points.append(point)
        print(f"  seed {seed} {title:12} L0 {point['l0']:6.2f}  FVU {point['fvu']:.4f}  added "
              f"{point['added_ce']:.4f} nats  recovered {point['loss_recovered_zero']:.4f}",
              flush=True)  # fmt: skip
    print(f"  seed {seed}: {fitted:.0f} s to fit {len(models)} dictionaries", flush=True)
    return points


def _spread(rows: int, number: int) -> Any:
    import torch

    return torch.linspace(0, rows - 1, min(rows, number)).long()


def table(points: list[Point]) -> str:
    """Means over the seeds, with their range where it matters."""
    lines = [
        "| kind | asked | L0 | FVU | dead | added cross-entropy, nats | loss recovered (zero) | "
        "(mean) | (resample) |",
        "| --- |" + " --- |" * 8,
    ]
    for kind in ASKED:
        for level in LEVELS:
            own = [p for p in points if (p["kind"], p["asked"]) == (kind, level)]
            mean = {name: statistics.mean(p[name] for p in own)
                    for name in ("l0", "fvu", "dead_share", *MEASURES)}  # fmt: skip
            added = [p["added_ce"] for p in own]
            lines.append(
                f"| {kind} | {level} | {mean['l0']:.1f} | {mean['fvu']:.3f} | "
                f"{100 * mean['dead_share']:.0f} % | {mean['added_ce']:.4f} ({min(added):.4f} to "
                f"{max(added):.4f}) | {mean['loss_recovered_zero']:.4f} | "
                f"{mean['loss_recovered_mean']:.4f} | {mean['loss_recovered_resample']:.4f} |"
            )
    return "\n".join(lines)


def picture(points: list[Point], path: Path) -> None:
    """Lines are means over the seeds, dots the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for number, kind in enumerate(ASKED):
        own = [p for p in points if p["kind"] == kind]
        line = [
            [statistics.mean(p[name] for p in own if p["asked"] == level) for level in LEVELS]
            for name in ("l0", "added_ce")
        ]
        axes.plot(*line, color=f"C{number}", label=kind)
        axes.plot([p["l0"] for p in own], [p["added_ce"] for p in own], ".", color=f"C{number}")
    axes.set(xscale="log", yscale="log", xlabel="L0, latents active")
    axes.set_title("the resident model, held-out text")
    axes.set_xticks(LEVELS, [str(level) for level in LEVELS])
    axes.set_yticks(NATS, [f"{nats:g}" for nats in NATS])
    axes.minorticks_off()
    axes.grid(axis="y", color="0.9")
    axes.set_ylabel("added cross-entropy, nats a token: lower is better")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Fit, splice, and write the points and the picture."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--at", default="layers.1")
    made.add_argument("--width", type=int, default=1536)
    made.add_argument("--steps", type=int, default=600)
    made.add_argument("--batch", type=int, default=1024)
    made.add_argument("--lr", type=float, default=1.6e-3)
    made.add_argument("--tokens", type=int, default=200_000)
    made.add_argument("--held", type=int, default=20_000)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("-o", "--output", type=Path, default=Path("frontier-lm.json"))
    args = made.parse_args(argv)
    host = open_model("resident")
    text = "training" if default_text() == "held-out" else "samples:1200"
    unseen = "held-out" if default_text() == "held-out" else "samples:64"
    held = tokens_of(host, unseen, args.held)
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as name:
        store = harvest(host, tokens_of(host, text, args.tokens), args.at, Path(name) / "store")
        source = store.source(args.at)
        for seed in range(args.seeds):
            points += run(host, source, held, seed, args)
            args.output.write_text(json.dumps(points, indent=1) + "\n")
    picture(points, args.output.with_suffix(".png"))
    print(table(points))


if __name__ == "__main__":
    main()
