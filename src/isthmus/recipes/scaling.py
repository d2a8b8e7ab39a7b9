"""How a model's data are scaled: one rule, for recipes and for autoencoders of one's own."""

from collections.abc import Mapping
from dataclasses import replace

from isthmus.anatomy import Autoencoder, Scaler, Scaling, Signal
from isthmus.anatomy.each import EachScaler
from isthmus.errors import IsthmusError
from isthmus.recipes.signature import AutoScaling

Modes = str | Mapping[str, "Modes"]
"""What a scaler does, as a checkpoint has it: of a collection by name."""


def scaling_for(asked: AutoScaling, signal: Signal, own: Scaling = "columns") -> Scaling:
    """What ``asked`` means for the data of ``signal``.

    ``auto`` leaves images and unit data as they are, and does ``own`` to vectors whose values
    leave [0, 1]. Where ``own`` is one factor, direction is all that matters, and it is done to
    any data. Token ids and graphs are never scaled.
    """
    if not signal.is_real:
        return "none"
    if signal.ragged and asked == "columns":
        raise IsthmusError(
            "rows of different lengths have no columns: set scaling=global, norm or none"
        )
    if asked != "auto":
        return asked
    if own in ("global", "norm"):
        return own
    return own if signal.kind == "vector" and not signal.is_unit else "none"


def scaler_of(signal: Signal, asked: AutoScaling, own: Scaling = "columns") -> Scaler:
    """An unfitted scaler of data of ``signal``; of a collection one for each part."""
    if signal.kind != "collection":
        return Scaler(signal.shape, scaling_for(asked, signal, own))
    return EachScaler({name: scaler_of(part, asked, own) for name, part in signal.parts.items()})


def modes_of(scaler: Scaler) -> Modes:
    """What a scaler does; :func:`rescale` makes such a one again."""
    if isinstance(scaler, EachScaler):
        return {name: modes_of(part) for name, part in scaler.items()}
    return scaler.mode


def as_scaled(signal: Signal, scaler: Scaler) -> Signal:
    """The signal after scaling: its range is then unknown, where anything was done."""
    if isinstance(scaler, EachScaler):
        parts = {name: as_scaled(part, scaler[name]) for name, part in signal.parts.items()}
        return replace(signal, parts=parts)
    if scaler.mode == "none":
        return signal
    return replace(signal, low=None, high=None)


def scale_own(model: Autoencoder, asked: AutoScaling, signal: Signal) -> None:
    """Give an autoencoder of the user's own parts the scaler that a recipe would have.

    ``signal`` is that of the data. With ``auto`` a scaler that was passed to the autoencoder, or
    that already scales, stays.
    """
    fitted = any(mode != "none" for mode in _flat(modes_of(model.scaler)))
    if asked == "auto" and (model.scaler_given or fitted):
        return
    rescale(model, modes_of(scaler_of(signal, asked)))


def rescale(model: Autoencoder, modes: Modes) -> None:
    """An unfitted scaler of these modes, unless the model has one already."""
    if modes_of(model.scaler) != modes:
        model.scaler = _made(model.signal, modes)


def _made(signal: Signal, modes: Modes) -> Scaler:
    if isinstance(modes, Mapping):
        return EachScaler({name: _made(signal.parts[name], own) for name, own in modes.items()})
    return Scaler(signal.shape, modes)  # type: ignore[arg-type]


def _flat(modes: Modes) -> list[str]:
    if isinstance(modes, Mapping):
        return [mode for own in modes.values() for mode in _flat(own)]
    return [modes]
