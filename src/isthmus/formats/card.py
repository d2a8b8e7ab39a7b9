"""The card of a published model: what it is, what was measured, and how to load it.

The head is the YAML that the Hugging Face hub reads ("Model cards", huggingface.co/docs/hub).
"""

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from isthmus.anatomy import Autoencoder
from isthmus.evaluation import Result
from isthmus.formats.read_from import host_of

SHOWN = (
    "l0", "fvu", "loss_recovered", "added_loss", "dead_share", "dense_share", "shrinkage",
    "error_per_element", "elbo", "log_likelihood",
)  # fmt: skip
"""Measures that come first, in this order."""
LOADERS = {
    "isthmus": 'import isthmus\n\nmodel = isthmus.from_pretrained("{where}")',
    "saelens": "from sae_lens import SAE\n\n"
    'sae = SAE.load_from_disk("{folder}")  # the folder, downloaded',
    "sparsify": "from sparsify import SparseCoder\n\n"
    'coder = SparseCoder.load_from_disk("{folder}")  # the folder, downloaded',
    "dictionary_learning": "from dictionary_learning.utils import load_dictionary\n\n"
    'dictionary, config = load_dictionary("{folder}", device="cpu")  # the folder, downloaded',
}


def card(
    model: Autoencoder,
    *,
    format: str = "isthmus",
    where: str = "FOLDER",
    measures: Mapping[str, Result] | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:
    """The text of a card, Markdown below a YAML head.

    ``where`` is what :func:`isthmus.from_pretrained` takes for the model; ``measures`` is what was
    measured of it (:func:`isthmus.evaluate`, and of a dictionary in a language model the fidelity
    too), without which the card says that nothing was; ``about`` are further entries of the head
    (``license``, ``base_model``, ``datasets``, ``language``).
    """
    config = dict(model.config or {})
    recipe = str(config.get("recipe") or "autoencoder")
    lines = [*_head(recipe, config, about or {}), f"# {recipe}", ""]
    lines += [_sentence(model, recipe, config), "", "## Measured", ""]
    lines += _measured(measures)
    lines += ["", "## Load it", "", *_code(LOADERS["isthmus"].format(where=where))]
    if format != "isthmus":
        folder = where.partition("@")[0].rsplit("/", 1)[-1]
        lines += [
            "",
            f"It lies here in the layout of {format}, whose own loader reads it, too:",
            "",
        ]
        lines += _code(LOADERS[format].format(where=where, folder=folder))
    lines += ["", "## How it was trained", "", *_training(config)]
    return "\n".join(lines).rstrip() + "\n"


def _head(recipe: str, config: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    entries: dict[str, Any] = {"library_name": "isthmus", "tags": ["isthmus", recipe]}
    host = host_of(config)
    if host and host.count("/") == 1:  # a name of the hub
        entries["base_model"] = host
    entries.update(about)
    # JSON values are YAML values.
    return ["---", *(f"{name}: {json.dumps(value)}" for name, value in entries.items()), "---", ""]


def _sentence(model: Autoencoder, recipe: str, config: Mapping[str, Any]) -> str:
    signal = model.signal
    shapes = {name: part.shape for name, part in signal.parts.items()} or {"": signal.shape}
    sizes = ", ".join(
        f"{name} {' x '.join(map(str, shape))}".strip() for name, shape in shapes.items()
    )
    latents = dict(config.get("options") or {}).get("latent_dim")
    width = f" with {latents:,} latents" if isinstance(latents, int) else ""
    return (
        f"A model of the recipe `{recipe}` of Isthmus{width}, of data of the kind {signal.kind} "
        f"({sizes})."
    )


def _measured(measures: Mapping[str, Result] | None) -> list[str]:
    if not measures:
        return ["Nothing was measured when this was published."]
    order = [name for name in SHOWN if name in measures]
    order += [name for name in measures if name not in SHOWN]
    rows = ["| measure | value | 95 % interval | rows | how |", "| --- | --- | --- | --- | --- |"]
    for name in order:
        result = measures[name]
        interval = "" if result.interval is None else "{:.4g} to {:.4g}".format(*result.interval)
        value = f"{result.value:.4g}" if math.isfinite(result.value) else "not defined"
        unit = f" {result.unit}" if result.unit else ""
        rows.append(
            f"| {name} | {value}{unit} | {interval} | {result.n:,} | "
            f"{result.estimator.replace('|', '&#124;')} |"
        )
    return rows


def _code(text: str) -> list[str]:
    return ["```python", text, "```"]


def _training(config: Mapping[str, Any]) -> list[str]:
    """Options and training, without places of the machine that it was trained on."""
    training = dict(config.get("training") or {})
    kept = {
        **dict(config.get("options") or {}),
        **{name: training[name] for name in _TRAINING if training.get(name) is not None},
    }
    if not kept:
        return ["It was not trained by Isthmus, or nothing is known of it."]
    return [f"- {name}: {_value(value)}" for name, value in kept.items() if value is not None]


_TRAINING = ("steps", "epochs", "batch_size", "lr", "lr_schedule", "optimiser", "seed")


def _value(value: Any) -> str:
    text = str(value)
    return PurePath(text).name if isinstance(value, (str, PurePath)) and "/" in text else text
