"""Rows of a source as the arguments of a module: its type, its device, its names, its pixels."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus.activations.image_processor import (
    ImageProcessor,
    first_line,
    processor_of,
    reads_images,
)
from isthmus.anatomy import Source, Tree
from isthmus.errors import IsthmusError
from isthmus.language.calling import is_encoder_decoder, shifted, signature_of
from isthmus.language.devices import device_of, dtype_of
from isthmus.notices import say


class Inputs:
    """What a module is called with for some rows of ``source``.

    - Real numbers come in the module's type and on its device; whole numbers stay whole where the
      module takes them, as embeddings do.
    - Byte images go through the image processor of a vision model (:mod:`.images`); without one
      they are fractions of 255.
    - The parts of a collection go by their names.
    """

    def __init__(self, module: nn.Module, source: Source) -> None:
        self.module, self.source = module, source
        signal = source.signal
        if signal.ragged or signal.kind == "graph":
            raise IsthmusError(
                "a plain module reads rows of one shape, and these differ in their lengths: pass "
                "rows of one length, or the module as a LanguageModel with tokens"
            )
        self.whole = signal.kind == "tokens"
        bytes_ = signal.kind == "image" and signal.dtype == "uint8"
        self.processor: ImageProcessor | None = processor_of(module) if bytes_ else None
        self.maybe_whole = (
            not self.whole and not bytes_ and signal.dtype.startswith(("int", "uint"))
        )
        if signal.kind == "image":
            self._say_how(bytes_)

    def _say_how(self, is_bytes: bool) -> None:
        name = type(self.module).__name__
        if self.processor is not None:
            say(f"images go through the {self.processor} that lies beside {name}")
        elif is_bytes and reads_images(self.module):
            say(
                f"there is no image processor beside {name}: it gets bytes as fractions of 255, "
                "not normalised (save its processor into the same folder, or pass prepared images)"
            )
        elif reads_images(self.module) and processor_of(self.module) is not None:
            say(
                f"{name} gets images of real numbers as they are: pass bytes (uint8) for its image "
                f"processor ({processor_of(self.module)}) to prepare them"
            )

    def __call__(self, rows: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for the rows ``rows``, int64."""
        x = self.source.rows(rows)
        if isinstance(x, dict):
            return (), {name: self._cast(part) for name, part in x.items()}
        assert isinstance(x, Tensor)
        if self.processor is not None:
            return (), {name: self._cast(part) for name, part in self.processor(x).items()}
        if _steps_first(self.module) and x.ndim == 3:
            x = x.transpose(0, 1)
        x = self._cast(x)
        kwargs: dict[str, Any] = {}
        if is_encoder_decoder(self.module) and not x.is_floating_point():
            kwargs["decoder_input_ids"] = shifted(self.module, x)
        signature = signature_of(self.module)
        main = getattr(self.module, "main_input_name", None)
        if signature.by_name:
            return (), {signature.first: x, **kwargs}
        if isinstance(main, str) and main in signature.names and main != signature.first:
            return (), {main: x, **kwargs}
        return (x,), kwargs

    def _cast(self, x: Tree) -> Tensor:
        if not isinstance(x, Tensor):
            raise IsthmusError("a module reads tensors by name: pass a collection of one depth")
        if self.whole and not self.source.signal.parts:
            return x.round().to(device_of(self.module), torch.int64)
        if not x.is_floating_point():
            return x.to(device_of(self.module))
        return x.to(device_of(self.module), dtype_of(self.module))


def cannot_read(module: nn.Module, source: Source, error: BaseException) -> IsthmusError:
    """The error for rows that a module fails on."""
    signal = source.signal
    shape = tuple(signal.parts) if signal.parts else signal.shape
    hint = "pass rows of the shape and type that it was made for"
    size = getattr(getattr(module, "config", None), "image_size", None)
    if signal.kind == "image" and size is not None:
        hint = f"it was made for images of size {size}; resize them, or give it its processor"
    return IsthmusError(
        f"{type(module).__name__} cannot read rows of shape {shape} ({first_line(error)}): {hint}"
    )


def _steps_first(module: nn.Module) -> bool:
    """Whether the module itself wants (places, rows, width), as recurrent ones do by default."""
    return isinstance(module, nn.RNNBase) and not module.batch_first
