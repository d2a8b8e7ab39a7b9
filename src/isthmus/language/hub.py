"""Causal and masked language models of ``transformers``, from a folder or the hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.language.devices import dtype_name, dtype_of
from isthmus.language.host import LanguageModel, blocks
from isthmus.language.tokenizer import byte_characters
from isthmus.language.weight_fingerprint import fingerprint
from isthmus.notices import say


def open_hub(
    spec: str, folder: Path | None = None, dtype: torch.dtype | None = torch.float32
) -> LanguageModel:
    """The model with its tokenizer; ``folder`` where it lies on this machine.

    ``dtype`` None is the type in which it is stored.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "lm", f"the language model {spec!r}") from error
    if folder is not None and not (folder / "config.json").is_file():
        raise IsthmusError(
            f"the folder {spec!r} holds no config.json: name one that save_pretrained wrote"
        )
    place = spec if folder is None else str(folder)
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        how = _kind(config, transformers, spec)
        module = how.opener.from_pretrained(place, dtype="auto").eval()
        tokenizer = HubTokenizer(transformers.AutoTokenizer.from_pretrained(place))
    except IsthmusError:
        raise
    except Exception as error:  # transformers raises many kinds; each means that it did not open
        first = str(error).strip().split("\n")[0]
        raise IsthmusError(
            f"there is no language model {spec!r} that transformers can open ({first}): give "
            "'resident', 'resident-circuits', a folder, a name on the hub, or "
            "'package.module:factory'"
        ) from error
    stored = dtype_of(module)
    # Before the type changes: it is the weights' name, and what they are computed in stands apart.
    revision = getattr(config, "_commit_hash", None) or fingerprint(module)
    if dtype is not None:
        module = module.to(dtype)
        if stored != dtype and dtype == torch.float32:
            say(
                f"{spec} is stored in {dtype_name(stored)} and computed in float32 "
                f"(host dtype=auto computes in {dtype_name(stored)})"
            )
    return LanguageModel(
        name=spec,
        revision=revision,
        module=module.requires_grad_(False),
        tokenizer=tokenizer,
        context=context_of(config, tokenizer),
        causal=how.causal,
        unembedding=folded_unembedding(module) if how.causal else None,
        layers=blocks(module, getattr(config, "num_hidden_layers", None)),
        opened="" if folder is None else place,
    )


class HubTokenizer:
    """The tokenizer of a ``transformers`` model as a ``Tokenizer``.

    A document begins with its BOS token, or with CLS where it has none. No special token is added
    by ``encode``, and the name of one in a text is text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._of = tokenizer
        tokenizer.split_special_tokens = True
        self.vocabulary: int = len(tokenizer)
        begin = tokenizer.bos_token_id
        self.bos: int | None = getattr(tokenizer, "cls_token_id", None) if begin is None else begin
        self.special: frozenset[int] = frozenset(tokenizer.all_special_ids)
        written = list(tokenizer.get_vocab())
        self._bytewise = any(token.startswith("Ġ") for token in written)
        self._bytes = {character: byte for byte, character in enumerate(byte_characters())}
        self._wordpiece = any(token.startswith("##") for token in written) and not self._bytewise

    def encode(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self._of.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text; special tokens stand for none."""
        text: str = self._of.decode([int(t) for t in tokens], skip_special_tokens=True)
        return text

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        numbers = [int(t) for t in tokens]
        written: list[str | None] = self._of.convert_ids_to_tokens(numbers)
        return [self._piece(n, w) for n, w in zip(numbers, written, strict=True)]

    def _piece(self, number: int, written: str | None) -> str:
        if written is None:
            return "\ufffd"
        if number in self.special:
            return written.strip() or written
        if self._bytewise:
            raw = (self._bytes.get(character) for character in written)
            known = [byte for byte in raw if byte is not None]
            if len(known) < len(written):  # an added token, written as it is
                return written
            return bytes(known).decode("utf-8", "replace")
        if self._wordpiece:
            return written[2:] if written.startswith("##") else " " + written
        byte = re.fullmatch("<0x([0-9A-F]{2})>", written)
        if byte:
            return bytes([int(byte[1], 16)]).decode("utf-8", "replace")
        return written.replace("▁", " ")


def context_of(config: Any, tokenizer: HubTokenizer) -> int:
    """Most places of a row: the positions that the model has, or 1,024 where it names none."""
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"):
        places = getattr(config, name, None)
        if isinstance(places, int) and places > 0:
            # these two families number positions from the padding token's number on
            offset = config.pad_token_id + 1 if config.model_type in _AFTER_PADDING else 0
            return places - offset
    return 1024


_AFTER_PADDING = {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "esm"}


def folded_unembedding(module: nn.Module) -> Tensor | None:
    """Weight from the last residual stream to logits ``(vocabulary, width)``, but for its scale.

    The final norm is the one whose output the output embedding reads, found in a pass over one
    token. Its gain, and its centring where it centres, are folded in; None where the output
    embedding has no plain matrix.
    """
    output = getattr(module, "get_output_embeddings", lambda: None)()
    weight = getattr(output, "weight", None)
    if output is None or not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    folded = weight.detach().float().clone()
    norm = _final_norm(module, output)
    if norm is None:
        return folded
    width = folded.shape[1]
    # a vector of mean zero and mean square one comes out as itself times the gain
    probe = (1 + torch.arange(width) / width) * (-1) ** torch.arange(width)
    probe = (probe - probe.mean()) / probe.std(correction=0)
    level = torch.ones(width)
    device = weight.device
    with torch.no_grad():
        kind = weight.dtype
        up, flat = probe.to(device, kind), level.to(device, kind)
        gain = ((norm(up) - norm(-up)) / 2 / up).float()
        constant = ((norm(flat) - norm(-flat)) / 2).float()
    folded *= gain
    if constant.abs().max() < 1e-3 * gain.abs().max():  # it takes the mean away
        folded -= folded.mean(1, keepdim=True)
    return folded


def _final_norm(module: nn.Module, output: nn.Module) -> nn.Module | None:
    """The last normalisation whose output is what the output embedding reads."""
    weight = output.weight
    assert isinstance(weight, Tensor)
    width = weight.shape[1]
    norm_outputs: list[tuple[nn.Module, int, Tensor]] = []
    read: list[int] = []

    def keep(part: nn.Module, _: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.shape[-1] == width:
            norm_outputs.append((part, result.untyped_storage().data_ptr(), result))

    def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            read.append(inputs[0].untyped_storage().data_ptr())

    norms = [part for part in module.modules() if type(part).__name__.endswith("Norm")]
    hooks = [part.register_forward_hook(keep) for part in norms]
    hooks.append(output.register_forward_pre_hook(look))
    try:
        with torch.no_grad():
            module(torch.zeros((1, 2), dtype=torch.int64, device=weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return next((part for part, place, _ in reversed(norm_outputs) if place in read), None)


@dataclass(frozen=True)
class _Kind:
    """How a model is opened, and whether its logits are for the next token."""

    opener: Any
    causal: bool


def _kind(config: Any, transformers: Any, spec: str) -> _Kind:
    names = config.architectures or []
    auto = transformers.models.auto.modeling_auto
    causal = _Kind(transformers.AutoModelForCausalLM, True)
    masked = _Kind(transformers.AutoModelForMaskedLM, False)
    both = _Kind(transformers.AutoModelForSeq2SeqLM, False)
    if any(name.endswith("EncoderModel") and hasattr(transformers, name) for name in names):
        # Half of an encoder-decoder: opened as a whole its decoder would have no weights.
        return _Kind(getattr(transformers, names[0]), False)
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return causal
    if any(name.endswith("ForMaskedLM") for name in names):
        return masked
    if type(config) in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return both
    if any(name.endswith("ForPreTraining") for name in names):
        return masked
    if type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING:
        return masked
    if type(config) in auto.MODEL_FOR_CAUSAL_LM_MAPPING:
        return causal
    raise IsthmusError(
        f"{spec!r} is a {config.model_type!r}, neither a causal nor a masked language model nor an "
        "encoder-decoder: give one of these, or rows for it by --data"
    )
