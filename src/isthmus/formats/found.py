"""What a reader hands on: the record, and where each weight lies, not read yet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.tensor_file import TensorFile

UNUSED = (
    "a threshold is stored that its class does not use by default: pass threshold=True to infer by "
    "it"
)
"""What is said of :attr:`Found.unused_threshold`."""


@dataclass(frozen=True)
class Stored:
    """A tensor of a file, with the layout it is wanted in; ``change`` is done to a small one.

    With ``at`` it is what stands at that index of the tensor's first axis, such as a layer.
    """

    file: TensorFile
    name: str
    transposed: bool = False
    change: Callable[[Tensor], Tensor] | None = None
    at: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as wanted."""
        shape = self.file.entries[self.name].part(self.at).shape
        return shape[::-1] if self.transposed else shape

    @property
    def dtype(self) -> str:
        """The type as stored."""
        return self.file.entries[self.name].dtype

    def read(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The tensor itself."""
        tensor = self.file.read(self.name, dtype, transposed=self.transposed, at=self.at)
        return tensor if self.change is None else self.change(tensor)


@dataclass(frozen=True)
class Given:
    """A small tensor that stands in the settings, as if it lay in the file."""

    value: Tensor

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "a setting"

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """Its type."""
        return str(self.value.dtype).removeprefix("torch.")

    def read(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The tensor itself."""
        return self.value.to(dtype)


Weight = Stored | Given


@dataclass
class Found:
    """A dictionary as a reader found it.

    ``weights`` has ``W_enc`` ``(d_sae, d_in)`` and ``W_dec`` ``(d_sae, d_out)`` by rows, ``b_enc``,
    ``b_dec``, and what else its activation needs: ``threshold`` ``(d_sae,)`` or one number,
    ``r_mag`` and ``b_mag``, ``W_skip`` ``(d_out, d_in)``. ``fold`` says that atoms are given length
    1 once it is read. ``calibrated`` is what rows of data are needed for: a ``threshold`` or a
    ``scale``; None where all is known.
    """

    record: Record
    weights: dict[str, Weight]
    fold: bool = False
    calibrated: str | None = None
    shares: tuple[float, ...] = field(default=())
    """Of a Matryoshka dictionary, the share of the latents that each prefix adds."""
    unused_threshold: Weight | None = None
    """One threshold that the file has beside the k by which its class chooses latents."""
    asks_k: bool = False
    """Whether the file does not say how many latents are on."""


class Made:
    """What a reader found of a dictionary of which it makes the model itself.

    ``parameters`` is the number of its weights, which are not read yet.
    """

    record: Record
    parameters: int

    def model(self) -> Autoencoder:
        """The model, in little more memory than it takes itself."""
        raise NotImplementedError


def only(
    place: Location, known: Iterable[str], found: Iterable[str], what: str, ignore: Sequence[str]
) -> None:
    """An error where there is something that no reader knows, which might change the numbers."""
    strange = sorted(set(found) - set(known) - set(ignore))
    if strange:
        names = ", ".join(strange)
        raise IsthmusError(
            f"{place} has {what} that are not known here ({names}) and might change its numbers: "
            f"pass ignore=[{', '.join(map(repr, strange))}] if they do not"
        )


def needed(place: Location, file: TensorFile, names: Iterable[str]) -> None:
    """An error where a tensor is missing."""
    missing = [name for name in names if name not in file]
    if missing:
        raise IsthmusError(
            f"{place} lacks {', '.join(missing)} in {file.path.name}: fetch it again, for nothing "
            "is filled in"
        )


_KINDS = {int: "whole number", float: "number", bool: "truth value"}


def setting(place: Location, settings: Mapping[str, Any], name: str, kind: type) -> Any:
    """One setting of the kind it must have; an error where it is missing or another."""
    if name not in settings:
        raise IsthmusError(f"{place} does not say {name} in its settings: fetch it again")
    value = settings[name]
    wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    if wrong:
        what = _KINDS.get(kind, kind.__name__)
        raise IsthmusError(
            f"{place} says {name}={value!r}, which is no {what}: mend it, or fetch it again"
        )
    return value


def count(place: Location, settings: Mapping[str, Any], name: str) -> int:
    """How many of something a setting says, such as latents that are on: 1 or more."""
    number: int = setting(place, settings, name, int)
    if number < 1:
        raise IsthmusError(
            f"{place} says {name}={number}, and so few cannot be: mend it, or fetch it again"
        )
    return number


def linear(
    place: Location,
    file: TensorFile,
    *,
    W_enc: tuple[str, bool],
    b_enc: str,
    W_dec: tuple[str, bool],
    b_dec: str,
    **more: str,
) -> dict[str, Weight]:
    """The weights by their names in a file; of a matrix also whether its latents are columns."""
    needed(place, file, [W_enc[0], b_enc, W_dec[0], b_dec, *more.values()])
    for name in (W_enc[0], W_dec[0]):
        shape = file.entries[name].shape
        if len(shape) != 2:
            raise IsthmusError(
                f"{place} has {name} of shape {shape}, and one dictionary's weights have two axes: "
                "name the file of one dictionary, or fetch it again"
            )
    return {
        "W_enc": Stored(file, *W_enc),
        "b_enc": Stored(file, b_enc),
        "W_dec": Stored(file, *W_dec),
        "b_dec": Stored(file, b_dec),
        **{name: Stored(file, stored) for name, stored in more.items()},
    }
