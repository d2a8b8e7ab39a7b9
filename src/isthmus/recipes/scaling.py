"""How a model's data are scaled: one rule, for recipes and for autoencoders of one's own."""

from isthmus.anatomy import Autoencoder, Scaler, Scaling, Signal
from isthmus.recipes.signature import AutoScaling


def scaling_for(asked: AutoScaling, signal: Signal, own: Scaling = "columns") -> Scaling:
    """What ``asked`` means for the data of ``signal``.

    ``auto`` leaves images and unit data as they are, and does ``own`` to vectors whose values
    leave [0, 1]. Where ``own`` is one factor, direction is all that matters, and it is done to
    any data.
    """
    if asked != "auto":
        return asked
    if own in ("global", "norm"):
        return own
    return own if signal.kind == "vector" and not signal.is_unit else "none"


def scale_own(model: Autoencoder, asked: AutoScaling, signal: Signal) -> None:
    """Give an autoencoder of the user's own parts the scaler that a recipe would have.

    ``signal`` is that of the data. With ``auto`` a scaler that was passed to the autoencoder, or
    that already scales, stays.
    """
    if asked == "auto" and (model.scaler_given or model.scaler.mode != "none"):
        return
    rescale(model, scaling_for(asked, signal))


def rescale(model: Autoencoder, mode: Scaling) -> None:
    """An unfitted scaler of that mode, unless the model has one already."""
    if model.scaler.mode != mode:
        model.scaler = Scaler(model.signal.shape, mode)
