"""A run with as many latents as people look at: its features are made up, its sizes are not."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import isthmus
from pages.made import write_features

WORDS, LENGTH = 4096, 24
GROUPS = np.repeat(np.arange(11), [16] + [5] * 10)
"""As many examples of each group as are found by default."""


def large_run(folder, latents=10_000):
    """A run in ``folder`` whose features are those of ``latents`` latents."""
    isthmus.fit("topk", "digits", out=folder, latent_dim=8, k=2, steps=1, progress=False)
    g = np.random.default_rng(0)
    words = [f" {word:x}" for word in range(WORDS)]
    rows = [
        {
            "rate": 10 ** g.uniform(-5, -0.5), "histogram": g.integers(0, 999, 24).tolist(),
            "tokens": [words[i] for i in g.integers(0, WORDS, 10)],
            "token_shares": g.random(10).tolist(), "near": g.integers(0, latents, 10).tolist(),
            "near_cosine": g.random(10).tolist(), "x": g.normal(), "y": g.normal(),
        }
        for _ in range(latents)
    ]  # fmt: skip
    write_features(folder / "features", rows, [])
    _examples(folder / "features" / "examples.parquet", latents, words, g)
    return folder


def _examples(path, latents, words, g):
    n = latents * len(GROUPS)
    # Words are as unequally frequent as in a text.
    share = 1 / np.arange(1, WORDS + 1)
    tokens = g.choice(WORDS, n * LENGTH, p=share / share.sum()).astype(np.int32)
    values = np.where(g.random((n, LENGTH)) < 0.08, g.random((n, LENGTH)), 0).astype(np.float32)
    values[:, 15] = g.random(n) + 1
    start = pa.array(np.arange(n + 1, dtype=np.int32) * LENGTH)
    column = pa.DictionaryArray.from_arrays(pa.array(tokens), pa.array(words)).cast(pa.string())
    zeros = np.zeros(n, np.int32)
    table = {
        "latent": np.repeat(np.arange(latents, dtype=np.int32), len(GROUPS)),
        "group": np.tile(GROUPS, latents).astype(np.int8), "document": zeros, "row": zeros,
        "place": zeros + 15, "value": values[:, 15], "begin": zeros,
        "tokens": pa.ListArray.from_arrays(start, column),
        "values": pa.ListArray.from_arrays(start, pa.array(values.ravel())),
        "split": zeros.astype(np.int8),
    }  # fmt: skip
    pq.write_table(pa.table(table), path)
