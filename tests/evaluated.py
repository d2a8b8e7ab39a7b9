"""Dictionaries fitted here, measured by SAEBench (`make saebench`) and by ours on the same text."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import isthmus
from isthmus.activations import Activations
from isthmus.evaluation import fvu
from isthmus.interpretation.fidelity import losses
from isthmus.language import Tokens, open_model
from peers import FIXTURES

EVALUATED = FIXTURES / "evaluated"
POINT = "layers.1"
NAMES = ("batchtopk", "topk")
EVERY, WITHOUT = "every token", "without the first"


def saebench(folder: Path = EVALUATED) -> dict[str, dict[str, dict[str, float]]]:
    """What SAEBench measured, by dictionary and by tokens."""
    return json.loads((folder / "saebench.json").read_text())["of"]


@cache
def ours(name: str, which: str, folder: Path = EVALUATED) -> dict[str, float]:
    """The same quantities by ours, called as SAEBench calls them, and ``fvu``.

    ``explained_variance`` and ``explained_variance_legacy`` are by SAEBench's formulas: the first
    takes the square of the mean square of an element for the square of its mean, the second is the
    mean of each token's own share.
    """
    model, host = isthmus.from_pretrained(folder / name), open_model("resident")
    ids = load_file(folder / "tokens.safetensors")["tokens"].long()
    zeros = torch.zeros(len(ids), dtype=torch.long)
    tokens = Tokens(ids, torch.ones_like(ids), zeros, zeros, ["text"])
    loss = losses(host, POINT, model, tokens, skip_special=which == WITHOUT)
    with torch.no_grad():
        x = Activations(host.module, POINT)(ids)[POINT]
    x = (x[:, 1:] if which == WITHOUT else x).flatten(0, 1)
    codes, output = model.encode(x), model.reconstruct(x)
    x, output = x.double().numpy(), output.double().numpy()
    missed, spread = np.square(x - output).sum(1), np.square(x - x.mean(0)).sum(1)
    square = np.square(x).sum(1).mean()
    clean, spliced, zero = (float(part.mean()) for part in (loss.ce, loss.ce_spliced, loss.ce_zero))
    return {
        "l0": float((codes != 0).double().sum(1).mean()),
        "fvu": fvu(x, output).value,
        "squared_error": float(missed.mean()),
        "explained_variance": float(1 - missed.mean() / (square - (square / x.shape[1]) ** 2)),
        "explained_variance_legacy": float((1 - missed / spread).mean()),
        "ce_loss_without_sae": clean,
        "ce_loss_with_sae": spliced,
        "ce_loss_with_ablation": zero,
        "ce_loss_score": (zero - spliced) / (zero - clean),
    }


def theirs(name: str, which: str, folder: Path = EVALUATED) -> dict[str, float]:
    """SAEBench's, and the squared error a token: its ``mse`` is divided by their number again."""
    measured = dict(saebench(folder)[name][which])
    ids = load_file(folder / "tokens.safetensors")["tokens"]
    count = ids.numel() - (len(ids) if which == WITHOUT else 0)
    return {**measured, "squared_error": measured["mse"] * count}
