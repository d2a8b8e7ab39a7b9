"""From what a reader found to an ordinary model, without a second copy of the weights."""

from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Batch, Scaling, Signal
from isthmus.anatomy.randomness import drawing
from isthmus.errors import IsthmusError
from isthmus.formats.found import Found
from isthmus.formats.record import NORMS, Record, RowNorm
from isthmus.recipes import get_recipe
from isthmus.recipes.circuits.transcoder import PRICE
from isthmus.recipes.scaling import rescale

RECIPES = {
    "relu": "relu-l1",
    "topk": "topk",
    "abstopk": "abstopk",
    "batchtopk": "batchtopk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "groupmax": "topk",
    "matching_pursuit": "mp-sae",
}
EXAMPLES = 8
"""Rows that a model is saved with, to be compared when it is loaded."""
BY_ROW: dict[RowNorm, Scaling] = {"layer_norm": "rows-sample", "constant_norm": "rows-length"}
"""The scaler of each normalisation of rows."""
UNIT = 1e-3
"""Atoms whose lengths are as close to 1 are taken for such as training keeps there."""
_PART = 1 << 20
"""Entries that are looked at together."""
_TWIN = 4
"""Latents of the small model that shows what a fresh one has in its buffers."""


@torch.no_grad()
def assembled(found: Found) -> Autoencoder:
    """The model, its parameters read from the file one by one; the decoder's lengths are noted."""
    record = found.record
    name, options = _recipe_of(found)
    recipe = get_recipe(name)
    signal = _signal(record)
    tensors = _tensors(found)
    options["unit"] = record.decoder_norm != "free"
    known = recipe.model_options.model_fields
    options = {n: v for n, v in options.items() if n in known or n == "scaling"}
    mode = BY_ROW.get(record.row_norm)
    if mode is not None:
        record.notes.append(
            f"each row is normalised by itself ({NORMS[record.row_norm]}): what is decoded without "
            "its row stays in units of the normalised ones"
        )
    model = filled(record, name, signal, options, tensors, mode)
    _scale(model, record)
    model.reference_rows = _examples(model)
    return model


@torch.no_grad()
def filled(
    record: Record,
    name: str,
    signal: Signal,
    options: dict[str, Any],
    tensors: dict[str, Tensor],
    mode: Scaling | None = None,
) -> Autoencoder:
    """A model of a recipe with these tensors for its own, by name; ``mode`` is its scaler's.

    None is copied: the model is built without memory, and what else it has is that of a small one.
    """
    recipe = get_recipe(name)
    options, _ = recipe.parse(options)
    with torch.device("meta"):
        model = recipe.build(signal, options)
    if mode is not None:  # the meta model's scaler has no values yet
        rescale(model, mode)
    fresh: dict[str, Tensor] = {}
    if {*model.state_dict()} - {*tensors}:
        with drawing(torch.device("cpu"), 0):
            twin = recipe.build(signal, {**options, "latent_dim": max(_TWIN, record.k or 0)})
        if mode is not None:
            rescale(twin, mode)
        fresh = twin.state_dict()
    state: dict[str, Tensor] = {}
    for key, meta in model.state_dict().items():
        if key in tensors:
            state[key] = tensors.pop(key)
        elif fresh[key].shape == meta.shape:
            state[key] = fresh[key]
        else:  # a counter a latent
            state[key] = torch.zeros(meta.shape, dtype=meta.dtype)
    if tensors:
        raise IsthmusError(
            f"{record.source} has {', '.join(sorted(tensors))}, which the recipe {name!r} has no "
            "place for: use the library that wrote it"
        )
    _check(state, str(record.source))
    model.load_state_dict(state, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.prepared = {0}
    model.config = {
        "recipe": name,
        **({} if mode is None else {"scaling": mode}),
        "options": options,
        "training": {},
        "signal": signal.to_dict(),
        "data": None,
        "published": record.to_dict(),
    }
    model.eval()
    return model


def _recipe_of(dictionary: Found) -> tuple[str, dict[str, Any]]:
    record = dictionary.record
    options: dict[str, Any] = {
        "latent_dim": record.d_sae,
        "k": record.k,
        "subtract_bias": record.subtract_bias,
        "scaling": "none" if record.input_scale == record.output_scale == 1.0 else "global",
    }
    where = record.source
    if record.row_norm != "none":
        options["scaling"] = "rows"
        if record.transcoder or record.input_scale != 1.0:
            raise IsthmusError(
                f"{where} normalises each row ({record.row_norm}) of a transcoder, or scales it, "
                "too, and no recipe here does so yet: use the library that wrote it"
            )
    if record.transcoder:
        if record.activation not in ("relu", "topk", "batchtopk", "jumprelu") or record.weigh:
            raise IsthmusError(
                f"{where} is a {record.activation} transcoder, or one that compares latents by "
                "their atoms, for which there is no recipe here yet: use the library that wrote it"
            )
        options["skip"] = record.skip
        options["select"] = "batch" if record.activation == "batchtopk" else "row"
        options["activation"] = "jumprelu" if record.activation == "jumprelu" else "relu"
        options["sparsity"] = PRICE  # without one a control would look for it, from the start
        return "transcoder", options
    if record.weigh:
        if record.activation != "topk" or record.subtract_bias:
            raise IsthmusError(
                f"{where} compares {record.activation} latents by the lengths of their atoms, for "
                "which there is no recipe here yet: use the library that wrote it"
            )
        return "llama-scope", options
    if record.activation == "groupmax":
        options["grouped"] = True
    if record.activation == "topk":
        options["threshold"] = record.threshold is not None
    if record.activation == "matching_pursuit":
        options.update(tolerance=record.tolerance, until_repeat=record.until_repeat)
    if dictionary.shares:
        return "matryoshka", {**options, "shares": dictionary.shares}
    return RECIPES[record.activation], options


def _signal(record: Record) -> Signal:
    if not record.transcoder:
        return Signal("vector", (record.d_in,))
    parts = {"in": Signal("vector", (record.d_in,)), "out": Signal("vector", (record.d_out,))}
    return Signal("collection", parts=parts)


def _tensors(dictionary: Found) -> dict[str, Tensor]:
    """The parameters by their names in the model."""
    record, weights = dictionary.record, dictionary.weights
    encoder = "encoder.each.in" if record.transcoder else "encoder"
    names = {
        "W_enc": f"{encoder}.weight",
        "b_enc": f"{encoder}.bias",
        "W_dec": "decoder.weight",
        "b_dec": "decoder.bias",
        "r_mag": "bottleneck.log_scale",
        "b_mag": "bottleneck.bias",
        "W_skip": "decoder.skip_weight",
    }
    read = {names[name]: stored.read() for name, stored in weights.items() if name in names}
    lengths = read["decoder.weight"].norm(dim=1)
    record.decoder_norm = "unit" if bool(((lengths - 1).abs() < UNIT).all()) else "free"
    _note_lengths(record, lengths)
    if dictionary.fold and record.decoder_norm == "free":
        read[f"{encoder}.weight"] *= lengths[:, None]
        read[f"{encoder}.bias"] *= lengths
        read["decoder.weight"] /= lengths.clamp_min(1e-8)[:, None]
        record.decoder_norm = "folded"
        record.notes.append("atoms were given length 1, and latents multiplied by what they had")
    if "threshold" in weights:
        read.update(_threshold(dictionary))
    return read


def _note_lengths(record: Record, lengths: Tensor) -> None:
    """Atoms of one length that is not 1 are what a scale leaves that was folded in."""
    none = int((lengths == 0).sum())
    if none:
        record.notes.append(
            f"{none} {'atom has' if none == 1 else 'atoms have'} no length: the latents write "
            "nothing"
        )
    mean = float(lengths.mean())
    alike = bool(((lengths - mean).abs() < UNIT * mean).all())
    if alike and record.decoder_norm == "free" and record.input_scale != 1.0:
        record.notes.append(
            f"all atoms have length {mean:.4g}, so that a scale of {1 / mean:.4g} seems folded "
            f"already, and the factor {record.input_scale:.4g} is applied as its settings say"
        )


def _threshold(dictionary: Found) -> dict[str, Tensor]:
    record, stored = dictionary.record, dictionary.weights["threshold"]
    threshold = stored.read(torch.float64)
    if not bool(threshold.isfinite().all()):
        raise IsthmusError(f"{record.source} has thresholds that are no numbers: fetch it again")
    if record.activation in ("batchtopk", "topk"):
        value = threshold.flatten()[0]
        # As many batches as the average remembers, so that training on does not throw it away.
        return {"bottleneck.threshold": value, "bottleneck.batches": torch.tensor(100)}
    threshold = threshold.expand(record.d_sae) if threshold.numel() == 1 else threshold
    if bool((threshold < 0).any()):
        count = int((threshold < 0).sum())
        record.notes.append(f"{count} thresholds are negative and count as zero: latents are not")
    return {"bottleneck.log_threshold": threshold.clamp_min(0.0).log().float()}


def _check(state: dict[str, Tensor], where: str) -> None:
    for name, tensor in state.items():
        if not tensor.is_floating_point() or "log_threshold" in name:
            continue
        # In parts: whole copies of a large matrix would be the most memory that is needed.
        flat = tensor.flatten()
        count = sum(len(part) - int(part.isfinite().sum()) for part in flat.split(_PART))
        if count:
            raise IsthmusError(
                f"{where} has {count} entries in {name} that are NaN or infinite: fetch it again"
            )


def _scale(model: Autoencoder, record: Record) -> None:
    if record.input_scale == record.output_scale == 1.0:
        return
    if not record.transcoder:
        if record.input_scale != record.output_scale:
            raise IsthmusError(
                f"{record.source} scales what it reads and what it writes by two numbers, and is no"
                " transcoder: fetch it again"
            )
        model.scaler.scale.fill_(1.0 / record.input_scale)
        return
    model.scaler_of("read").scale.fill_(1.0 / record.input_scale)
    model.scaler_of("written").scale.fill_(1.0 / record.output_scale)


def _examples(model: Autoencoder) -> Batch:
    """A few rows in the user's units, of the size of what the model writes."""
    generator = torch.Generator().manual_seed(0)
    weight, offset = model.W_dec, model.b_dec
    latents = torch.randint(0, len(weight), (EXAMPLES, 4), generator=generator)
    rows = weight[latents].sum(1) + offset
    rows = rows + 0.1 * rows.std() * torch.randn(rows.shape, generator=generator)
    if model.signal.kind != "collection":
        return Batch(rows)
    read = torch.randn(EXAMPLES, model.d_in, generator=generator)
    norms = model.W_enc.norm(dim=0).mean()
    return Batch({"in": read / norms.clamp_min(1e-12), "out": rows})
