"""How the likelihood of MNIST falls with training, for K = 1, 5 and 50 importance samples.

The networks, batches and first rate of Burda, Grosse, Salakhutdinov 2015 (one stochastic layer,
dynamic binarisation), each length trained by itself with a rate that ends at zero. The published
86.76, 85.54 and 84.78 nats took 3280 passes over 60,000 images; a pass is 3000 steps.

    python -m benchmarks.likelihood --steps 1500,6000,24000
"""

import argparse
import time

import numpy as np

import isthmus
from isthmus import data

PUBLISHED = {1: 86.76, 5: 85.54, 50: 84.78}


def main() -> None:
    """Print a line for each length and K."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", default="1500,6000,24000")
    parser.add_argument("--samples", default="1,5,50", help="K, by comma")
    parser.add_argument("--rows", type=int, default=500, help="test images")
    parser.add_argument("--draws", type=int, default=5000, help="importance samples")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = data.load("mnist")
    assert found.test is not None
    rng = np.random.default_rng(options.seed)
    chosen = found.test[rng.permutation(len(found.test))[: options.rows]] / 255.0
    test = (rng.random(chosen.shape) < chosen).astype(np.float32)[:, None]
    rows = (found.train / np.float32(255.0))[:, None]
    print("| steps | K | nats | above the published | active units | minutes |")
    print("| --- |" + " --- |" * 5)
    for steps in map(int, options.steps.split(",")):
        for samples in map(int, options.samples.split(",")):
            start = time.perf_counter()
            model = isthmus.fit(
                "iwae", rows, samples=samples, latent_dim=50, batch_size=20, lr=1e-3,
                lr_schedule="cosine", steps=steps, seed=options.seed, progress=False,
            )  # fmt: skip
            minutes = (time.perf_counter() - start) / 60
            measured = isthmus.evaluate(model, test, samples=options.draws, seed=options.seed)
            bound = measured["importance_bound"]
            low, high = (-one for one in reversed(bound.interval or (np.nan, np.nan)))
            gap = f"{-bound.value - PUBLISHED[samples]:+.2f}" if samples in PUBLISHED else ""
            print(
                f"| {steps} | {samples} | {-bound.value:.2f} [{low:.2f}, {high:.2f}] | {gap} | "
                f"{measured['active_units'].value:.0f} | {minutes:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
