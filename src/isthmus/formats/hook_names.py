"""What other tools call a point of a model: TransformerLens, nnsight, interp-engine.

A point here is a module's path with ``:in`` or ``:out`` behind it, as in ``model.layers.3.mlp:in``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from isthmus.errors import IsthmusError, unknown

Tool = Literal["transformer_lens", "nnsight", "interp_engine"]
TOOLS = ("transformer_lens", "nnsight", "interp_engine")
LENS = {
    "resid_pre": "hook_resid_pre", "resid_mid": "hook_resid_mid", "resid_post": "hook_resid_post",
    "attn_in": "ln1.hook_normalized", "attn_out": "hook_attn_out", "z": "attn.hook_z",
    "mlp_in": "ln2.hook_normalized", "mlp_act": "mlp.hook_post", "mlp_out": "hook_mlp_out",
}  # fmt: skip
"""Kinds of places of a block as TransformerLens calls them, where it was loaded unprocessed.

``attn_out`` and ``mlp_out`` are what is added to the stream, behind a norm where one follows.
"""


@dataclass(frozen=True)
class Family:
    """Where a family of models has its places.

    stack
        Path of the list of blocks, which :mod:`transformers` gives a whole model.
    places
        By kind, the module within a block (empty: the block itself) and the side.
    lens, engine
        Whether TransformerLens and interp-engine know the family; ``lens`` is how the former's
        names begin.
    tuples
        Modules within a block whose output is a tuple, of which the first part counts.
    post
        Kinds behind a norm of their own, which interp-engine calls by another name.
    embedding
        Path of the token embedding where TransformerLens's ``hook_embed`` is its output.
    """

    stack: str
    places: Mapping[str, tuple[str, str]]
    lens: str | None = "blocks"
    engine: bool = True
    tuples: frozenset[str] = field(default=frozenset())
    post: frozenset[str] = field(default=frozenset())
    embedding: str | None = None


def _places(
    attention: str, first: str, second: str, *, out: str, mlp: str = "mlp", down: str
) -> dict[str, tuple[str, str]]:
    return {
        "resid_pre": ("", "in"),
        "attn_in": (first, "out"),
        "z": (out, "in"),
        "attn_out": (attention, "out"),
        "resid_mid": (second, "in"),
        "mlp_in": (second, "out"),
        "mlp_act": (down, "in"),
        "mlp_out": (mlp, "out"),
        "resid_post": ("", "out"),
    }


_LLAMA = _places("self_attn", "input_layernorm", "post_attention_layernorm",
                 out="self_attn.o_proj", down="mlp.down_proj")  # fmt: skip
_GEMMA = {
    **_places("post_attention_layernorm", "input_layernorm", "pre_feedforward_layernorm",
              out="self_attn.o_proj", mlp="post_feedforward_layernorm", down="mlp.down_proj"),
    "attn_raw": ("self_attn", "out"),
    "mlp_raw": ("mlp", "out"),
}  # fmt: skip
_NEOX = _places("attention", "input_layernorm", "post_attention_layernorm",
                out="attention.dense", down="mlp.dense_4h_to_h")  # fmt: skip
_SELF = frozenset({"self_attn"})
_PLAIN = Family("model.layers", _LLAMA, tuples=_SELF, embedding="model.embed_tokens")
_NORMED = Family("model.layers", _GEMMA, tuples=_SELF, post=frozenset({"attn_out", "mlp_out"}))


def _t5(stack: str, last: int) -> Family:
    places = _places("layer.0.SelfAttention", "layer.0.layer_norm", f"layer.{last}.layer_norm",
                     out="layer.0.SelfAttention.o", mlp=f"layer.{last}.DenseReluDense",
                     down=f"layer.{last}.DenseReluDense.wo")  # fmt: skip
    places["resid_mid"] = ("layer.1", "in")
    return Family(f"{stack}.block", places, stack, engine=False,
                  tuples=frozenset({"", "layer.0.SelfAttention"}))  # fmt: skip


FAMILIES: dict[str, tuple[Family, ...]] = {
    "gpt2": (Family("transformer.h", _places("attn", "ln_1", "ln_2", out="attn.c_proj",
                                             down="mlp.c_proj"),
                    tuples=frozenset({"attn"}), embedding="transformer.wte"),),
    "llama": (_PLAIN,),
    "mistral": (_PLAIN,),
    "qwen2": (_PLAIN,),
    "qwen3": (_PLAIN,),
    "gemma": (Family("model.layers", _LLAMA, tuples=_SELF),),  # whose embedding is scaled
    "gemma2": (_NORMED,),
    "gemma3_text": (_NORMED,),
    "gpt_neox": (Family("gpt_neox.layers", {n: p for n, p in _NEOX.items() if n != "resid_mid"},
                        tuples=frozenset({"attention"}), embedding="gpt_neox.embed_in"),),
    "t5": (_t5("encoder", 1), _t5("decoder", 2)),
    "vit": (Family("layers", _places("attention", "layernorm_before", "layernorm_after",
                                     out="attention.o_proj", down="mlp.fc2"),
                   None, engine=False, tuples=frozenset({"attention"})),),
    "mamba": (Family("backbone.layers", {"resid_pre": ("", "in"), "mixer_in": ("norm", "out"),
                                         "mixer_out": ("mixer", "out"),
                                         "resid_post": ("", "out")}, None, engine=False),),
}  # fmt: skip
"""By ``config.model_type`` of :mod:`transformers`. ``gpt_neox`` is meant with parallel residuals,
as Pythia has: nothing stands between attention and MLP there."""


_READS = (
    ("attn_in", "attn_raw", "attn_out"),
    ("mlp_in", "mlp_raw", "mlp_out"),
    ("mixer_in", "", "mixer_out"),
)
"""What a norm gives, and the module that reads it: raw, where its output has a norm of its own."""


def families(model_type: str) -> tuple[Family, ...]:
    """The stacks of blocks of a family of models; an error where it is not known."""
    if model_type not in FAMILIES:
        raise unknown("family of models", model_type, FAMILIES)
    return FAMILIES[model_type]


def names_of(point: str, model_type: str) -> dict[Tool, str | None]:
    """What each tool calls a point; None where it has no name for it.

    ``point`` is a path as a whole model of :mod:`transformers` has it, ``model_type`` its
    ``config.model_type``. Names of TransformerLens are those of a model that was loaded without
    processing (``from_pretrained_no_processing``): folded norms have other values. nnsight's begin
    behind the model, and interp-engine's are its addresses as text.

    >>> names_of("model.layers.3.mlp:out", "llama")["transformer_lens"]
    'blocks.3.hook_mlp_out'
    """
    path, side = _divided(point)
    family, layer, kind, inner = _told(path, side, model_type)
    lens = engine = None
    if family is not None and kind is not None:
        if family.lens is not None and kind in LENS:
            lens = f"{family.lens}.{layer}.{LENS[kind]}"
        if family.engine:
            engine = f"{_engine(kind, family)}.{layer}"
    elif side == "out" and any(one.embedding == path for one in families(model_type)):
        lens = "hook_embed"
    if engine is None and side == "out":
        engine = f"path.{path}"
    part = "[0]" if side == "out" and family is not None and inner in family.tuples else ""
    indexed = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)
    nnsight = f"{indexed}.{'input' if side == 'in' else f'output{part}'}"
    return {"transformer_lens": lens, "nnsight": nnsight, "interp_engine": engine}


def point_of(name: str, tool: Tool, model_type: str) -> str:
    """The point that a tool calls ``name``: what :func:`names_of` takes.

    An :class:`IsthmusError` where the tool has no such name, or the family no such place.

    >>> point_of("blocks.3.hook_resid_post", "transformer_lens", "gpt2")
    'transformer.h.3:out'
    """
    if tool not in TOOLS:
        raise unknown("tool", tool, TOOLS)
    stacks = families(model_type)
    if tool == "nnsight":
        match = re.fullmatch(r"([\w.\[\]]+)\.(input|output)(\[0\])?", name)
        if match is not None:
            path = re.sub(r"\[(\d+)\]", r".\1", match[1])
            return ":".join(_divided(f"{path}:{'in' if match[2] == 'input' else 'out'}"))
    elif tool == "interp_engine":
        if name.startswith("path."):
            return ":".join(_divided(f"{name.removeprefix('path.')}:out"))
        kind, _, number = name.rpartition(".")
        for family in stacks:
            kinds = {_engine(one, family): one for one in family.places} if family.engine else {}
            if kind in kinds and number.isdecimal():
                return _point(family, int(number), kinds[kind])
    else:
        for family in stacks:
            if name == "hook_embed" and family.embedding is not None:
                return f"{family.embedding}:out"
            match = re.fullmatch(rf"{family.lens}\.(\d+)\.(.+)", name)
            kinds = {hook: kind for kind, hook in LENS.items() if kind in family.places}
            if family.lens is not None and match is not None and match[2] in kinds:
                return _point(family, int(match[1]), kinds[match[2]])
    raise IsthmusError(
        f"{name!r} of {tool} is no place of a {model_type} that is known here: name the module's "
        "path instead"
    )


def _engine(kind: str, family: Family) -> str:
    """interp-engine's name of a kind: what a module gives, and what is added behind its norm."""
    if kind in ("attn_raw", "mlp_raw"):
        return kind.replace("raw", "out")
    return f"{kind}_post" if kind in family.post else kind


def _point(family: Family, layer: int, kind: str) -> str:
    inner, side = family.places[kind]
    return f"{family.stack}.{layer}{'.' if inner else ''}{inner}:{side}"


_PATH = re.compile(r"[A-Za-z_]\w*(\.([A-Za-z_]\w*|0|[1-9][0-9]*))*")
"""A module's path: names and numbers, apart by points."""


def _divided(point: str) -> tuple[str, str]:
    path, _, side = point.partition(":")
    if side not in ("", "in", "out") or not _PATH.fullmatch(path):
        raise IsthmusError(f"{point!r} is no point: write a module's path, with :in or :out behind")
    return path, side or "out"


def _told(
    path: str, side: str, model_type: str
) -> tuple[Family | None, int | None, str | None, str | None]:
    """Family, layer, kind and module within the block, as far as a path tells them."""
    for family in families(model_type):
        match = re.fullmatch(rf"{re.escape(family.stack)}\.(\d+)(?:\.(.+))?", path)
        if match is None:
            continue
        inner = match[2] or ""
        kinds = [kind for kind, place in family.places.items() if place == (inner, side)]
        if not kinds and side == "in":  # what a module reads is what the norm before it gave
            for kind, raw, plain in _READS:
                module = family.places.get(raw) or family.places.get(plain)
                if kind in family.places and module == (inner, "out"):
                    kinds = [kind]
        return family, int(match[1]), kinds[0] if kinds else None, inner
    return None, None, None, None
