"""A model of this library as SAEBench takes dictionaries of others: ``saebench.wrap``.

SAEBench is not imported: what it asks of a dictionary is an ``nn.Module`` with ``W_enc`` ``(d,
F)``, ``W_dec`` ``(F, d)`` of unit rows, ``b_enc``, ``b_dec``, ``encode``, ``decode``, ``device``,
``dtype`` and a ``cfg`` (its ``custom_saes``, version 0.6).
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder
from isthmus.anatomy.rule import Activation
from isthmus.bottlenecks import matching_pursuit
from isthmus.errors import IsthmusError, unknown
from isthmus.formats.hook_names import LENS
from isthmus.formats.record import Record
from isthmus.formats.writers import taken_apart

_HOOK = re.compile(r"blocks\.(\d+)\.(.+)")
_HOOKS = {*LENS.values(), "hook_attn_in", "hook_mlp_in", "mlp.hook_pre", "attn.hook_q",
          "attn.hook_k", "attn.hook_v", "attn.hook_result"}  # fmt: skip
"""Those of a block of TransformerLens that a dictionary may read."""


@dataclass
class Settings:
    """What SAEBench reads of a dictionary's ``cfg``."""

    model_name: str
    d_in: int
    d_sae: int
    hook_layer: int
    hook_name: str
    context_size: int
    architecture: str
    apply_b_dec_to_input: bool
    dtype: str
    device: str
    prepend_bos: bool = True
    hook_head_index: int | None = None
    finetuning_scaling_factor: bool = False
    activation_fn_str: str = ""
    activation_fn_kwargs: dict[str, Any] = field(default_factory=dict)
    normalize_activations: str = "none"
    model_from_pretrained_kwargs: dict[str, Any] = field(default_factory=dict)
    dataset_path: str = ""
    dataset_trust_remote_code: bool = False
    seqpos_slice: tuple[int | None, ...] = (None,)
    training_tokens: int = -1
    sae_lens_training_version: str | None = None
    neuronpedia_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for SAEBench's results."""
        return asdict(self)


class Wrapped(nn.Module):
    """A dictionary in units of the activations, whose atoms have length 1.

    ``encode`` and ``decode`` take any axes before the last. Latents are those of the dictionary
    that was wrapped, as many times as large as its atoms were long.
    """

    hook_z_reshaping_mode = False
    threshold: Tensor | None
    r_mag: Tensor
    b_mag: Tensor
    lengths: Tensor

    def __init__(self, record: Record, tensors: dict[str, Tensor], settings: Settings) -> None:
        super().__init__()
        self.cfg = settings
        self.activation: Activation = record.activation
        self.k = record.k
        self.ends: dict[str, Any] = {
            "tolerance": record.tolerance,
            "until_repeat": record.until_repeat,
        }
        lengths = tensors["W_dec"].norm(dim=1)
        lengths = torch.where(lengths > 0, lengths, 1.0)
        self.W_enc = nn.Parameter((tensors["W_enc"] * lengths[:, None]).T.contiguous())
        self.b_enc = nn.Parameter(tensors["b_enc"] * lengths)
        self.W_dec = nn.Parameter(tensors["W_dec"] / lengths[:, None])
        self.b_dec = nn.Parameter(tensors["b_dec"])
        for name in ("threshold", "b_mag"):
            known = tensors.get(name)
            self.register_buffer(name, None if known is None else known * lengths)
        self.register_buffer("r_mag", tensors.get("r_mag"))
        self.register_buffer("lengths", lengths)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.W_enc.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.W_enc.dtype

    def _apply(self, fn: Any, recurse: bool = True) -> "Wrapped":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.cfg.dtype, self.cfg.device = str(self.dtype).removeprefix("torch."), str(self.device)
        return self

    def encode(self, x: Tensor) -> Tensor:
        """``(..., d)`` to latents ``(..., F)``."""
        x = x.to(self.dtype)
        if self.activation == "matching_pursuit":
            return self._pursued(x - self.b_dec)
        u = (x - self.b_dec if self.cfg.apply_b_dec_to_input else x) @ self.W_enc + self.b_enc
        match self.activation:
            case "relu":
                return u.relu()
            case "topk" | "abstopk":
                return self._largest(u)
            case "groupmax":
                size = (u / self.lengths).unflatten(-1, (self.k or 1, -1))
                best = size.argmax(-1, keepdim=True)
                kept = torch.zeros_like(size, dtype=torch.bool).scatter(-1, best, True)
                return u.relu() * kept.flatten(-2)
            case "gated":
                inner = self.r_mag.exp() * (u - self.b_enc) + self.b_mag
                return inner.relu() * (u > 0)
            case _:
                assert self.threshold is not None
                return u * (u > self.threshold)

    def _pursued(self, x: Tensor) -> Tensor:
        """Atom after atom, each of the length that it has in the dictionary."""
        flat = x.flatten(0, -2)
        atoms = self.W_dec * self.lengths[:, None]
        values, indices = matching_pursuit(flat, atoms, self.k or 1, **self.ends)
        codes = flat.new_zeros(len(flat), len(atoms)).scatter_add(1, indices, values)
        return (codes * self.lengths).unflatten(0, x.shape[:-1])

    def _largest(self, u: Tensor) -> Tensor:
        """The k that are largest in units of the dictionary's own atoms."""
        size = u / self.lengths
        size = size.abs() if self.activation == "abstopk" else size
        at = size.topk(self.k or 0, dim=-1).indices
        kept = torch.zeros_like(u).scatter(-1, at, u.gather(-1, at))
        return kept if self.activation == "abstopk" else kept.relu()

    def decode(self, feature_acts: Tensor) -> Tensor:
        """Latents ``(..., F)`` to ``(..., d)``."""
        return feature_acts @ self.W_dec + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """Rows and what is rebuilt of them, ``(..., d)``."""
        return self.decode(self.encode(x))

    def turn_on_forward_pass_hook_z_reshaping(self) -> None:
        """Nothing: rows come as they are."""

    def turn_off_forward_pass_hook_z_reshaping(self) -> None:
        """Nothing: rows come as they are."""


@torch.no_grad()
def wrap(
    model: Autoencoder,
    *,
    model_name: str | None = None,
    hook_name: str | None = None,
    context_size: int = 128,
) -> Wrapped:
    """The dictionary as SAEBench takes it: ``run_eval(..., selected_saes=[("mine", wrap(model))])``.

    model_name
        Of the language model, as TransformerLens calls it; by default the last part of the name in
        the dictionary's file (``gemma-2-2b`` of ``google/gemma-2-2b``).
    hook_name
        The point that is read, in TransformerLens's names (``blocks.12.hook_resid_post``); by
        default that of the file. Its number is the layer.
    context_size
        Tokens of a text.

    The weights are copies in float32, in units of the activations, and all atoms have length 1,
    which SAEBench asks for: latents are as many times as large as atoms were long, and the same
    ones are on. Reconstructions are those of ``model``. An :class:`IsthmusError` for a transcoder,
    for rows that are normalised each by itself (decoding alone, as SAEBench does, cannot undo
    that), and where the names are not known.
    """  # noqa: E501
    record, tensors = taken_apart(model)
    if record.transcoder:
        raise IsthmusError(
            "SAEBench puts reconstructions where the activations were, and a transcoder rebuilds "
            "another place: wrap a dictionary"
        )
    if record.row_norm != "none":
        raise IsthmusError(
            f"each row is normalised by itself ({record.row_norm}), and SAEBench decodes codes "
            "without their rows: wrap a dictionary of scaling=global or none"
        )
    name = (model_name or record.model_name or "").rpartition("/")[2]
    hook = hook_name or record.hook_name or ""
    layer = _HOOK.fullmatch(hook)
    for argument, known in (("model_name", name), ("hook_name", layer)):
        if not known:
            raise IsthmusError(
                f"the dictionary does not say on which activations SAEBench is to run it: pass "
                f"{argument}=, as TransformerLens calls it"
            )
    assert layer is not None
    if layer[2] not in _HOOKS:
        raise unknown("hook of a block of TransformerLens", layer[2], sorted(_HOOKS))
    if not isinstance(context_size, int) or context_size < 2:
        raise IsthmusError(
            f"context_size={context_size!r}: a text has two tokens or more, so that there is one "
            "to predict"
        )
    settings = Settings(
        model_name=name,
        d_in=record.d_in,
        d_sae=record.d_sae,
        hook_layer=int(layer[1]),
        hook_name=hook,
        context_size=context_size,
        architecture=record.activation,
        apply_b_dec_to_input=record.subtract_bias,
        dtype="float32",
        device="cpu",
        prepend_bos=bool(record.tokens.get("prepend_bos", True)),
        activation_fn_str="topk" if record.activation == "topk" else "relu",
        activation_fn_kwargs={} if record.k is None else {"k": record.k},
    )
    return Wrapped(record, tensors, settings).to(model.device).eval()
