"""Images as a vision model wants them: by the image processor that lies beside its weights."""

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError

FILES = ("preprocessor_config.json", "processor_config.json")
"""Where a folder of ``transformers`` says how images are prepared."""

_KNOWN: "WeakKeyDictionary[nn.Module, ImageProcessor | None]" = WeakKeyDictionary()


class ImageProcessor:
    """Byte images to the arguments of a model: scaled, resized and normalised as it was trained.

    ``of`` is an image processor of ``transformers``, ``channels`` how many the model reads.
    """

    def __init__(self, of: Any, channels: int | None = 3) -> None:
        self.of, self.channels = of, channels

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``images`` are fractions of 255 ``(rows, channels, height, width)``."""
        whole = (images.cpu() * 255.0).round().to(torch.uint8)
        if self.channels == 3 and whole.shape[1] == 1:
            whole = whole.expand(-1, 3, -1, -1)  # as every reader makes colours of a grey image
        if self.channels is not None and whole.shape[1] != self.channels:
            raise IsthmusError(
                f"the images have {whole.shape[1]} channels and the model reads {self.channels}: "
                "convert them first"
            )
        listed = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in whole]
        try:
            inputs = self.of(images=listed, return_tensors="pt", input_data_format="channels_last")
        except Exception as error:  # processors raise many kinds; each means that it cannot read
            raise IsthmusError(
                f"the model's image processor cannot read images of shape "
                f"{tuple(images.shape[1:])} ({first_line(error)}): pass images that it was made for"
            ) from error
        return {key: value for key, value in inputs.items() if isinstance(value, Tensor)}

    def __str__(self) -> str:
        return type(self.of).__name__


def remember(module: nn.Module, processor: ImageProcessor | None) -> None:
    """Note that images for this module go through ``processor``."""
    _KNOWN[module] = processor


def processor_of(module: nn.Module) -> ImageProcessor | None:
    """The image processor beside the weights of a module of ``transformers``; None without one."""
    if module in _KNOWN:
        return _KNOWN[module]
    place = str(getattr(module, "name_or_path", "") or "")
    processor = open_processor(place, module) if place else None
    _KNOWN[module] = processor
    return processor


def reads_images(module: nn.Module) -> bool:
    """Whether the model says that it reads pixels."""
    return getattr(module, "main_input_name", "") == "pixel_values"


def open_processor(place: str, module: nn.Module) -> ImageProcessor | None:
    """The image processor in a folder, or of a model that was fetched from the hub."""
    if not reads_images(module):
        return None
    folder = Path(place).expanduser()
    is_folder = folder.is_dir()
    if is_folder and not any((folder / name).is_file() for name in FILES):
        return None
    try:
        import transformers

        opener: Any = transformers.AutoImageProcessor
        of = opener.from_pretrained(str(folder) if is_folder else place)
    except Exception as error:
        if not is_folder:  # a name of the hub without one, or without the network
            return None
        raise IsthmusError(
            f"the image processor in {place} cannot be opened ({first_line(error)}): repair or "
            f"delete its {FILES[0]}"
        ) from error
    channels = getattr(getattr(module, "config", None), "num_channels", 3)
    return ImageProcessor(of, channels if isinstance(channels, int) else None)


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
